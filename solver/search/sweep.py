"""Sweeps: one group of mesh axes at a time is solved exactly, the others as they stand, until nothing improves.

    for each start (digit tables, order of groups):
        repeat: for each group: shardings <- argmin over the group's choices at all nodes   ((min,+) contraction)
        until no group improves the plan

A group of one axis has 3 to 8 choices a node. A tier is first swept as one coarse axis (all its axes choose alike),
then axis by axis. Small graphs are also solved over all axes at once, which is exact for the digit tables at hand.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import cycle, product
from math import prod

from einsplit.graph import Label
from einsplit.solver.contraction.around import minimise_around
from einsplit.solver.contraction.tropical import TooWide, minimise
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.network import network
from einsplit.solver.problem.problem import Folded, Limits, Problem, Tolls, folded
from einsplit.solver.search.starts import AxesOf, sweep_orders
from einsplit.solver.search.watch import Watch

JOINT_ENTRIES = 2_000_000  # largest table of a contraction over several axes at once
# Every start ends with a contraction over all axes where that is small:
JOINT_CHOICES = 40  # of one node over all axes
JOINT_NODES = 60

LEAST_GAIN = 1e-9  # share by which a sweep improves a plan: prices of plans that are worth the same differ by rounding


def sweep(
    memo: Memo,
    watch: Watch,
    tables: Sequence[AxesOf],
    limits: Limits | None = None,
    orders: Sequence[Sequence[tuple[int, ...]]] | None = None,
) -> None:
    """Offer the cheapest plans that sweeps from several starts find, each order of axes under each of the tables.

    No bound is claimed.
    """
    for axes_of, order in product(tables, orders or sweep_orders(memo.machine)):
        watch.offer(descend(start(memo, axes_of, limits), order, watch))


def joint(memo: Memo, tables: Sequence[AxesOf], rivals: Sequence[Folded] = (), limits: Limits | None = None) -> Folded:
    """The cheapest plan over all axes at once under each of the digit tables, and under those of the rivals.

    Raises TooWide where the tables of prices do not fit.
    """
    every = tuple(range(len(memo.machine.axes)))
    starts = [start(memo, axes_of, limits) for axes_of in tables]
    return min((_solve(each, every) for each in (*starts, *rivals)), key=lambda f: f.seconds)


def settled(found: Folded) -> tuple[Folded, bool]:
    """Single axes swept under the digit tables as they are until none improves the plan; and whether that is proven.

    It is not where a sweep had to hold nodes as they were.
    """
    held: dict[int, frozenset[int]] = {}
    idle, num_axes = 0, len(found.problem.machine.axes)
    for axis in cycle(range(num_axes)):
        if idle >= num_axes * (2 if any(held.values()) else 1):
            break
        better, held[axis] = _swept(found, (axis,), held.get(axis, frozenset()))
        idle = 0 if better.seconds < found.seconds * (1 - LEAST_GAIN) else idle + 1
        if better.seconds < found.seconds:
            found = better
    return found, not any(held.values())


def start(
    memo: Memo, axes_of: Mapping[Label, Sequence[int]], limits: Limits | None = None, tolls: Tolls | None = None
) -> Folded:
    """Everything whole, where that is allowed, under these digit tables."""
    problem = Problem(memo.graph, memo.machine, memo.tables(axes_of), memo, limits, tolls)
    axes = range(len(memo.machine.axes))
    classes = range(len(memo.folding.members))
    return folded(problem, [tuple(problem.class_choices(number, axis)[0] for axis in axes) for number in classes])


def descend(found: Folded, order: Sequence[tuple[int, ...]], watch: Watch) -> Folded:
    """Sweep the groups of `order` round and round until none improves the plan."""
    idle = 0
    held: dict[tuple[int, ...], frozenset[int]] = {}  # by group: the nodes that its last sweep had to leave as they are
    for group in cycle(order):
        better, held[group] = _swept(found, group, held.get(group, frozenset()))
        idle = 0 if better.seconds < found.seconds * (1 - LEAST_GAIN) else idle + 1
        if better.seconds < found.seconds:
            found = better
        watch.tell(None, found.seconds)
        # What was held in one sweep may move in the next: two of each group, where any node was.
        if idle >= len(order) * (2 if any(held.values()) else 1):
            break
    found = without_idle_digits(found)
    if len(found.problem.machine.axes) > 1:
        found = _try_joint(found)
    return found


def _try_joint(found: Folded) -> Folded:
    """The exact plan over all axes, where its tables are small enough to be worth a moment."""
    axes = range(len(found.problem.machine.axes))
    num_classes = len(found.chosen)
    widest = max(prod(len(found.problem.class_choices(v, axis)) for axis in axes) for v in range(num_classes))
    if widest > JOINT_CHOICES or num_classes > JOINT_NODES:
        return found
    try:
        better = _solve(found, tuple(axes))
    except TooWide:
        return found
    return better if better.seconds < found.seconds else found


def without_idle_digits(found: Folded) -> Folded:
    """Without the digits that no node uses: less padding, and blocks in original order. Kept where it is no dearer."""
    problem, memo = found.problem, found.problem.memo
    used = {
        (memo.classes[choice], axis)
        for sharding in found.chosen
        for axis, choice in enumerate(sharding)
        if isinstance(choice, str)
    }
    every = {memo.classes[label]: problem.tables[label].axes for label in problem.tables}
    kept = {label: tuple(axis for axis in axes if (label, axis) in used) for label, axes in every.items()}
    better = folded(
        Problem(problem.graph, problem.machine, memo.tables(kept), memo, problem.limits, problem.tolls), found.chosen
    )
    return better if better.seconds <= found.seconds else found


def _solve(found: Folded, group: tuple[int, ...]) -> Folded:
    """The best choices of the axes in `group` at all nodes, the other axes as they stand. Raises TooWide."""
    of = network(found, group, alike=False)
    return of.plan(minimise(of.num_options, of.tables, JOINT_ENTRIES).choices)


def _swept(found: Folded, group: tuple[int, ...], avoid: Collection[int]) -> tuple[Folded, frozenset[int]]:
    """Better choices of a group whose axes choose alike, and the classes that had to stay as they are, if any.

    Where none had to, they are the best. `avoid` names classes that should rather move.
    """
    of = network(found, group, alike=len(group) > 1)
    optimum, held = minimise_around(of.num_options, of.tables, of.standing, avoid)
    return of.plan(optimum.choices), held
