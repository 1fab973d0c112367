"""Registered kernels on one shard: whole labels are given at true size and in original order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

from einsplit.runtime.kernels.call import Call
from einsplit.runtime.kernels.einsum import aligned
from einsplit.runtime.kernels.families import KERNELS
from einsplit.runtime.kernels.padding import identity_padded
from einsplit.torch_dtypes import torch_dtype


def named(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """The result that the Program names, its whole labels padded again."""
    node = call.node
    whole = set(node.whole)

    def size(label: int) -> int:
        return node.extents[label].size if label in whole else call.local(label)

    read = [
        _presented(x, labels, dims, size) for x, labels, dims in zip(operands, node.reads, node.presents, strict=True)
    ]
    if call.attributes.get("padding") == "identity":
        read = [identity_padded(call, x, dims) for x, dims in zip(read, node.presents, strict=True)]
    shape = tuple(prod(size(label) for label in dim) for dim in node.result)
    result = KERNELS[node.kernel](call.attributes, read, shape)[node.number]
    opened = result.reshape([size(label) for dim in node.result for label in dim])
    padding = [node.extents[label].padded - node.extents[label].size if label in whole else 0 for label in node.writes]
    if any(padding):
        opened = torch.nn.functional.pad(opened, [n for extra in reversed(padding) for n in (0, extra)])
    return opened.to(torch_dtype(node.dtype))


def _presented(
    tensor: Tensor, labels: Sequence[int], dims: Sequence[Sequence[int]], size: Callable[[int], int]
) -> Tensor:
    """The operand in the kernel's own dimensions: permuted, trimmed, repeated along labels it does not have."""
    order = [label for dim in dims for label in dim]
    trimmed = aligned(tensor, labels, order)[tuple(slice(size(label)) for label in order)]
    whole = trimmed.expand([size(label) for label in order])
    return whole.reshape([prod(size(label) for label in dim) for dim in dims])
