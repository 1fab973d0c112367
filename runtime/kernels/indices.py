"""Which elements a device holds along a dimension, from digits and coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from einsplit.solver.program import Extent


def global_index(extent: Extent, where: tuple[int, ...]) -> Tensor:
    """int64[extent.local]: the original index of every element held; those from `extent.size` on are padding."""
    index = torch.zeros(1, dtype=torch.int64)
    stride = extent.padded
    for digit in extent.digits:
        stride //= digit.radix
        held = torch.tensor([where[digit.axis]]) if digit.cut else torch.arange(digit.radix)
        index = (index[:, None] + held * stride).reshape(-1)
    return (index[:, None] + torch.arange(extent.rest)).reshape(-1)
