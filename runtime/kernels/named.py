"""Registered kernels on one shard: whole labels are given at true size and in original order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

from einsplit.kernels.aten import call_gradient, call_operator
from einsplit.kernels.rows import Attributes, number
from einsplit.runtime.kernels.call import Call
from einsplit.runtime.kernels.einsum import aligned
from einsplit.torch_dtypes import torch_dtype

Run = Callable[[Attributes, Sequence[Tensor], tuple[int, ...]], Sequence[Tensor]]


def _slice(attributes: Attributes, operands: Sequence[Tensor], shape: tuple[int, ...]) -> Sequence[Tensor]:
    dim = number(attributes, "dim")
    return [operands[0].index_select(dim, _held(attributes, shape[dim]))]


def _place(attributes: Attributes, operands: Sequence[Tensor], shape: tuple[int, ...]) -> Sequence[Tensor]:
    """Zeros, and the operand at start, start + step, ... along a dimension."""
    dim = number(attributes, "dim")
    held = _held(attributes, operands[0].shape[dim])
    return [operands[0].new_zeros(shape).index_copy(dim, held, operands[0])]


def _held(attributes: Attributes, length: int) -> Tensor:
    return torch.arange(length) * number(attributes, "step") + number(attributes, "start")


def _gather(attributes: Attributes, operands: Sequence[Tensor], shape: tuple[int, ...]) -> Sequence[Tensor]:
    source, indices = operands
    return [source.gather(number(attributes, "dim"), indices.to(torch.int64))]


def _scatter(attributes: Attributes, operands: Sequence[Tensor], shape: tuple[int, ...]) -> Sequence[Tensor]:
    """Zeros, and the first operand added at the indices that the second gives along a dimension."""
    source, indices = operands
    return [source.new_zeros(shape).scatter_add(number(attributes, "dim"), indices.to(torch.int64), source)]


def _ordered(tensor: Tensor, dim: int, descending: bool) -> tuple[Tensor, Tensor]:
    """Sorted along `dim`, equal elements in their own order, and the indices: stable, so the same everywhere."""
    values, order = torch.sort(tensor, dim=dim, descending=descending, stable=True)
    return values, order


def _top_k(attributes: Attributes, operands: Sequence[Tensor], shape: tuple[int, ...]) -> Sequence[Tensor]:
    dim = number(attributes, "dim")
    results = _ordered(operands[0], dim, bool(attributes["largest"]))
    return [result.narrow(dim, 0, shape[dim]) for result in results]


def _sort(attributes: Attributes, operands: Sequence[Tensor], shape: tuple[int, ...]) -> Sequence[Tensor]:
    return _ordered(operands[0], number(attributes, "dim"), bool(attributes["descending"]))


KERNELS: dict[str, Run] = {
    "reshape": lambda attributes, operands, shape: [operands[0].reshape(shape)],
    "slice": _slice,
    "place": _place,
    "gather": _gather,
    "scatter": _scatter,
    "cat": lambda attributes, operands, shape: [torch.cat(list(operands), number(attributes, "dim"))],
    "top_k": _top_k,
    "sort": _sort,
    "cumsum": lambda attributes, operands, shape: [torch.cumsum(operands[0], number(attributes, "dim"))],
    "aten": lambda attributes, operands, shape: call_operator(attributes, operands),
    "aten_vjp": lambda attributes, operands, shape: [call_gradient(attributes, operands)],
}


def named(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """The result that the Program names, its whole labels padded again."""
    node = call.node
    whole = set(node.whole)

    def size(label: int) -> int:
        return node.extents[label].size if label in whole else call.local(label)

    read = [
        _presented(x, labels, dims, size) for x, labels, dims in zip(operands, node.reads, node.presents, strict=True)
    ]
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
