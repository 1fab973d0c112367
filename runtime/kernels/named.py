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
from einsplit.solver.program import Result
from einsplit.torch_dtypes import torch_dtype


def named(call: Call, operands: Sequence[Tensor]) -> list[Tensor]:
    """The results that the Program names, their whole labels padded again."""
    node = call.node
    whole = set(node.whole)

    def size(label: int) -> int:
        return node.extents[label].size if label in whole else call.local(label)

    read = [
        _presented(x, labels, dims, size) for x, labels, dims in zip(operands, node.reads, node.presents, strict=True)
    ]
    if call.attributes.get("padding") == "identity":
        read = [identity_padded(call, x, dims) for x, dims in zip(read, node.presents, strict=True)]
    wanted = {row.number: tuple(prod(size(label) for label in dim) for dim in row.dims) for row in node.results}
    found = KERNELS[node.kernel](call.attributes, read, wanted)
    return [_opened(call, found[row.number], row, size) for row in node.results]


def _opened(call: Call, tensor: Tensor, row: Result, size: Callable[[int], int]) -> Tensor:
    """A result with a dimension for each label, what is whole padded."""
    extents, whole = call.node.extents, set(call.node.whole)
    labels = [label for dim in row.dims for label in dim]
    opened = tensor.reshape([size(label) for label in labels])
    padding = [extents[label].padded - extents[label].size if label in whole else 0 for label in labels]
    if any(padding):
        opened = torch.nn.functional.pad(opened, [n for extra in reversed(padding) for n in (0, extra)])
    return opened.to(torch_dtype(row.dtype))


def _presented(
    tensor: Tensor, labels: Sequence[int], dims: Sequence[Sequence[int]], size: Callable[[int], int]
) -> Tensor:
    """The operand in the kernel's own dimensions: permuted, trimmed, repeated along labels it does not have."""
    order = [label for dim in dims for label in dim]
    trimmed = aligned(tensor, labels, order)[tuple(slice(size(label)) for label in order)]
    whole = trimmed.expand([size(label) for label in order])
    return whole.reshape([prod(size(label) for label in dim) for dim in dims])
