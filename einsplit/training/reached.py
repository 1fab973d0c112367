"""Which inputs a gradient gets to: torch's optimizers leave alone what has none, weight decay and momentum included."""

from __future__ import annotations

from einsplit.dtypes import kind
from einsplit.graph import Einsum, Graph, Node
from einsplit.scalar import Expr, parts
from einsplit.scalar.operators import OPERATORS

_STOPPING = ("compare", "truth", "random")  # families of operators that hand no gradient on


def reached(graph: Graph) -> set[str]:
    """Names of the inputs on which an output depends by real numbers all the way: by a gradient of 0, as of floor, too.

    `graph` is as it was captured: a pass may take away what is multiplied by 0.
    """
    found = {at for _, at in graph.outputs}
    for at in range(len(graph.nodes) - 1, -1, -1):
        if at in found:
            node = graph.nodes[at]
            read = (node.operands[k].node for k in _followed(node))
            found.update(other for other in read if kind(graph.nodes[other].dtype) in ("float", "complex"))
    return {name for name, at in graph.inputs.items() if at in found}


def _followed(node: Node) -> set[int]:
    """The operands that a gradient of the node goes to; dtypes aside."""
    if not isinstance(node, Einsum):
        return set(range(len(node.operands)))
    followed: set[Expr] = {node.join}
    for part in reversed(parts(node.join)):
        if part in followed:
            followed.update(_parts_followed(part))
    return {int(part.value or 0) for part in followed if part.op == "operand"}


def _parts_followed(part: Expr) -> tuple[Expr, ...]:
    if part.op == "where":
        return part.args[1:]
    stops = part.op == "stop_gradient" or (part.op == "cast" and kind(str(part.name)) not in ("float", "complex"))
    row = OPERATORS.get(part.op)
    return () if stops or (row is not None and row.family in _STOPPING) else part.args
