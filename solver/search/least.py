"""Where nothing is found that fits: what a device holds at least at a moment, whatever the plan, and what that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from einsplit.graph import Input
from einsplit.solver.messages import Passing, core_of
from einsplit.solver.problem.live import live_bytes, live_tables
from einsplit.solver.problem.network import every_option
from einsplit.solver.problem.problem import Folded, Problem, folded
from einsplit.solver.sharding import Sharding

MAX_TURNS = 200
CLOSED = 1e-6  # bound and bytes may be apart by this share
ROUNDING = 1e-12  # likewise, by sums of floating-point numbers


@dataclass(frozen=True, slots=True)
class Least:
    """The moment at which a plan holds most: which node runs, and what is held by kind of value in that plan.

    `bound` are bytes that every plan holds then, 0 where that is not known; `plans` are some that hold little then.
    """

    node: str
    held: dict[str, int]
    bound: int
    plans: tuple[Folded, ...]


def least(smallest: Folded, problems: Sequence[Problem]) -> Least:
    """What stands in the way of a plan, given the Problems of all digit tables, or none where meshes are too fine."""
    memo = smallest.problem.memo
    live = live_bytes(smallest.problem, smallest.chosen)
    time = int(np.argmax(live))
    nodes = memo.graph.nodes
    held, shardings = Counter[str](), smallest.spread().shardings
    for each in np.flatnonzero(memo.liveness.own_at(time)).tolist():
        at = memo.stands[each]
        node = nodes[at]
        shape, layout = smallest.problem.shape(at), smallest.problem.left(at, shardings[at])
        held[node.role if isinstance(node, Input) else "computed"] += shape.elements(layout) * shape.itemsize
    found = [_under(problem, time) for problem in problems]
    bound = min((bound for bound, _ in found), default=0)
    name = nodes[memo.stands[min(max(time, 0), len(memo.stands) - 1)]].name
    return Least(name, dict(held.most_common()), bound, tuple(plan for _, plan in found))


def _under(problem: Problem, time: int) -> tuple[int, Folded]:
    """Bytes that every plan under these digit tables holds at a time, at least; and a plan that holds few then."""
    options = every_option(problem)
    core = core_of([len(row) for row in options], live_tables(problem, options, time))
    passing, chosen = Passing(core), tuple[int, ...]()
    for _ in range(MAX_TURNS):
        bound, chosen = passing.turn()
        if bound >= core.price(chosen) * (1 - CLOSED):
            break
    expanded = core.expanded(chosen)
    plan = folded(problem, [row[choice] for row, choice in zip(options, expanded, strict=True)])
    return max(0, int(passing.bound() * (1 - ROUNDING))), plan


def num_plans(problem: Problem) -> int:
    """How many there are, node by node."""
    axes = range(len(problem.machine.axes))
    return prod(len(problem.choices(node, axis)) for node in range(len(problem.graph.nodes)) for axis in axes)


def every_plan(problem: Problem) -> Iterator[tuple[Sharding, ...]]:
    """All of them."""
    axes = range(len(problem.machine.axes))
    nodes = range(len(problem.graph.nodes))
    yield from product(*(list(product(*(problem.choices(node, axis) for axis in axes))) for node in nodes))
