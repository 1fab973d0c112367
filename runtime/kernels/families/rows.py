"""What a row of the runtime's kernel tables is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from einsplit.kernels.rows import Attributes

# (attributes, operands of this device, shape of the wanted result here) -> every result of the kernel
Run = Callable[[Attributes, Sequence[Tensor], tuple[int, ...]], Sequence[Tensor]]

# (attributes, operands of this device, which results are wanted) -> those results, made in one go
RunSeveral = Callable[[Attributes, Sequence[Tensor], Sequence[int]], Sequence[Tensor]]
