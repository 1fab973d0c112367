"""Write constants into the joins that read them. Graph -> Graph; every value is unchanged."""

from __future__ import annotations

from einsplit.draft import Origin, Rewriting
from einsplit.graph import Einsum, Graph, Operand, aggregated_labels
from einsplit.scalar import Expr, labels_of, substitute


def inline_constants(graph: Graph) -> Graph:
    """A node without operands and without indices is one number, however large its shape: no device holds it."""
    new = Rewriting(graph)
    for at, node in enumerate(graph.nodes):
        moved = new.moved(node)
        new.at[at] = _inlined(new, moved) if isinstance(moved, Einsum) else new.add(moved)
    return new.finish()


def _inlined(new: Rewriting, node: Einsum) -> int:
    numbers = {k: join for k, row in enumerate(node.operands) if (join := _number(new, row)) is not None}
    if not numbers or (node.agg != "sum" and aggregated_labels(node)):
        return new.add(node)
    join = substitute(node.join, numbers, {})
    return new.einsum(node.operands, node.dims, join, node.agg, Origin(node.name, node.source))


def _number(new: Rewriting, row: Operand) -> Expr | None:
    node = new.nodes[row.node]
    return node.join if isinstance(node, Einsum) and not node.operands and not labels_of(node.join) else None
