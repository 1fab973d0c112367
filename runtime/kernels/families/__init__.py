"""Registered kernels in torch code, one file per family."""

from einsplit.runtime.kernels.families import along, aten, attention, convolution, moving
from einsplit.runtime.kernels.families.rows import Declared, Run

KERNELS: dict[str, Run] = {
    **moving.KERNELS,
    **along.KERNELS,
    **convolution.KERNELS,
    **attention.KERNELS,
    **aten.KERNELS,
}

# Of those that are not here, torch's own functions are all that needs memory; it does not tell how much.
DECLARED: dict[str, Declared] = {**along.DECLARED, **convolution.DECLARED, **attention.DECLARED}

__all__ = ["DECLARED", "KERNELS"]
