"""Merge nodes that compute the same. Graph -> Graph; every value is unchanged, equal ones are computed once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from einsplit.draft import Rewriting
from einsplit.graph import Dims, Einsum, Graph, Input, Kernel, Label, node_labels
from einsplit.scalar import Expr, index, labels_of, substitute


def merge_equal(graph: Graph) -> Graph:
    """Nodes are equal if they are but for the names of their labels, of equal sizes, and for where they come from."""
    if not _may_have_equals(graph):
        return graph
    same = _same(graph)
    if all(at == found for at, found in enumerate(same)):
        return graph
    new = Rewriting(graph)
    for at, found in enumerate(same):
        new.at[at] = new.add(new.moved(graph.nodes[at])) if found == at else new.at[found]
    return new.finish()


def _may_have_equals(graph: Graph) -> bool:
    """Whether two nodes read the same nodes and do alike, at a glance: where none do, no two are equal."""
    alike: dict[Hashable, list[int]] = {}
    for at, node in enumerate(graph.nodes):
        if not isinstance(node, Input):
            read = tuple([row.node for row in node.operands])
            what = node.agg if isinstance(node, Einsum) else (node.kernel, node.output)
            alike.setdefault((what, node.dtype, read), []).append(at)
    itself = range(len(graph.nodes))
    for few in alike.values():
        if len(few) > 1:
            rows = (graph.nodes[at] for at in few)
            if len({content(graph.sizes, row, itself) for row in rows if not isinstance(row, Input)}) < len(few):
                return True
    return False


def _same(graph: Graph) -> list[int]:
    """By node, the first one that computes the same."""
    known: dict[Hashable, int] = {}
    found: list[int] = []
    for at, node in enumerate(graph.nodes):
        found.append(at if isinstance(node, Input) else known.setdefault(content(graph.sizes, node, found), at))
    return found


def content(sizes_of: Mapping[Label, int], node: Einsum | Kernel, same: Sequence[int]) -> Hashable:
    """What the node computes, its labels numbered in the order in which they are met.

    `same`: by node before it, the first one that computes the same.
    """
    number = {label: k for k, label in enumerate(node_labels(node))}
    sizes = tuple([sizes_of[label] for label in number])
    read = tuple([(same[row.node], tuple([number[label] for label in row.labels])) for row in node.operands])
    common = (sizes, read, _numbered(node.dims, number), node.dtype)
    if isinstance(node, Einsum):
        return ("einsum", common, _joined(node, number), node.agg)
    reads = tuple(_numbered(dims, number) for dims in node.reads)
    brackets = tuple(number[label] for label in node.brackets if label in number)
    summed, zeroed = (tuple(number[label] for label in labels) for labels in (node.summed, node.zeroed))
    return ("kernel", common, node.kernel, node.attributes, reads, brackets, summed, zeroed, node.agg, node.output)


def _joined(node: Einsum, number: dict[Label, int]) -> Expr:
    here = {label: index(f"#{number[label]}") for label in labels_of(node.join)}
    return substitute(node.join, {}, here) if here else node.join


def _numbered(dims: Dims, number: dict[Label, int]) -> tuple[tuple[int, ...], ...]:
    return tuple([tuple([number[label] for label in dim]) for dim in dims])
