"""A plan as text: what every kind of node is cut by, what that moves and costs, and what the next best would cost.

Repeated layers are one row: names that differ in their numbers only, cut alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einsplit.solver.plan.kinds import Cut, cut_kind, kind_of, node_title, total_seconds
from einsplit.solver.sharding import Choice, choice_text
from einsplit.solver.units import bytes_text, seconds_text

if TYPE_CHECKING:
    from einsplit.solver.plan.format import NodePlan, Plan, Status

__all__ = [
    "Row",
    "change_text",
    "cut_text",
    "headline",
    "kind_of",
    "more_text",
    "plan_rows",
    "plan_table",
    "printable",
    "shortened",
]

WIDTH = 120  # columns of a table; longer node names are shortened in the middle
LEAST_NAME = 24  # but never below this
HEADER = ("node", "cut by", "moves", "price", "runner-up")


@dataclass(frozen=True, slots=True)
class Row:
    """Nodes that are the same but for the layer they stand in: bytes and seconds of all of them together.

    The runner-up and what it costs more are those of the first.
    """

    name: str
    count: int
    cut: str
    bytes: int
    seconds: float
    runner_up: str  # what changes, `cpu1:whole`; empty where the node has no other choice
    runner_up_seconds: float


def plan_table(plan: Plan, full: bool = False) -> str:
    """The plan as a table with a headline; `full` gives every node a row, also those that cost nothing."""
    rows = plan_rows(plan, full)
    names = [row.name + (f" x{row.count}" if row.count > 1 else "") for row in rows]
    others = [
        (
            printable(row.cut),
            bytes_text(row.bytes),
            seconds_text(row.seconds),
            printable(row.runner_up),
            more_text(row.runner_up_seconds, row.seconds) if row.runner_up else "",
        )
        for row in rows
    ]
    # The runner-up has two columns, so that what it costs more stands under each other.
    cells = [(*HEADER[1:], ""), *others]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = max(LEAST_NAME, WIDTH - sum(widths) - 2 * len(widths))
    names = [shortened(printable(name), room) for name in (HEADER[0], *names)]
    name_width = max(map(len, names))
    right = (False, True, True, False, True)
    lines = [
        "  ".join(
            [name.ljust(name_width)]
            + [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)]
        ).rstrip()
        for name, row in zip(names, cells, strict=True)
    ]
    free = len(plan.nodes) - sum(row.count for row in rows)
    rest = [f"and {free} that cost nothing"] if free else []
    return "\n".join([headline(plan), "", *lines, *rest])


LEAST_GAP = 1e-6  # a bound and a price that are nearer differ by rounding

PROOF: dict[Status, str] = {
    "searched": "the cheapest that was found, nothing is proven of it",
    "settled": "no single mesh axis, changed at all nodes at once, makes it cheaper",
    "folded": "no single mesh axis, changed at all nodes and in all repeated layers alike, makes it cheaper",
    "exact": "optimal over the digit tables tried",
    "given": "not searched",
    "stopped": "the cheapest that was found before the search was stopped",
}


def headline(plan: Plan) -> str:
    """Two lines: the machine and how the plan was found; price, bytes, and what is proven of them."""
    mesh = " x ".join(f"{axis.name}:{axis.size}" for axis in plan.machine.axes) or "one device"
    proof = PROOF[plan.status] if plan.gap is None else _certified(plan, plan.gap)
    total = f"{seconds_text(plan.seconds)} a step, {bytes_text(plan.bytes)} sent by each device"
    return f"{printable(f'plan for {plan.machine.name} ({mesh}), by {plan.method}')}\n{total}; {proof}"


def _certified(plan: Plan, gap: float) -> str:
    """How far from the cheapest plan it may be, and of which plans."""
    of = "the digit tables tried" + (" and layers cut alike" if plan.status == "folded" else "")
    if gap < LEAST_GAP:
        return f"optimal over {of}"
    return f"at most {100 * gap:.2g} % above the cheapest over {of}"


def plan_rows(plan: Plan, full: bool = False) -> list[Row]:
    """One row for each kind of node, in the order of first appearance; nodes that cost nothing only if `full`."""
    if full:
        return [_row(plan, node_title(node), [node]) for node in plan.nodes]
    groups: dict[tuple[str, Cut], list[NodePlan]] = {}
    for node in plan.nodes:
        if node.seconds > 0 or node.bytes:
            groups.setdefault((kind_of(node_title(node)), cut_kind(node)), []).append(node)
    return [_row(plan, kind, nodes) for (kind, _), nodes in groups.items()]


def _row(plan: Plan, kind: str, nodes: Sequence[NodePlan]) -> Row:
    first = nodes[0]
    return Row(
        name=kind,
        count=len(nodes),
        cut=cut_text(plan, first.cut),
        bytes=sum(node.bytes for node in nodes),
        seconds=total_seconds(nodes),
        runner_up="" if first.runner_up is None else change_text(plan, first.cut, first.runner_up),
        runner_up_seconds=0.0 if first.runner_up is None else first.runner_up_seconds,
    )


def more_text(more: float, seconds: float) -> str:
    """What the runner-up of nodes that take `seconds` costs more, with its sign."""
    # What a plan's own seconds cannot tell apart is no difference.
    equal = abs(more) <= 1e-9 * max(seconds, 1e-9)
    return "+0 s" if equal else ("" if more < 0 else "+") + seconds_text(more)


def cut_text(plan: Plan, cut: Sequence[Choice]) -> str:
    """`node:b gpu0-1:h`, axes that do the same together; `whole` where every device repeats the work."""
    names = [axis.name for axis in plan.machine.axes]
    doing: dict[Choice, list[str]] = {}
    for name, choice in zip(names, cut, strict=True):
        if choice is not None:
            doing.setdefault(choice, []).append(name)
    return " ".join(f"{_together(axes)}:{choice_text(choice)}" for choice, axes in doing.items()) or "whole"


def _together(names: Sequence[str]) -> str:
    """`cpu0`, `cpu1` as `cpu0-1`; other names with commas."""
    split = [re.fullmatch(r"(.*?)([0-9]{1,9})", name) for name in names]
    found = [(part[1], int(part[2])) for part in split if part is not None]
    row = [(found[0][0], found[0][1] + k) for k in range(len(names))] if found else []
    return f"{names[0]}-{row[-1][1]}" if len(names) > 1 and row and found == row else ",".join(names)


def change_text(plan: Plan, now: Sequence[Choice], other: Sequence[Choice]) -> str:
    """The axes on which two shardings of a node differ, with the other's choice: `cpu1:whole`."""
    names = [axis.name for axis in plan.machine.axes]
    found = zip(names, now, other, strict=True)
    return " ".join(f"{name}:{choice_text(new)}" for name, old, new in found if old != new)


def printable(text: str) -> str:
    """A plan file may come from anywhere: what would move a terminal's cursor does not reach it."""
    return "".join(char if char.isprintable() else "?" for char in text)


def shortened(name: str, width: int) -> str:
    """The name in at most `width` characters: of a longer one the beginning and, mostly, the end."""
    if len(name) <= width:
        return name
    head = (width - 3) // 3
    return f"{name[:head].rstrip('.')}...{name[head + 3 - width :].lstrip('.')}"
