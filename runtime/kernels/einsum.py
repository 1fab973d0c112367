"""An einsum node on one shard: as a matrix multiplication, a table lookup, a slice, or join and aggregate in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from einsplit.monoid import monoid
from einsplit.runtime.kernels.aggregate import combine, reduce
from einsplit.runtime.kernels.call import Call
from einsplit.runtime.kernels.scalars import TORCH
from einsplit.scalar import evaluate, labels_of
from einsplit.torch_dtypes import torch_dtype, torch_dtype_name

MAX_JOINED = 1 << 22  # elements of a join that stand in memory at once


def contract(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """Sum over shared labels of a product of two. Padding of summed labels is masked by the Program."""
    node = call.node
    left, right = operands
    return torch.einsum(left, list(node.reads[0]), right, list(node.reads[1]), list(node.writes))


def lookup(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """Rows of the held part of a table; zeros for ids whose row is elsewhere, or nowhere."""
    node = call.node
    ids, table = operands
    held = call.index(node.chosen)
    extent = node.extents[node.chosen]
    place = torch.full((extent.size + 1,), -1, dtype=torch.int64)
    place[held.clamp(max=extent.size)] = torch.arange(held.numel())
    place[extent.size] = -1  # padding, and every id out of range
    # Compared in 64 bits: a small dtype may not hold the size. An id between two integers is no row.
    wide = ids.to(torch.int64)
    known = (wide == ids) & (wide >= 0) & (wide < extent.size)
    row = place[torch.where(known, wide, extent.size)]
    rows = table.movedim(node.reads[1].index(node.chosen), 0)
    if not extent.size:
        return rows.new_zeros([*row.shape, *rows.shape[1:]], dtype=torch_dtype(node.dtype))
    found = rows[row.clamp(min=0)]
    hit = (row >= 0).reshape([*row.shape, *([1] * (rows.ndim - 1))])
    return torch.where(hit, found, torch.zeros((), dtype=found.dtype)).to(torch_dtype(node.dtype))


def pick(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """One index along a label; zeros where another device holds it."""
    node = call.node
    (labels,) = node.reads
    at = torch.nonzero(call.index(node.chosen) == node.at).flatten()
    rest = [label for label in labels if label != node.chosen]
    source = operands[0]
    if at.numel() and node.at < node.extents[node.chosen].size:
        taken = source.select(labels.index(node.chosen), int(at[0]))
    else:
        taken = source.new_zeros([call.local(label) for label in rest])
    every = aligned(taken, rest, node.writes)
    return every.expand([call.local(label) for label in node.writes]).to(torch_dtype(node.dtype)).clone()


def join(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """Evaluate the join over all labels and aggregate, in chunks along one label that bound the memory."""
    node = call.node
    summed = _summed(call)
    read = [_distinct(call, x, labels) for x, labels in zip(operands, node.reads, strict=True)]
    total = prod(call.local(label) for label in (*node.writes, *summed))
    chunks = -(-total // MAX_JOINED)
    if chunks <= 1 or not (*node.writes, *summed):
        return _join_chunk(call, read, summed, None, 0, 0)
    label = max(node.writes or summed, key=lambda k: (call.local(k), -k))
    size = call.local(label)
    width = max(1, -(-size // chunks))
    parts = [_join_chunk(call, read, summed, label, at, min(width, size - at)) for at in range(0, size, width)]
    if label in node.writes:
        return torch.cat(parts, node.writes.index(label))
    return combine(node.agg, parts)


def _summed(call: Call) -> list[int]:
    node = call.node
    read = dict.fromkeys(label for labels in node.reads for label in labels)
    named = [node.names.index(name) for name in labels_of(call.join)]
    return [label for label in sorted(dict.fromkeys((*read, *named))) if label not in node.writes]


def _join_chunk(
    call: Call, read: list[tuple[Tensor, list[int]]], summed: list[int], label: int | None, at: int, width: int
) -> Tensor:
    """The join restricted to elements at ... at + width of one label (None: all of it)."""
    node = call.node
    order = [*node.writes, *summed]
    sizes = [width if k == label else call.local(k) for k in order]

    def index(k: int) -> Tensor:
        held = call.index(k)
        return (held[at : at + width] if k == label else held).reshape([-1 if o == k else 1 for o in order])

    parts = []
    for tensor, labels in read:
        part = tensor.narrow(labels.index(label), at, width) if label in labels else tensor
        parts.append(aligned(part, labels, order))
    dtypes = [torch_dtype_name(tensor.dtype) for tensor, _ in read]
    value = evaluate(call.join, parts, dtypes, lambda name: index(node.names.index(name)), TORCH)
    value = value.expand(sizes)
    for k in summed:
        extent = node.extents[k]
        if extent.padded != extent.size:
            unit = monoid(node.agg).identity(torch_dtype_name(value.dtype))
            value = torch.where(index(k) < extent.size, value, torch.tensor(unit, dtype=value.dtype))
    return reduce(node.agg, value, list(range(len(node.writes), len(order))), torch_dtype(node.dtype))


def _distinct(call: Call, tensor: Tensor, labels: Sequence[int]) -> tuple[Tensor, list[int]]:
    """Diagonals taken: of a label that stands twice, the first dimension may be cut, the others are whole."""
    left = list(labels)
    while len(set(left)) < len(left):
        second = next(k for k, label in enumerate(left) if label in left[:k])
        first = left.index(left[second])
        held = call.index(left[first])
        pairs = tensor.movedim((first, second), (0, 1))
        diagonal = pairs[torch.arange(held.numel()), held]
        kept = [label for k, label in enumerate(left) if k not in (first, second)]
        tensor, left = diagonal, [left[first], *kept]
    return tensor, left


def aligned(tensor: Tensor, labels: Sequence[int], order: Sequence[int]) -> Tensor:
    """Dimensions in `order`, of size 1 where the tensor does not have the label."""
    places = [list(labels).index(label) for label in order if label in labels]
    found = tensor.permute(places)
    sizes = iter(found.shape)
    return found.reshape([next(sizes) if label in labels else 1 for label in order])
