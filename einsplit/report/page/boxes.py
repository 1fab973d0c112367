"""Plan -> Folded: its nodes as boxes, repeated layers one box, and which box reads which."""

from __future__ import annotations

from dataclasses import dataclass

from einsplit.solver.plan import NodePlan, Plan, Words
from einsplit.solver.plan.explain import change_text, cut_text, more_text
from einsplit.solver.plan.kinds import Cut, cut_kind, kind_of, label_family, node_title, total_seconds, work_of
from einsplit.solver.plan.words import total
from einsplit.solver.sharding import Sum

__all__ = ["SUM", "WHOLE", "Box", "Folded", "fold"]

WHOLE, SUM = "whole", "sum"
MAX_COLOURS = 8
OTHER = MAX_COLOURS  # the colour that all further labels share


@dataclass(frozen=True, slots=True)
class Box:
    """Nodes that are the same but for the layer they stand in; bytes and seconds of all of them together."""

    first: int  # the position of the first of them
    name: str
    count: int
    cut: str
    colours: tuple[str, ...]  # one for each mesh axis: that of a label, WHOLE, or SUM
    bytes: int
    seconds: float
    work: str
    does: str  # of the first, as all that follows
    runner_up: str
    more: str
    more_seconds: float
    words: Words | None  # of all of them together
    source: str

    @property
    def is_free(self) -> bool:
        """True of what costs nothing."""
        return not (self.seconds or self.bytes)


@dataclass(frozen=True, slots=True)
class Folded:
    """Boxes in the order of their first nodes; edges between them, as pairs of their positions."""

    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]  # read, reader
    depths: tuple[int, ...]  # of each box: nodes on the longest way to the first of its nodes
    legend: tuple[tuple[str, str], ...]  # colour, the label it stands for
    num_hidden: int  # copies that cost nothing: they are drawn as the edge they are


def fold(plan: Plan) -> Folded:
    """The boxes of a plan. A copy that costs nothing is no box: who reads it reads what it reads."""
    reads = [tuple(sorted(set(node.reads))) for node in plan.nodes]
    was_read = {read for found in reads for read in found}
    stands_for = list(range(len(reads)))
    for at, node in enumerate(plan.nodes):
        free = not (node.seconds or node.bytes) and work_of(node.does) == "copies and moves"
        if free and len(reads[at]) == 1 and at in was_read:
            stands_for[at] = stands_for[reads[at][0]]
    kept = [at for at in range(len(reads)) if stands_for[at] == at]
    reads = [tuple(sorted({stands_for[read] for read in found})) for found in reads]

    groups: dict[tuple[str, Cut], list[int]] = {}
    for at in kept:
        node = plan.nodes[at]
        groups.setdefault((kind_of(node_title(node)), cut_kind(node)), []).append(at)
    colours, legend = _colours(plan)
    box_of = {at: number for number, found in enumerate(groups.values()) for at in found}
    depths = _depths(reads, kept)
    edges = {(box_of[read], box_of[at]) for at in kept for read in reads[at]}
    return Folded(
        boxes=tuple(
            _box(plan, kind, [plan.nodes[at] for at in found], found[0], colours) for (kind, _), found in groups.items()
        ),
        edges=tuple(sorted(edge for edge in edges if edge[0] != edge[1])),
        depths=tuple(depths[found[0]] for found in groups.values()),
        legend=legend,
        num_hidden=len(reads) - len(kept),
    )


def _box(plan: Plan, kind: str, nodes: list[NodePlan], first: int, colours: dict[str, str]) -> Box:
    node = nodes[0]
    return Box(
        first=first,
        name=kind,
        count=len(nodes),
        cut=cut_text(plan, node.cut),
        colours=tuple(
            WHOLE if choice is None else SUM if isinstance(choice, Sum) else colours[choice] for choice in node.cut
        ),
        bytes=sum(node.bytes for node in nodes),
        seconds=total_seconds(nodes),
        work=work_of(node.does),
        does=node.does,
        runner_up="" if node.runner_up is None else change_text(plan, node.cut, node.runner_up),
        more="" if node.runner_up is None else more_text(node.runner_up_seconds, total_seconds(nodes)),
        more_seconds=0.0 if node.runner_up is None else node.runner_up_seconds,
        words=total(node.words for node in nodes),
        source=node.source,
    )


def _colours(plan: Plan) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """The colour of each label that cuts something, and the legend; labels that cut most seconds come first."""
    families = label_family(plan.nodes)
    seconds: dict[str, float] = dict.fromkeys(families.values(), 0.0)
    for node in plan.nodes:
        for choice in node.cut:
            if isinstance(choice, str):
                seconds[families[choice]] += node.seconds
    order = sorted(seconds, key=lambda family: (-seconds[family], family))
    colour = {family: f"c{min(number, OTHER)}" for number, family in enumerate(order)}
    legend = [(colour[family], family) for family in order[:MAX_COLOURS]]
    if len(order) > MAX_COLOURS:
        legend.append((f"c{OTHER}", f"{len(order) - MAX_COLOURS} other labels"))
    return {label: colour[family] for label, family in families.items()}, tuple(legend)


def _depths(reads: list[tuple[int, ...]], kept: list[int]) -> dict[int, int]:
    """Nodes on the longest way to each node. What comes of one input alone waits until it is read."""
    depths: dict[int, int] = {}
    waiting: set[int] = set()
    for at in kept:
        depths[at] = max((depths[read] + 1 for read in reads[at]), default=0)
        if len(reads[at]) < 2 and waiting.issuperset(reads[at]):
            waiting.add(at)
    soonest: dict[int, int] = {}  # of all readers
    for at in reversed(kept):
        if at in waiting:
            depths[at] = soonest.get(at, depths[at] + 1) - 1
        for read in reads[at]:
            soonest[read] = min(depths[at], soonest.get(read, depths[at]))
    return depths
