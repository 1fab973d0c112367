"""An einsum node on one shard: as a matrix multiplication, a slice, or join and aggregate in chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod

import torch
from torch import Tensor

from einsplit.monoid import monoid
from einsplit.runtime.kernels.aggregate import combine, reduce
from einsplit.runtime.kernels.call import Call
from einsplit.solver.program import limits
from einsplit.torch_dtypes import torch_dtype, torch_dtype_name

Read = tuple[Tensor, Sequence[int]]  # a tensor, and the label of each of its dimensions


def contract(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """Sum over shared labels of a product of two. Padding of summed labels is masked by the Program.

    Labels in both and in the result are a batch of matrices; their rows are the labels of one operand alone, their
    columns those of the other.
    """
    node = call.node
    rows = zip(operands, node.reads, node.reads[::-1], strict=True)
    sides = [_met(call, x, labels, other) for x, labels, other in rows]
    batch = [label for label in node.writes if label in sides[0][1] and label in sides[1][1]]
    alone = [[label for label in node.writes if label in labels and label not in batch] for _, labels in sides]
    if [*batch, *alone[0], *alone[1]] != list(node.writes):  # the other way round they may lie as they are wanted
        sides, alone = sides[::-1], alone[::-1]
    contracted = [label for label in sides[0][1] if label not in node.writes]
    left = _matrices(call, sides[0], (batch, alone[0], contracted))
    right = _matrices(call, sides[1], (batch, contracted, alone[1]))
    found = call.ledger.hold(torch.bmm(left, right))
    order = [*batch, *alone[0], *alone[1]]
    opened = found.reshape([call.local(label) for label in order])
    return opened.permute([order.index(label) for label in node.writes])


def _met(call: Call, tensor: Tensor, labels: Sequence[int], other: Sequence[int]) -> Read:
    """The operand, summed over labels that only it has."""
    alone = [label for label in labels if label not in (*other, *call.node.writes)]
    if not alone:
        return tensor, labels
    total = call.ledger.hold(torch.sum(tensor, [list(labels).index(label) for label in alone], dtype=tensor.dtype))
    return total, [label for label in labels if label not in alone]


def _matrices(call: Call, side: Read, groups: Sequence[Sequence[int]]) -> Tensor:
    """The operand with a dimension for each group of labels; a copy where those do not lie so."""
    tensor, labels = side
    turned = tensor.permute([list(labels).index(label) for group in groups for label in group])
    return call.ledger.hold(turned.reshape([prod(call.local(label) for label in group) for group in groups]))


def pick(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """One index along a label; zeros where another device holds it."""
    node = call.node
    (labels,), (chosen,) = node.reads, node.chosen
    value = call.ledger.hold(torch.zeros([call.local(label) for label in node.writes], dtype=torch_dtype(node.dtype)))
    at = torch.nonzero(call.index(chosen) == node.at).flatten()
    if at.numel() and node.at < node.extents[chosen].size:
        rest = [label for label in labels if label != chosen]
        taken = operands[0].select(labels.index(chosen), int(at[0]))
        value.copy_(aligned(taken, rest, node.writes))
    return value


def join(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """Evaluate the join over all labels and aggregate."""
    node = call.node
    read = [_distinct(call, x, labels) for x, labels in zip(operands, node.reads, strict=True)]
    return joined(call, read, node.writes, summed_labels(call))


def summed_labels(call: Call) -> list[int]:
    """The labels that the node aggregates, and that are no key's."""
    node = call.node
    read = dict.fromkeys(label for labels in node.reads for label in labels)
    ours = sorted(dict.fromkeys((*read, *call.named, *(label for key in node.keys for label in key.labels))))
    return [label for label in ours if label not in (*node.writes, *node.chosen)]


