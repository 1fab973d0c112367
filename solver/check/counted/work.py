"""What a device does at one node: scalar operations, bytes read and written, and bytes of padding to overwrite first.

A node's way of being carried out:

    nothing   an input, or a value read as it is
    product   a sum of products of two operands: 2 operations for each element over all labels
    row       one index of a label: what is read is as large as what is written
    keyed     values read or added where keys say (`einsplit.solver.check.counted.keys`)
    grouped   a matrix multiplication for each index of a label, of the rows whose key it is: the rows are shared evenly
    formula   any other join: its operations for each element, and one more where elements are aggregated
    kernel    one operation for each element read or written, and a share of its own operations
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from einsplit.dtypes import ITEMSIZE, kind
from einsplit.graph import (
    Einsum,
    Input,
    Kernel,
    Label,
    Node,
    Operand,
    aggregated_labels,
    factors,
    node_labels,
    zeroed_labels,
)
from einsplit.scalar import num_operations, operand
from einsplit.solver.check.counted.keys import Keyed, is_nothing, keyed
from einsplit.solver.check.counted.rates import Multiplied, of_grouped, of_kernel, of_product
from einsplit.solver.check.extents import Extent
from einsplit.solver.sharding import Sharding

Way = Literal["nothing", "product", "row", "keyed", "grouped", "formula", "kernel"]
OVERWRITES: Collection[Way] = ("product", "grouped", "kernel")  # these sum whatever stands in the padding


@dataclass(frozen=True, slots=True)
class Carried:
    """How a node is carried out, and its keys if there are any."""

    way: Way
    keyed: Keyed | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """Of one device at one node; `overwritten` are the bytes of each operand whose padding is made zeros first."""

    operations: int
    touched: int
    overwritten: tuple[int, ...] = ()
    multiplied: Multiplied | None = None  # the matrices, where the operations are those of multiplications


def carried_out(node: Node, dtypes: Sequence[str], sizes: Mapping[Label, int]) -> Carried:
    """How a node is carried out whose operands have those dtypes."""
    if isinstance(node, Kernel):
        return Carried("kernel")
    if isinstance(node, Input):
        return Carried("nothing")
    if not aggregated_labels(node):
        is_same = node.join == operand(0) and node.operands[0].labels == factors(node)
        return Carried("nothing" if is_same else "formula")
    if _is_product(node, dtypes):
        return Carried("product")
    if _is_row(node):
        return Carried("row")
    found = keyed(node, dtypes, sizes)
    if found is None:
        return Carried("formula")
    return Carried("grouped" if _is_grouped(node, dtypes, found) else "keyed", found)


def _is_product(node: Einsum, dtypes: Sequence[str]) -> bool:
    """Two operands without diagonals, multiplied in the dtype of the result, and no label of it that neither has."""
    pair = [operand(0) * operand(1), operand(1) * operand(0)]
    rows = [set(row.labels) for row in node.operands]
    if len(rows) != 2 or node.agg != "sum" or node.join not in pair or set(dtypes) != {node.dtype}:
        return False
    return not any(map(_is_diagonal, node.operands)) and rows[0] | rows[1] >= set(factors(node))


def _is_diagonal(row: Operand) -> bool:
    return len(set(row.labels)) < len(row.labels)


def _is_row(node: Einsum) -> bool:
    """`where(index(label) == 3, x, 0)`, summed over the label alone."""
    summed, join = aggregated_labels(node), node.join
    if join.op != "where" or node.agg not in ("sum", "any") or len(summed) != 1 or len(node.operands) != 1:
        return False
    test, taken, otherwise = join.args
    sides = {side.op: side for side in test.args}
    if test.op != "eq" or set(sides) != {"index", "const"} or taken.op != "operand" or not is_nothing(otherwise):
        return False
    number, labels = sides["const"].value, node.operands[0].labels
    is_position = isinstance(number, int) and number >= 0
    return is_position and sides["index"].name == summed[0] and len(set(labels)) == len(labels)


def _is_grouped(node: Einsum, dtypes: Sequence[str], found: Keyed) -> bool:
    """Whether it multiplies matrices: two operands meet in what is summed, and one of them has a row for each key."""
    if found.multiplied is None or len(found.keys) != 1 or node.agg != "sum" or kind(node.dtype) != "float":
        return False
    if any(dtypes[k] != node.dtype for k in found.multiplied):
        return False
    rows, group, out = found.over, found.labels, frozenset(factors(node))
    left, right = (frozenset(node.operands[k].labels) for k in found.multiplied)
    in_part = any(labels & rows and not rows <= labels for labels in (left, right, out))
    every = frozenset(node_labels(node)) - group
    over = frozenset(aggregated_labels(node)) - rows - group
    meets = over <= left & right if over else not rows & out
    is_matrix = (rows <= left or rows <= right) and not (every <= left or every <= right)
    return bool(rows) and not in_part and meets and is_matrix and out <= left | right | rows | group


# ---------------------------------------------------------------------------------------- of one device


def work_of(
    node: Node, carried: Carried, cut: Sharding, dtypes: Sequence[str], extents: Mapping[Label, Extent]
) -> Work:
    """What a device does where the node is cut so; `dtypes` are those of its operands."""
    if carried.way == "nothing":
        return Work(0, 0)
    held = held_along(node, cut, extents)
    written = prod(held[label] for label in factors(node))
    blocks = [_block(row.labels, held, extents) * ITEMSIZE[d] for row, d in zip(node.operands, dtypes, strict=True)]
    read = list(blocks)
    for number, row in enumerate(node.operands):
        taken = _taken(node, carried, row.labels)
        if taken is not None:
            read[number] = prod(held[label] for label in taken) * ITEMSIZE[dtypes[number]]
    padded = {label for label in zeroed_labels(node) if extents[label].padded != extents[label].size}
    if carried.keyed is not None:
        padded -= carried.keyed.labels | carried.keyed.over  # padding has no key, and is none
    overwritten = tuple(
        size for size, row in zip(blocks, node.operands, strict=True)
        if carried.way in OVERWRITES and padded & set(row.labels)
    )  # fmt: skip
    touched = sum(read) + written * ITEMSIZE[node.dtype]
    multiplied = _multiplied(node, carried, held, dtypes, extents)
    return Work(_operations(node, carried, held, extents), touched, overwritten, multiplied)


def _multiplied(
    node: Node, carried: Carried, held: Mapping[Label, int], dtypes: Sequence[str], extents: Mapping[Label, Extent]
) -> Multiplied | None:
    if isinstance(node, Kernel):
        return of_kernel(node, dtypes[0] if dtypes else "", held)
    if carried.way == "grouped" and carried.keyed is not None:
        (group,) = carried.keyed.labels
        return of_grouped(node, carried.keyed, held, extents[group].padded)
    return of_product(node, held) if carried.way == "product" else None


def held_along(node: Node, cut: Sharding, extents: Mapping[Label, Extent]) -> dict[Label, int]:
    """Elements of a device along every label of the node."""
    return {
        label: extents[label].held([axis for axis, choice in enumerate(cut) if choice == label])
        for label in node_labels(node)
    }


def _block(labels: Sequence[Label], held: Mapping[Label, int], extents: Mapping[Label, Extent]) -> int:
    """Elements of an operand; of a diagonal all positions but the first are whole."""
    return prod(
        held[label] if labels.index(label) == position else extents[label].padded
        for position, label in enumerate(labels)
    )


def _taken(node: Node, carried: Carried, labels: Sequence[Label]) -> Collection[Label] | None:
    """Labels of as many elements as are read of an operand, where that is not all of its block."""
    if carried.way == "row":
        return factors(node)
    if carried.way != "keyed" or carried.keyed is None or not carried.keyed.labels & set(labels):
        return None
    return (set(labels) - carried.keyed.labels) | carried.keyed.over


def _operations(node: Node, carried: Carried, held: Mapping[Label, int], extents: Mapping[Label, Extent]) -> int:
    def along(labels: Collection[Label]) -> int:
        return prod(held[label] for label in labels)

    if isinstance(node, Kernel):
        moved = sum(along(labels) for labels in (factors(node), *(row.labels for row in node.operands)))
        return moved + kernel_share(node.operations, node, held, extents)
    assert isinstance(node, Einsum)
    if carried.way == "row":
        return along(factors(node))
    if carried.way == "product":
        return 2 * along(node_labels(node))
    if carried.keyed is None:
        return along(node_labels(node)) * (num_operations(node.join) + (len(aggregated_labels(node)) > 0))
    found = carried.keyed
    lookups = sum(num_operations(key.index) * along(key.over) for key in found.keys)
    every = along([label for label in node_labels(node) if label not in found.labels])
    if carried.way == "grouped":
        (group,) = found.labels
        return lookups + 2 * every * held[group] // max(1, extents[group].padded)
    return lookups + every * (num_operations(found.value) + _adds(node, found.labels))


def _adds(node: Einsum, chosen: Collection[Label]) -> bool:
    """Whether something is summed besides what keys choose; who writes where they say adds there as it writes."""
    summed = set(aggregated_labels(node))
    return bool(set(chosen) & summed) and bool(summed - set(chosen))


def kernel_share(num_operations: int, node: Kernel, held: Mapping[Label, int], extents: Mapping[Label, Extent]) -> int:
    """Of the operations of a kernel those of one device: it does as much of them as it has of what may be cut."""
    free = [label for label in node_labels(node) if label not in node.brackets]
    whole = prod(extents[label].size for label in free)
    return num_operations * prod(held[label] for label in free) // max(1, whole)
