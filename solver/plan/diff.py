"""Two plans -> what changed between them, node by node, and what that is worth.

Nodes are paired by position where both plans are for one graph, and by name where they are not: without the count at
its end, which shifts with every layer before it; of nodes that have one name the first is paired with the first.
Repeated layers are one row, where both plans cut them alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from einsplit.errors import PlanError
from einsplit.solver.plan.explain import cut_text, headline, printable, shortened
from einsplit.solver.plan.format import NodePlan, Plan
from einsplit.solver.plan.kinds import Cut, cut_kind, kind_of, node_title, total_seconds, uncounted
from einsplit.solver.units import bytes_text, seconds_text

__all__ = ["Difference", "Side", "diff_rows", "diff_text", "remarks"]

WIDTH = 120  # columns of the table; longer node names are shortened in the middle
LEAST_NAME = 40  # but never below this
CUT_WIDTH = 24  # columns of a cut
HEADER = ("node", "A cut by", "B cut by", "A price", "B price", "B - A", "A moves", "B moves")
NUM_TEXTS = 3  # of its columns; the others hold figures
ROUNDING = 1e-9  # seconds that differ by a smaller share are equal

Pair = tuple[NodePlan | None, NodePlan | None]


@dataclass(frozen=True, slots=True)
class Side:
    """What one plan does with the nodes of a row: bytes and seconds of all of them together."""

    cut: str
    seconds: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Nodes that are the same but for the layer they stand in; a side is None where its plan has no such nodes."""

    name: str
    count: int
    a: Side | None
    b: Side | None

    @property
    def seconds(self) -> float:
        """How many more the second plan takes."""
        found = _seconds(self.b) - _seconds(self.a)
        return 0.0 if abs(found) <= ROUNDING * max(_seconds(self.a), _seconds(self.b)) else found

    @property
    def bytes(self) -> int:
        """How many more the second plan sends from each device."""
        return (self.b.bytes if self.b else 0) - (self.a.bytes if self.a else 0)

    @property
    def is_free(self) -> bool:
        """Neither plan takes a second or sends a byte for it."""
        return not any(side and (side.seconds or side.bytes) for side in (self.a, self.b))

    @property
    def is_change(self) -> bool:
        """False where both plans cut, take and send the same."""
        cuts = [side and side.cut for side in (self.a, self.b)]
        return cuts[0] != cuts[1] or bool(self.seconds or self.bytes)


def diff_rows(a: Plan, b: Plan, full: bool = False) -> list[Difference]:
    """What changed from `a` to `b`, the greatest difference in seconds first; of equal ones the first in the graph.

    `full`: a row for every node, those that did not change too. Raises PlanError where no node stands in both.
    """
    pairs = _paired(a, b)
    if a.graph != b.graph and not any(one is not None and other is not None for one, other in pairs):
        raise PlanError(
            "the two plans have nothing in common: they are for different graphs, and no node of one has the name of "
            "a node of the other.",
            f"The first is for {a.graph[:12]!a}, begins with {_first(a)}; the second for {b.graph[:12]!a}, "
            f"begins with {_first(b)}.",
        )
    if full:
        rows = [_row(a, b, [pair], node_title) for pair in pairs]
    else:
        groups: dict[tuple[str, Cut | None, Cut | None], list[Pair]] = defaultdict(list)
        for one, other in pairs:
            cuts = [None if node is None else cut_kind(node) for node in (one, other)]
            groups[kind_of(_title((one, other))), cuts[0], cuts[1]].append((one, other))
        rows = [_row(a, b, group, lambda node: kind_of(node_title(node))) for group in groups.values()]
        rows = [row for row in rows if row.is_change]
    return sorted(rows, key=lambda row: -abs(row.seconds))


def _first(plan: Plan) -> str:
    return repr(shortened(printable(node_title(plan.nodes[0])), CUT_WIDTH)) if plan.nodes else "nothing"


def _paired(a: Plan, b: Plan) -> list[Pair]:
    """The nodes of both plans, in the order of the first; those that only the second has come last."""
    if a.graph == b.graph and len(a.nodes) == len(b.nodes):
        return list(zip(a.nodes, b.nodes, strict=True))
    found: list[Pair] = []
    waiting: dict[str, list[NodePlan]] = defaultdict(list)
    for node in reversed(b.nodes):
        waiting[uncounted(node_title(node))].append(node)
    for node in a.nodes:
        same = waiting.get(uncounted(node_title(node)))
        found.append((node, same.pop() if same else None))
    alone = {id(node) for nodes in waiting.values() for node in nodes}
    return found + [(None, node) for node in b.nodes if id(node) in alone]


