"""What is pinned differently is not folded: nodes of one class are all limited alike."""

from __future__ import annotations

from einsplit.graph import node_labels
from einsplit.solver.pricing.content import node_content
from einsplit.solver.problem.fold import fold
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Limits


def apart(memo: Memo, limits: Limits) -> Memo:
    """A Memo whose classes keep limited nodes apart from others; the given one, where it has no classes to part.

    Layers that are pinned alike, label by label in order of appearance, still choose alike.
    """
    if not limits or memo.folding.is_trivial:
        return memo
    graph = memo.graph
    contents = [memo.number(node_content(graph, node, memo.forms[at])) for at, node in enumerate(graph.nodes)]
    for at, rows in limits.items():
        place = {label: k for k, label in enumerate(node_labels(graph.nodes[at]))}
        kept = tuple(tuple(place[c] if isinstance(c, str) else c for c in choices) for choices in rows)
        contents[at] = memo.number((contents[at], kept))
    return Memo(graph, memo.machine, fold(graph, contents))
