"""What a row of the runtime's kernel tables is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from einsplit.kernels.rows import Attributes

Wanted = Mapping[int, tuple[int, ...]]  # the results to be made, by number, with their shapes on this device
Results = Sequence[Tensor] | Mapping[int, Tensor]  # by number; at least those that are wanted

# (attributes, operands of this device, what is wanted of them) -> results
Run = Callable[[Attributes, Sequence[Tensor], Wanted], Results]
# Likewise -> bytes that the kernel needs at most while it runs, beside operands and results.
Declared = Callable[[Attributes, Sequence[Tensor], Wanted], int]


def shape_of(wanted: Wanted) -> tuple[int, ...]:
    """The shape of the results of a kernel all of whose results have one shape."""
    return next(iter(wanted.values()))
