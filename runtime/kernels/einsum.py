"""An einsum node on one shard: as a matrix multiplication, a slice, or join and aggregate in chunks."""

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

Read = tuple[Tensor, Sequence[int]]  # a tensor, and the label of each of its dimensions


def contract(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """Sum over shared labels of a product of two. Padding of summed labels is masked by the Program."""
    node = call.node
    left, right = operands
    return torch.einsum(left, list(node.reads[0]), right, list(node.reads[1]), list(node.writes))


def pick(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """One index along a label; zeros where another device holds it."""
    node = call.node
    (labels,), (chosen,) = node.reads, node.chosen
    at = torch.nonzero(call.index(chosen) == node.at).flatten()
    rest = [label for label in labels if label != chosen]
    source = operands[0]
    if at.numel() and node.at < node.extents[chosen].size:
        taken = source.select(labels.index(chosen), int(at[0]))
    else:
        taken = source.new_zeros([call.local(label) for label in rest])
    every = aligned(taken, rest, node.writes)
    return every.expand([call.local(label) for label in node.writes]).to(torch_dtype(node.dtype)).clone()


def join(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """Evaluate the join over all labels and aggregate."""
    node = call.node
    read = [_distinct(call, x, labels) for x, labels in zip(operands, node.reads, strict=True)]
    return joined(call, read, node.writes, summed_labels(call))


def summed_labels(call: Call) -> list[int]:
    """The labels that the node aggregates, and that are no key's."""
    node = call.node
    read = dict.fromkeys(label for labels in node.reads for label in labels)
    named = [node.names.index(name) for name in labels_of(call.join)]
    ours = sorted(dict.fromkeys((*read, *named, *(label for key in node.keys for label in key.labels))))
    return [label for label in ours if label not in (*node.writes, *node.chosen)]


def joined(call: Call, read: Sequence[Read], writes: Sequence[int], summed: Sequence[int]) -> Tensor:
    """The join of what is read, a dimension for each label in `writes`, in chunks along one that bound the memory."""
    node = call.node
    total = prod(call.local(label) for label in (*writes, *summed))
    chunks = -(-total // MAX_JOINED)
    if chunks <= 1 or not (*writes, *summed):
        return _join_chunk(call, read, writes, summed, None, 0, 0)
    label = max(writes or summed, key=lambda k: (call.local(k), -k))
    size = call.local(label)
    width = max(1, -(-size // chunks))
    parts = [_join_chunk(call, read, writes, summed, label, at, min(width, size - at)) for at in range(0, size, width)]
    if label in writes:
        return torch.cat(parts, list(writes).index(label))
    return combine(node.agg, parts)


def _join_chunk(
    call: Call,
    read: Sequence[Read],
    writes: Sequence[int],
    summed: Sequence[int],
    label: int | None,
    at: int,
    width: int,
) -> Tensor:
    """The join restricted to elements at ... at + width of one label (None: all of it)."""
    node = call.node
    order = [*writes, *summed]
    sizes = [width if k == label else call.local(k) for k in order]

    def index(k: int) -> Tensor:
        held = call.index(k)
        return (held[at : at + width] if k == label else held).reshape([-1 if o == k else 1 for o in order])

    parts = []
    for tensor, labels in read:
        narrows = None if label is None or label not in labels else list(labels).index(label)
        part = tensor if narrows is None else tensor.narrow(narrows, at, width)
        parts.append(aligned(part, labels, order))
    dtypes = [torch_dtype_name(tensor.dtype) for tensor, _ in read]
    value = evaluate(call.join, parts, dtypes, lambda name: index(node.names.index(name)), TORCH)
    value = value.expand(sizes)
    for k in summed:
        extent = node.extents[k]
        if extent.padded != extent.size:
            unit = monoid(node.agg).identity(torch_dtype_name(value.dtype))
            value = torch.where(index(k) < extent.size, value, torch.tensor(unit, dtype=value.dtype))
    return reduce(node.agg, value, list(range(len(writes), len(order))), torch_dtype(node.dtype))


def _distinct(call: Call, tensor: Tensor, labels: Sequence[int]) -> Read:
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
