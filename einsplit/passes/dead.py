"""Drop nodes that no output and no update needs. Graph -> Graph; outputs, updates and their order are unchanged."""

from __future__ import annotations

from einsplit.draft import Rewriting
from einsplit.graph import Graph, Input


def drop_dead(graph: Graph) -> Graph:
    """Inputs that are fed or kept (data, state) stay, needed or not; parameters and constants go with the rest."""
    needed = {at for _, at in graph.outputs} | {at for pair in graph.updates for at in pair}
    needed |= {at for at, node in enumerate(graph.nodes) if isinstance(node, Input) and node.role in ("data", "state")}
    for at in range(len(graph.nodes) - 1, -1, -1):
        if at in needed:
            needed.update(row.node for row in graph.nodes[at].operands)
    if len(needed) == len(graph.nodes):
        return graph
    new = Rewriting(graph)
    for at in sorted(needed):
        new.at[at] = new.add(new.moved(graph.nodes[at]))
    return new.finish()