def joined(call: Call, read: Sequence[Read], writes: Sequence[int], summed: Sequence[int]) -> Tensor:
    """The join of what is read, a dimension for each label in `writes`, in chunks that bound the memory.

    The result is contiguous, and alone in its storage.
    """
    node, ledger = call.node, call.ledger
    for label in _indexed(call, summed):
        call.index(label)
    order = [*writes, *summed]
    sizes = [call.local(label) for label in order]
    widths = limits.joined_widths(sizes[: len(writes)], sizes[len(writes) :])
    if widths == sizes:
        value = _join_chunk(call, read, writes, summed, {})
        is_ordered = bool(summed) or all(_lies_in_order(call, labels, writes) for _, labels in read)
        return ledger.owned(value, (*(x for x, _ in read), *call.indices)) if is_ordered else ledger.copied(value)
    device = read[0][0].device if read else None
    value = ledger.hold(torch.empty(sizes[: len(writes)], dtype=torch_dtype(node.dtype), device=device))
    rows = zip(sizes, widths, strict=True)
    stretches = [[slice(at, min(at + width, size)) for at in range(0, size, width)] for size, width in rows]
    for places in product(*stretches):
        part = value[places[: len(writes)]]
        is_first = all(place.start == 0 for place in places[len(writes) :])
        chunk = dict(zip(order, places, strict=True))
        found = _join_chunk(call, read, writes, summed, chunk)
        combine(node.agg, [found] if is_first else [part, found], part)
        del found
    return value


def _indexed(call: Call, summed: Sequence[int]) -> list[int]:
    """The labels whose indices a join asks for: those that it names, and those whose padding must not be summed."""
    extents = call.node.extents
    padded = [label for label in summed if extents[label].padded != extents[label].size]
    return [*call.named, *padded]


def _lies_in_order(call: Call, labels: Sequence[int], order: Sequence[int]) -> bool:
    """Whether the labels stand as in `order`: then so do the elements of what is computed of the operand."""
    places = [list(order).index(label) for label in labels if call.local(label) > 1]
    return places == sorted(places)


def _join_chunk(
    call: Call, read: Sequence[Read], writes: Sequence[int], summed: Sequence[int], chunk: Mapping[int, slice]
) -> Tensor:
    """The join restricted to a stretch of each label; to all of a label that is not in `chunk`."""
    node = call.node
    order = [*writes, *summed]
    everything = slice(None)
    sizes = [len(range(*chunk.get(k, everything).indices(call.local(k)))) for k in order]

    def index(k: int) -> Tensor:
        return call.index(k)[chunk.get(k, everything)].reshape([-1 if o == k else 1 for o in order])

    parts = []
    for tensor, labels in read:
        part = tensor[tuple(chunk.get(k, everything) for k in labels)] if chunk else tensor
        parts.append(aligned(part, labels, order))
    value = call.evaluated(None, parts, index).expand(sizes)
    for k in summed:
        extent = node.extents[k]
        if extent.padded != extent.size:
            unit = monoid(node.agg).identity(torch_dtype_name(value.dtype))
            identity = torch.tensor(unit, dtype=value.dtype)
            value = call.ledger.hold(torch.where(index(k) < extent.size, value, identity))
    dims = list(range(len(writes), len(order)))
    return call.ledger.hold(reduce(node.agg, value, dims, torch_dtype(node.dtype)))


def _distinct(call: Call, tensor: Tensor, labels: Sequence[int]) -> Read:
    """Diagonals taken: of a label that stands twice, the first dimension may be cut, the others are whole."""
    left = list(labels)
    while len(set(left)) < len(left):
        second = next(k for k, label in enumerate(left) if label in left[:k])
        first = left.index(left[second])
        held = call.index(left[first])
        pairs = tensor.movedim((first, second), (0, 1))
        diagonal = call.ledger.hold(pairs[torch.arange(held.numel()), held])
        kept = [label for k, label in enumerate(left) if k not in (first, second)]
        tensor, left = diagonal, [left[first], *kept]
    return tensor, left


def aligned(tensor: Tensor, labels: Sequence[int], order: Sequence[int]) -> Tensor:
    """Dimensions in `order`, of size 1 where the tensor does not have the label."""
    places = [list(labels).index(label) for label in order if label in labels]
    found = tensor.permute(places)
    sizes = iter(found.shape)
    return found.reshape([next(sizes) if label in labels else 1 for label in order])
