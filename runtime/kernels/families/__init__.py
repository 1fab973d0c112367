"""Registered kernels in torch code, one file per family."""

from einsplit.runtime.kernels.families import along, aten, attention, convolution, moving
from einsplit.runtime.kernels.families.rows import Run

KERNELS: dict[str, Run] = {
    **moving.KERNELS,
    **along.KERNELS,
    **convolution.KERNELS,
    **attention.KERNELS,
    **aten.KERNELS,
}

__all__ = ["KERNELS"]
