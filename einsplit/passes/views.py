"""Read through nodes that only rename, transpose or repeat. Graph -> Graph; every value is unchanged."""

from __future__ import annotations

import msgspec

from einsplit.draft import Origin, Rewriting
from einsplit.graph import Einsum, Graph, Kernel, Node, Operand, aggregated_labels, factors
from einsplit.scalar import operand

_ITSELF = operand(0)


def read_through(graph: Graph) -> Graph:
    """Readers of a view read what it views: nothing is copied or repeated that a join can read as it is."""
    if not any(isinstance(node, Einsum) and _is_view(node) for node in graph.nodes):
        return graph
    new = Rewriting(graph)
    for at, node in enumerate(graph.nodes):
        moved = new.moved(node)
        new.at[at] = _reread(new, moved)
    return new.finish()


def _reread(new: Rewriting, node: Node) -> int:
    if isinstance(node, Einsum) and (node.agg == "sum" or not aggregated_labels(node)):
        rows = [_behind(new, row) for row in node.operands]
        if rows == list(node.operands):
            return new.add(node)
        # What was repeated by a view and is summed here: the sum over such a label is a product with its size.
        over = {label for row in node.operands for label in row.labels} - set(factors(node))
        return new.einsum(rows, node.dims, node.join, "sum", Origin(node.name, node.source), over)
    if isinstance(node, Kernel):
        rows = [_behind(new, row) for row in node.operands]
        kept = zip(rows, node.operands, strict=True)
        operands = tuple(row if _may_be_read(row, old, node) else old for row, old in kept)
        return new.add(msgspec.structs.replace(node, operands=operands))
    return new.add(node)


def _may_be_read(row: Operand, old: Operand, node: Kernel) -> bool:
    """Whether the kernel takes `row` for `old`: no diagonals, and nothing repeated that it sums, padding included."""
    repeated = set(old.labels) - set(row.labels)
    return len(set(row.labels)) == len(row.labels) and not repeated & set(node.summed)


def _behind(new: Rewriting, row: Operand) -> Operand:
    """The same elements, read from what the node that `row` reads is a view of."""
    node = new.nodes[row.node]
    while isinstance(node, Einsum) and _is_view(node):
        name = dict(zip(factors(node), row.labels, strict=True))
        row = Operand(node.operands[0].node, tuple(name[label] for label in node.operands[0].labels))
        node = new.nodes[row.node]
    return row


def _is_view(node: Einsum) -> bool:
    return len(node.operands) == 1 and node.join == _ITSELF and not aggregated_labels(node)
