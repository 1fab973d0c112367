"""The refusal of kernels that run whole: for users who want every operation cut, or to know."""

from __future__ import annotations

from einsplit.errors import CaptureError
from einsplit.graph import Graph, Kernel
from einsplit.report.understood import node_kind
from einsplit.report.why import line_text, runs_whole, why_whole

MAX_NAMED = 8  # kinds that the message lists


def refuse_whole(graph: Graph) -> None:
    """Raises CaptureError where a kernel of the graph runs whole, naming each kind of them with the user's line."""
    kinds: dict[tuple[str, str, str], set[object]] = {}
    for node in graph.nodes:
        if isinstance(node, Kernel) and runs_whole(node, graph.sizes):
            key = (node_kind(node), why_whole(node, graph.sizes), node.source)
            # The results of one call are nodes of their own.
            kinds.setdefault(key, set()).add((node.kernel, node.attributes, node.operands))
    if not kinds:
        return
    remarks = []
    for (kind, why, source), calls in list(kinds.items())[:MAX_NAMED]:
        times = f" x{len(calls)}" if len(calls) > 1 else ""
        line = line_text(source)
        remarks.append(f"{kind}{times}: {why}" + (f"\n    {line}" if line else ""))
    if len(kinds) > MAX_NAMED:
        remarks.append(f"and {len(kinds) - MAX_NAMED} more kinds")
    count = sum(map(len, kinds.values()))
    mistake = f"{count} kernels run whole" if count > 1 else "a kernel runs whole"
    advice = "Write this with operators that can be cut; or leave strict out, and every device repeats it."
    raise CaptureError(f"{mistake}, and strict refuses that.", *remarks, advice)
