"""A plan as text: what every kind of node is cut by, what that moves and costs, and what the next best would cost.

Repeated layers are one row: names that differ in their numbers only, cut alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from einsplit.solver.plan.kinds import Cut, cut_kind, kind_of, node_title, total_seconds
from einsplit.solver.plan.words import NOTES, Words, count_text, ratio_text, summed_text, total
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
    "price_text",
    "printable",
    "proof_text",
    "shortened",
]

WIDTH = 120  # columns of a table; longer node names are shortened in the middle
LEAST_NAME = 24  # but never below this
HEADER = ("node", "cut by", "moves", "price", "runner-up")
WORDS_HEADER = ("words", "/ bound", "/ grid")
MAX_AXES = 3  # that the headline says the bytes of


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
    words: Words | None  # of all of them together


def plan_table(plan: Plan, full: bool = False, words: bool = False) -> str:
    """The plan as a table with a headline; `full` gives every node a row, also those that cost nothing.

    `words`: three columns more, of the words moved, and of how many times the lower bound and the best grid that is;
    beneath the table what they come to.
    """
    rows = plan_rows(plan, full)
    more = WORDS_HEADER if words else ()
    names = [row.name + (f" x{row.count}" if row.count > 1 else "") for row in rows]
    others = [
        (
            printable(row.cut),
            bytes_text(row.bytes),
            seconds_text(row.seconds),
            printable(row.runner_up),
            more_text(row.runner_up_seconds, row.seconds) if row.runner_up else "",
            *(_words_cells(row.words) if words else ()),
        )
        for row in rows
    ]
    # The runner-up has two columns, so that what it costs more stands under each other.
    cells = [(*HEADER[1:], "", *more), *others]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    plain = widths[: len(HEADER)]  # columns of words are past the width, rather than at the cost of names
    room = max(LEAST_NAME, WIDTH - sum(plain) - 2 * len(plain))
    names = [shortened(printable(name), room) for name in (HEADER[0], *names)]
    name_width = max(map(len, names))
    right = (False, True, True, False, True, *(True for _ in more))
    lines = [
        "  ".join(
            [name.ljust(name_width)]
            + [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)]
        ).rstrip()
        for name, row in zip(names, cells, strict=True)
    ]
    free = len(plan.nodes) - sum(row.count for row in rows)
    rest = [f"and {free} that cost nothing"] if free else []
    return "\n".join([headline(plan), "", *lines, *rest, *(_words_lines(plan) if words else ())])


def _words_lines(plan: Plan) -> list[str]:
    """What the words of all nodes come to, with the caveats; nothing of a plan that was written without words."""
    summed = summed_text(node.words for node in plan.nodes)
    notes = [wrap(note, WIDTH, initial_indent="- ", subsequent_indent="  ") for note in NOTES]
    return ["", *wrap(summed, WIDTH), *(line for lines in notes for line in lines)] if summed else []


def _words_cells(words: Words | None) -> tuple[str, str, str]:
    if words is None:
        return ("", "", "")
    return count_text(words.moved), ratio_text(words.moved, words.bound), ratio_text(words.moved, words.grid)


LEAST_GAP = 1e-6  # a bound and a price that are nearer differ by rounding

SETTLED = "no single mesh axis, changed at all nodes at once, makes it cheaper"
# Where there is no bound: what is said of the plan instead.
PROOF: dict[Status, str] = {
    "searched": "the cheapest that was found, nothing is proven of it",
    "settled": SETTLED,
    "folded": f"{SETTLED}, repeated layers cut alike",
    "exact": "said to be the cheapest over the digit tables tried",
    "given": "not searched",
    "stopped": "the cheapest that was found before the search was stopped",
}


def headline(plan: Plan) -> str:
    """Three lines or four: the machine and how the plan was found; price, bytes and what is proven of them, on a line
    of its own where there is no bound; what a device holds, if known.
    """
    mesh = " x ".join(f"{axis.name}:{axis.size}" for axis in plan.machine.axes) or "one device"
    named = printable(f"plan for {plan.machine.name} ({mesh}), by {plan.method}")
    figures = ("\n" if plan.gap is None else "; ").join((price_text(plan), proof_text(plan)))
    said = "; ".join(filter(None, (_held(plan), _by_axis(plan))))
    return "\n".join(filter(None, (named, figures, said)))


def price_text(plan: Plan) -> str:
    """Seconds and bytes."""
    return f"{seconds_text(plan.seconds)} a step, {bytes_text(plan.bytes)} sent by each device"


def proof_text(plan: Plan) -> str:
    """What is proven of the price."""
    return f"bound: none; {PROOF[plan.status]}" if plan.gap is None else _certified(plan, plan.gap)


def _held(plan: Plan) -> str:
    """The most that a device holds, of what its machine has."""
    if not plan.peak_bytes:
        return ""
    return f"each device holds at most {bytes_text(plan.peak_bytes)} of {bytes_text(plan.machine.memory_bytes)}"


def _by_axis(plan: Plan) -> str:
    """Over which mesh axes how much is sent, most first; where there is one axis only, that is said already."""
    if len(plan.machine.axes) < 2 or not plan.bytes_by_axis:
        return ""
    rows = sorted(plan.bytes_by_axis.items(), key=lambda row: (-row[1], row[0]))
    said = [f"{bytes_text(sent)} over {shortened(printable(axes), LEAST_NAME)}" for axes, sent in rows[:MAX_AXES]]
    rest = sum(sent for _, sent in rows[MAX_AXES:])
    return ", ".join(["sends " + said[0], *said[1:], *([f"{bytes_text(rest)} over others"] if rest else [])])


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
        words=total(node.words for node in nodes),
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
