"""A plan as text: what every kind of node is cut by, what that moves and costs, and what the next best would cost.

Repeated layers are one row: names that differ in their numbers only, cut alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einsplit.solver.sharding import Choice, choice_text

if TYPE_CHECKING:
    from einsplit.solver.plan import NodePlan, Plan


@dataclass(frozen=True, slots=True)
class Row:
    """Nodes that are the same but for the layer they stand in."""

    name: str
    count: int
    cut: str
    bytes: int
    seconds: float
    runner_up: str


def plan_table(plan: Plan, full: bool = False) -> str:
    """The plan as a table with a headline; `full` gives every node a row, also those that cost nothing."""
    rows = plan_rows(plan, full)
    cells = [("node", "cut by", "moves", "price", "runner-up")]
    cells += [
        (r.name + (f"  x{r.count}" if r.count > 1 else ""), r.cut, bytes_text(r.bytes), seconds_text(r.seconds), r.runner_up)
        for r in rows
    ]
    widths = [max(len(row[k]) for row in cells) for k in range(5)]
    right = (False, False, True, True, False)
    lines = [
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join([headline(plan), "", *lines])


def headline(plan: Plan) -> str:
    """Machine, price, bytes, and what is proven of it."""
    mesh = " x ".join(f"{axis.name}:{axis.size}" for axis in plan.machine.axes) or "one device"
    proof = "bound: none (no group of mesh axes, changed at all nodes at once, improves it)"
    if plan.status == "exact":
        proof = "optimal over its digit tables"
    elif plan.status == "given":
        proof = "not searched"
    total = f"{seconds_text(plan.seconds)} a step, {bytes_text(plan.bytes)} sent by each device"
    return f"plan for {plan.machine.name} ({mesh}), by {plan.method}: {total}; {proof}"


def plan_rows(plan: Plan, full: bool = False) -> list[Row]:
    """One row for each kind of node, in the order of first appearance; nodes that cost nothing only if `full`."""
    groups: dict[tuple[str, str], list[NodePlan]] = {}
    for node in plan.nodes:
        cut = cut_text(plan, node.cut)
        if full or node.seconds > 0 or node.bytes:
            kind = node.name if full else kind_of(node.name)
            groups.setdefault((kind, node.name if full else _plain(cut)), []).append(node)
    return [_row(plan, kind, nodes) for (kind, _), nodes in groups.items()]


def _row(plan: Plan, kind: str, nodes: Sequence[NodePlan]) -> Row:
    first = nodes[0]
    near = ""
    if first.runner_up is not None:
        near = f"{cut_text(plan, first.runner_up)}  +{seconds_text(first.runner_up_seconds)}"
    total_bytes = sum(node.bytes for node in nodes)
    return Row(kind, len(nodes), cut_text(plan, first.cut), total_bytes, sum(n.seconds for n in nodes), near)


def kind_of(name: str) -> str:
    """`model.layers.3.mlp.gate_proj.linear_12` -> `model.layers.*.mlp.gate_proj.linear`."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", re.sub(r"_\d+(?=$|\.)", "", name))


def _plain(cut: str) -> str:
    return re.sub(r"_\d+", "", cut)


def cut_text(plan: Plan, cut: Sequence[Choice]) -> str:
    """`cpu0:b cpu1:sum(x0)`; whole where every device repeats the work."""
    if all(choice is None for choice in cut):
        return "whole"
    names = [axis.name for axis in plan.machine.axes]
    return " ".join(f"{n}:{choice_text(c)}" for n, c in zip(names, cut, strict=True) if c is not None)


def bytes_text(count: int) -> str:
    """With a unit of 1000: `1.5 MB`."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def seconds_text(seconds: float) -> str:
    """With a unit: `1.9 ms`."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns" if seconds else "0 s"
