"""Merge nodes that compute the same. Graph -> Graph; every value is unchanged, equal ones are computed once."""

from __future__ import annotations

from collections.abc import Hashable

from einsplit.draft import Rewriting
from einsplit.graph import Dims, Einsum, Graph, Input, Kernel, Label, node_labels
from einsplit.scalar import index, substitute


def merge_equal(graph: Graph) -> Graph:
    """Nodes are equal if they are but for the names of their labels, of equal sizes, and for where they come from."""
    new = Rewriting(graph)
    known: dict[Hashable, int] = {}
    for at, node in enumerate(graph.nodes):
        moved = new.moved(node)
        if isinstance(moved, Input):
            new.at[at] = new.add(moved)
            continue
        content = _content(graph, moved)
        if content not in known:
            known[content] = new.add(moved)
        new.at[at] = known[content]
    return new.finish()


def _content(graph: Graph, node: Einsum | Kernel) -> Hashable:
    """What the node computes, its labels numbered in the order in which they are met."""
    number = {label: k for k, label in enumerate(node_labels(node))}
    sizes = tuple(graph.sizes[label] for label in number)
    read = tuple((row.node, tuple(number[label] for label in row.labels)) for row in node.operands)
    common = (sizes, read, _numbered(node.dims, number), node.dtype)
    if isinstance(node, Einsum):
        join = substitute(node.join, {}, {label: index(f"#{k}") for label, k in number.items()})
        return ("einsum", common, join, node.agg)
    reads = tuple(_numbered(dims, number) for dims in node.reads)
    brackets = tuple(number[label] for label in node.brackets if label in number)
    summed, zeroed = (tuple(number[label] for label in labels) for labels in (node.summed, node.zeroed))
    return ("kernel", common, node.kernel, node.attributes, reads, brackets, summed, zeroed, node.agg, node.output)


def _numbered(dims: Dims, number: dict[Label, int]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(number[label] for label in dim) for dim in dims)
