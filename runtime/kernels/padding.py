"""What a kernel that fails on some numbers is given in place of padding, which holds any."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from einsplit.runtime.kernels.call import Call


def identity_padded(call: Call, tensor: Tensor, dims: Sequence[Sequence[int]]) -> Tensor:
    """A kernel's operand whose padding is identity matrices; zeros where its last two dimensions are not whole."""
    node = call.node
    whole = set(node.whole)
    is_real: Tensor | None = None
    for at, dim in enumerate(dims):
        for k, label in enumerate(dim):
            extent = node.extents[label]
            if label in whole or extent.size == extent.padded:
                continue
            inside = call.index(label) < extent.size
            before, behind = (
                [1 if part in whole else call.local(part) for part in row] for row in (dim[:k], dim[k + 1 :])
            )
            along = inside[:, None].expand(-1, prod(behind)).reshape(-1).repeat(prod(before))
            shaped = along.reshape([-1 if d == at else 1 for d in range(len(dims))])
            is_real = shaped if is_real is None else is_real & shaped
    if is_real is None:
        return tensor
    is_matrix = len(dims) > 1 and all(label in whole for dim in dims[-2:] for label in dim)
    filling = (
        torch.eye(*tensor.shape[-2:], dtype=tensor.dtype, device=tensor.device) if is_matrix else tensor.new_zeros(())
    )
    return call.ledger.hold(torch.where(is_real, tensor, filling))
