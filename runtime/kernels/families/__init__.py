"""Registered kernels in torch code, one file per family."""

from einsplit.runtime.kernels.families import along, aten, moving
from einsplit.runtime.kernels.families.rows import Run

KERNELS: dict[str, Run] = {**moving.KERNELS, **along.KERNELS, **aten.KERNELS}

__all__ = ["KERNELS"]
