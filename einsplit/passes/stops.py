"""Drop stop_gradient, when nothing will be differentiated any more. Graph -> Graph; every value is unchanged."""

from __future__ import annotations

import msgspec

from einsplit.draft import Rewriting
from einsplit.graph import Einsum, Graph
from einsplit.scalar import Expr, parts, rewrite, simplify


def drop_stops(graph: Graph) -> Graph:
    """A join without stops is recognised where it is a product, or nothing at all."""
    joins = {node.join for node in graph.nodes if isinstance(node, Einsum)}
    if not any(map(_stops, joins)):
        return graph
    new = Rewriting(graph)
    for at, node in enumerate(graph.nodes):
        moved = new.moved(node)
        if isinstance(moved, Einsum) and _stops(moved.join):
            moved = msgspec.structs.replace(moved, join=simplify(rewrite(moved.join, _without_stop)))
        new.at[at] = new.add(moved)
    return new.finish()


def _stops(join: Expr) -> bool:
    return any(part.op == "stop_gradient" for part in parts(join))


def _without_stop(expr: Expr) -> Expr:
    return expr.args[0] if expr.op == "stop_gradient" else expr
