"""The partition vectors of a node that a mesh can carry out under digit tables, with what each costs.

Every mesh axis cuts one label that has a digit for it, so that the entries multiply to the number of devices; an axis
that no label of the node has a digit for leaves the node whole, and the entries multiply to less. Labels that a kernel
needs whole are not cut.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from einsplit.graph import Graph, Label, Node, factors, node_labels
from einsplit.solver.published.eindecomp.costs import (
    Scalars,
    Vectors,
    aggregation_costs,
    block_elements,
    join_costs,
    num_blocks,
)
from einsplit.solver.sharding import DigitTables, cuttable_labels


@dataclass(frozen=True, slots=True)
class Rows:
    """Of each vector of a node, the row of `distinct` that it is on a tensor, entry by dimension."""

    distinct: Vectors
    row: NDArray[np.intp]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The vectors of a node, a row each, over all its labels; their own costs; what they are on result and operands."""

    vectors: Vectors
    costs: Scalars
    left: Rows
    wanted: tuple[Rows, ...]


def content(graph: Graph, node: Node, tables: DigitTables) -> Hashable:
    """Equal for nodes that have equal candidates, label by label."""
    labels = node_labels(node)
    number = {label: k for k, label in enumerate(labels)}
    cuttable = set(cuttable_labels(node))
    digits = tuple((graph.sizes[label], tables[label].axes if label in cuttable else ()) for label in labels)
    reads = tuple(tuple(number[label] for label in operand.labels) for operand in node.operands)
    return digits, reads, tuple(number[label] for label in factors(node))


def candidates(graph: Graph, node: Node, tables: DigitTables, mesh: Sequence[int]) -> Candidates:
    """All vectors of a node, those that cut earlier labels more first."""
    labels = node_labels(node)
    vectors = _vectors(node, tables, mesh)
    left = _rows(graph, labels, factors(node), vectors)
    wanted = tuple(_rows(graph, labels, operand.labels, vectors) for operand in node.operands)
    blocks = [block_elements(rows.shape, rows.distinct)[rows.row] for rows in wanted]
    num_addends = num_blocks(vectors[:, [label not in factors(node) for label in labels]])
    costs = join_costs(num_blocks(vectors), blocks) + aggregation_costs(prod(left.shape), num_addends)
    return Candidates(vectors, costs, left, wanted)


def open_labels(node: Node, tables: DigitTables, axis: int) -> tuple[Label, ...]:
    """The labels of a node that an axis may cut."""
    return tuple(label for label in cuttable_labels(node) if axis in tables[label].axes)


def _vectors(node: Node, tables: DigitTables, mesh: Sequence[int]) -> Vectors:
    labels = node_labels(node)
    found = {(1,) * len(labels)}
    for axis, size in enumerate(mesh):
        places = [labels.index(label) for label in open_labels(node, tables, axis)]
        if places:
            found = {(*v[:at], v[at] * size, *v[at + 1 :]) for v in found for at in places}
    return np.array(sorted(found, reverse=True), dtype=np.int64).reshape(len(found), len(labels))


def _rows(graph: Graph, labels: Sequence[Label], read: Sequence[Label], vectors: Vectors) -> Rows:
    """On a tensor of these labels; one that stands twice is cut at its first position."""
    entries = np.ones((len(vectors), len(read)), dtype=np.int64)
    for position, label in enumerate(read):
        if read.index(label) == position:
            entries[:, position] = vectors[:, labels.index(label)]
    distinct, row = np.unique(entries, axis=0, return_inverse=True)
    return Rows(distinct, row.reshape(-1), tuple(graph.sizes[label] for label in read))
