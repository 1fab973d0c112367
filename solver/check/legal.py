"""Whether the rows of a plan are its graph's nodes, every choice is one that its node has, and addends are combined."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

from einsplit.graph import Einsum, Graph, Kernel, Label, Node, node_labels, node_text
from einsplit.scalar import to_text
from einsplit.solver.check.extents import Extent
from einsplit.solver.check.faults import Fault
from einsplit.solver.check.joins import lets_addends_through
from einsplit.solver.check.layouts import PARTIAL, combines_by, entries_left
from einsplit.solver.plan import Plan
from einsplit.solver.sharding import Choice, Sharding, Sum

MOST_SHOWN = 60  # characters of a join in a message


def row_faults(plan: Plan, graph: Graph) -> Iterator[Fault]:
    """Rows that are not the graph's nodes."""
    if len(plan.nodes) != len(graph.nodes):
        yield Fault("$.nodes", "", f"{len(plan.nodes)} rows, and the graph has {len(graph.nodes)} nodes")
        return
    for at, (row, node) in enumerate(zip(plan.nodes, graph.nodes, strict=True)):
        place, reads = f"$.nodes[{at}]", tuple(operand.node for operand in node.operands)
        if row.does != node_text(node):
            yield Fault(f"{place}.does", row.name, f"{row.does!r}, and the graph's node does {node_text(node)!r}")
        if row.reads != reads:
            yield Fault(f"{place}.reads", row.name, f"{list(row.reads)}, and the graph's node reads {list(reads)}")
        for key, cut in (("cut", row.cut), ("runner_up", row.runner_up)):
            if cut is not None and len(cut) != len(plan.machine.axes):
                yield Fault(f"{place}.{key}", row.name, f"{len(cut)} choices for {len(plan.machine.axes)} mesh axes")


def cut_faults(plan: Plan, graph: Graph, extents: Mapping[Label, Extent]) -> Iterator[Fault]:
    """Labels that their node lacks or needs whole, and axes that have no digit for them."""
    for at, row in enumerate(plan.nodes):
        yield from _faults_of_cut(f"$.nodes[{at}].cut", row.name, graph.nodes[at], row.cut, extents)


def _faults_of_cut(
    place: str, name: str, node: Node, cut: Sharding, extents: Mapping[Label, Extent]
) -> Iterator[Fault]:
    labels = node_labels(node)
    for axis, choice in enumerate(cut):
        if not isinstance(choice, str):
            continue
        if choice not in labels:
            yield Fault(f"{place}[{axis}]", name, f"{choice!r} is no label of the node; it has {' '.join(labels)}")
        elif isinstance(node, Kernel) and choice in node.brackets:
            yield Fault(f"{place}[{axis}]", name, f"{choice!r} is bracketed: the kernel needs it whole")
        elif axis not in extents[choice].axes:
            yield Fault(f"{place}[{axis}]", name, f"the digit table of {choice!r} does not name axis {axis}")


def sum_faults(plan: Plan, graph: Graph) -> Iterator[Fault]:
    """Addends that a node cannot let through."""
    sums = Sums(graph)
    for at, row in enumerate(plan.nodes):
        yield from sums.faults(f"$.nodes[{at}].cut", row.name, at, row.cut)


class Sums:
    """Which operands may carry addends at which nodes of a Graph; equal joins are looked at once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._outputs = {at for _, at in graph.outputs}
        self._known: dict[Hashable, bool] = {}

    def faults(self, place: str, name: str, at: int, cut: Sharding) -> Iterator[Fault]:
        for axis, choice in enumerate(cut):
            mistake = self._mistake(at, choice)
            if mistake:
                yield Fault(f"{place}[{axis}]", name, mistake)

    def _mistake(self, at: int, choice: Choice) -> str:
        if not isinstance(choice, Sum):
            return ""
        node, carriers = self._graph.nodes[at], choice.carriers
        if not isinstance(node, Einsum):
            return "addends do not pass through what is no einsum"
        if not carriers or len(set(carriers)) < len(carriers) or not set(carriers) <= set(range(len(node.operands))):
            return f"addends of operands {list(carriers)}, and the node has {len(node.operands)}"
        if at in self._outputs:
            return "an output would be left as addends"
        if combines_by(node) != "sum" or node.dtype == "bool":
            return f"addends do not pass through {node.agg}, of {node.dtype}"
        key = (node.join, carriers, tuple(self._graph.nodes[row.node].dtype for row in node.operands))
        if key not in self._known:
            self._known[key] = lets_addends_through(*key)
        if self._known[key]:
            return ""
        text = to_text(node.join)
        shown = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
        return f"the join {shown} is not linear in operands {list(carriers)} jointly: addends do not pass"


def end_faults(plan: Plan, graph: Graph) -> Iterator[Fault]:
    """Outputs and states that would be left partial."""
    ends = [*(at for _, at in graph.outputs), *(state for state, _ in graph.updates)]
    for at in dict.fromkeys(ends):
        row = plan.nodes[at]
        if PARTIAL in entries_left(graph.nodes[at], row.cut):
            yield Fault(f"$.nodes[{at}].cut", row.name, "its value is left partial, and nothing combines it")


def runner_up_faults(plan: Plan, graph: Graph, extents: Mapping[Label, Extent]) -> Iterator[Fault]:
    """Runners-up that their node cannot choose."""
    sums = Sums(graph)
    for at, row in enumerate(plan.nodes):
        if row.runner_up is not None:
            place = f"$.nodes[{at}].runner_up"
            yield from _faults_of_cut(place, row.name, graph.nodes[at], row.runner_up, extents)
            yield from sums.faults(place, row.name, at, row.runner_up)
