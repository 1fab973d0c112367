"""A product grouped by a key, on one shard: a matrix multiplication for each index held of the key's label."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from einsplit.runtime.kernels.call import Call
from einsplit.runtime.kernels.keyed import Places


def grouped(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """For each index of the label, the product of the rows whose key it is; rows are the elements that have a key.

    Padding of other summed labels is masked by the Program.
    """
    node, ledger = call.node, call.ledger
    (chosen,) = node.chosen
    places = Places(call, operands)
    row = len(node.extents)  # a label of its own: all labels of the key as one
    is_written = places.labels[0] in node.writes
    pair = [_rows(call, places, operands[k], node.reads[k], row) for k in node.product]
    rest = [label for label in node.writes if label != chosen and label not in places.labels]
    group = ledger.hold(torch.where(places.hit, places.ats[0], -1)).reshape(-1)
    order = ledger.hold(torch.sort(group, stable=True).indices)
    counts = torch.bincount(group + 1, minlength=call.local(chosen) + 1).tolist()
    num_rows = group.numel()
    leading = [num_rows if is_written else 1, call.local(chosen) if chosen in node.writes else 1]
    sums = pair[0][0].new_zeros([*leading, *(call.local(label) for label in rest)])
    ledger.hold(sums)
    # How many rows an index has is known now only: what is declared is what one that has them all would take.
    taken = sum(tensor.nbytes for tensor, labels in pair if row in labels)
    made = leading[0] * prod(call.local(label) for label in rest) * sums.element_size()
    with ledger.declared(taken + made):
        start = counts[0]
        for at, count in enumerate(counts[1:]):
            if not count:
                continue
            rows = order[start : start + count]
            start += count
            parts = [_part(tensor, labels, row, rows, chosen, at) for tensor, labels in pair]
            out = [*((row,) if is_written else ()), *rest]
            product = torch.einsum(parts[0][0], parts[0][1], parts[1][0], parts[1][1], out)
            place = at if chosen in node.writes else 0
            if is_written:
                sums[rows, place] = product
            else:
                sums[0, place] += product
    led = places.labels if is_written else []
    order_of = [*led, *((chosen,) if chosen in node.writes else ()), *rest]
    opened = sums.reshape([call.local(label) for label in order_of])
    return opened.permute([order_of.index(label) for label in node.writes])


def _rows(call: Call, places: Places, tensor: Tensor, labels: Sequence[int], row: int) -> tuple[Tensor, list[int]]:
    """The operand with its rows, if it has any, as one dimension in front."""
    if places.labels[0] not in labels:
        return tensor, list(labels)
    rest = [label for label in labels if label not in places.labels]
    order = [*places.labels, *rest]
    turned = tensor.permute([list(labels).index(label) for label in order])
    num_rows = prod(call.local(label) for label in places.labels)
    rows = call.ledger.hold(turned.reshape([num_rows, *turned.shape[len(places.labels) :]]))
    return rows, [row, *rest]


def _part(
    tensor: Tensor, labels: Sequence[int], row: int, rows: Tensor, chosen: int, at: int
) -> tuple[Tensor, list[int]]:
    """The operand's part in the product of one index: its rows, its matrix, or all of it."""
    if row in labels:
        tensor = tensor[rows]
    if chosen in labels:
        tensor = tensor.select(list(labels).index(chosen), at)
    return tensor, [label for label in labels if label != chosen]