def _title(pair: Pair) -> str:
    first = pair[0] or pair[1]
    assert first is not None
    return node_title(first)


def _row(a: Plan, b: Plan, pairs: Sequence[Pair], name: Callable[[NodePlan], str]) -> Difference:
    first = pairs[0][0] or pairs[0][1]
    assert first is not None
    sides = (_side(a, [pair[0] for pair in pairs]), _side(b, [pair[1] for pair in pairs]))
    return Difference(name(first), len(pairs), *sides)


def _side(plan: Plan, found: Sequence[NodePlan | None]) -> Side | None:
    nodes = [node for node in found if node is not None]
    if not nodes:
        return None
    cut = cut_text(plan, nodes[0].cut)
    return Side(cut, total_seconds(nodes), sum(node.bytes for node in nodes))


def _seconds(side: Side | None) -> float:
    return side.seconds if side else 0.0


def remarks(a: Plan, b: Plan) -> list[str]:
    """What a reader must know before comparing: other graphs, other machines."""
    said = []
    if a.graph != b.graph:
        said.append("the plans are for different graphs: nodes are compared by name")
    if a.machine != b.machine:
        said.append("the plans are for different machines: a difference is not one of cuts alone")
    return said


def diff_text(a: Plan, b: Plan, full: bool = False) -> str:
    """Both plans' figures, and a table of what changed."""
    rows = diff_rows(a, b, full)
    if a == b and not full:
        return f"no difference: {headline(a).splitlines()[0]}, {_figures(a)}"
    head = [f"{side}  {line}" for side, plan in (("A", a), ("B", b)) for line in headline(plan).splitlines()]
    lines = [*head, "", *_totals(a, b), *remarks(a, b)]
    if not rows:
        return "\n".join([*lines, "", "every node is cut alike, takes and sends the same"])
    shown = rows if full else [row for row in rows if not row.is_free]
    free = sum(row.count for row in rows) - sum(row.count for row in shown)
    rest = [f"and {free} that cost nothing: cut otherwise, or in one plan only"] if free else []
    return "\n".join([*lines, "", *(_table(shown) if shown else []), *rest])


def _figures(plan: Plan) -> str:
    return f"{seconds_text(plan.seconds)} a step, {bytes_text(plan.bytes)} sent by each device"


def _totals(a: Plan, b: Plan) -> Iterator[str]:
    """Seconds, bytes and peak of B against A."""
    share = f" ({100 * (b.seconds / a.seconds - 1):+.1f} %)" if a.seconds else ""
    peak = f", peak {_more(b.peak_bytes - a.peak_bytes, bytes_text)}" if a.peak_bytes and b.peak_bytes else ""
    yield (
        f"B against A: {_more(b.seconds - a.seconds, seconds_text)} a step{share}, "
        f"{_more(b.bytes - a.bytes, bytes_text)} sent by each device{peak}"
    )


def _more(value: float, text: Callable[[float], str]) -> str:
    """With its sign: `+1.5 ms`."""
    return ("-" if value < 0 else "+") + text(abs(value))


def _table(rows: Sequence[Difference]) -> list[str]:
    """What each plan does with the nodes of a row; `-` where it has none."""
    cells = [HEADER, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = max(LEAST_NAME, WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1))
    cells = [(shortened(name, room), *others) for name, *others in cells]
    widths[0] = max(len(row[0]) for row in cells)
    return [
        "  ".join(
            cell.ljust(width) if column < NUM_TEXTS else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _cells(row: Difference) -> tuple[str, ...]:
    name = row.name + (f" x{row.count}" if row.count > 1 else "")
    sides = (row.a, row.b)
    return (
        printable(name),
        *("-" if side is None else shortened(printable(side.cut), CUT_WIDTH) for side in sides),
        *("-" if side is None else seconds_text(side.seconds) for side in sides),
        _more(row.seconds, seconds_text),
        *("-" if side is None else bytes_text(side.bytes) for side in sides),
    )
