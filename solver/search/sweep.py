"""Sweeps: one group of mesh axes at a time is solved exactly, the others as they stand, until nothing improves.

    for each start (digit tables, order of groups):
        repeat: for each group: shardings <- argmin over the group's choices at all nodes   ((min,+) contraction)
        until no group improves the plan

A group of one axis has 3 to 8 choices a node. A tier is first swept as one coarse axis (all its axes choose alike),
then axis by axis. Small graphs are also solved over all axes at once, which is exact for the digit tables at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import cycle
from math import prod

from einsplit.graph import Graph, Label
from einsplit.solver.machine import Machine
from einsplit.solver.search.around import minimise_around
from einsplit.solver.search.network import network
from einsplit.solver.search.problem import Memo, Problem, Solution
from einsplit.solver.search.starts import AxesOf, digit_tables, starts
from einsplit.solver.search.tropical import TooWide, minimise
from einsplit.solver.sharding import Sharding, make_tables

JOINT_ENTRIES = 2_000_000  # largest table of a contraction over several axes at once
# Every start ends with a contraction over all axes where that is small:
JOINT_CHOICES = 40  # of one node over all axes
JOINT_NODES = 60

# Relative: prices of plans that are worth the same differ by rounding.
LEAST_GAIN = 1e-9  # of a sweep that improved the plan
LEAST_LEAD = 1e-12  # of a start over an earlier one, which is kept where they are equal

Progress = Callable[[float, int], None]  # best seconds so far, sweeps done


def sweep(graph: Graph, machine: Machine, progress: Progress | None = None) -> Solution:
    """The cheapest plan that sweeps from several starts find. No bound is claimed."""
    memo = Memo(graph, machine)
    best: Solution | None = None
    num_sweeps = 0
    for axes_of, order in starts(graph, machine, memo.classes):
        found = _start(graph, machine, memo, axes_of)
        found, done = _descend(graph, machine, memo, axes_of, order, found)
        num_sweeps += done
        if best is None or found.seconds < best.seconds * (1 - LEAST_LEAD):
            best = found
        if progress is not None:
            progress(best.seconds, num_sweeps)
    assert best is not None
    return best


def joint(graph: Graph, machine: Machine, rivals: Sequence[Solution] = ()) -> Solution:
    """The cheapest plan over all axes at once under every start's digit tables, and under those of the rivals.

    Raises TooWide where the tables of prices do not fit.
    """
    memo = Memo(graph, machine)
    every = tuple(range(len(machine.axes)))
    starts = [_start(graph, machine, memo, axes_of) for axes_of in digit_tables(graph, machine, memo.classes)]
    return min((_solve(start, every) for start in (*starts, *rivals)), key=lambda f: f.seconds)


def settled(found: Solution) -> tuple[Solution, bool]:
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


def _start(graph: Graph, machine: Machine, memo: Memo, axes_of: Mapping[Label, Sequence[int]]) -> Solution:
    problem = Problem(graph, machine, make_tables(graph, machine.sizes, axes_of, memo.classes), memo)
    whole: tuple[Sharding, ...] = tuple((None,) * len(machine.axes) for _ in graph.nodes)
    return Solution(problem, whole, problem.price(whole).seconds)


def _descend(
    graph: Graph, machine: Machine, memo: Memo, axes_of: AxesOf, order: Sequence[tuple[int, ...]], found: Solution
) -> tuple[Solution, int]:
    """Sweep the groups of `order` round and round until none improves the plan."""
    idle = num_sweeps = 0
    held: dict[tuple[int, ...], frozenset[int]] = {}  # by group: the nodes that its last sweep had to leave as they are
    for group in cycle(order):
        better, held[group] = _swept(found, group, held.get(group, frozenset()))
        num_sweeps += 1
        idle = 0 if better.seconds < found.seconds * (1 - LEAST_GAIN) else idle + 1
        if better.seconds < found.seconds:
            found = better
        # What was held in one sweep may move in the next: two of each group, where any node was.
        if idle >= len(order) * (2 if any(held.values()) else 1):
            break
    found = _drop_idle_digits(graph, machine, memo, axes_of, found)
    if len(machine.axes) > 1:
        found = _try_joint(found, len(machine.axes))
    return found, num_sweeps


def _try_joint(found: Solution, num_axes: int) -> Solution:
    """The exact plan over all axes, where its tables are small enough to be worth a moment."""
    num_variables = len(found.problem.memo.folding.members)
    widest = max(_num_joint(found.problem, variable, num_axes) for variable in range(num_variables))
    if widest > JOINT_CHOICES or num_variables > JOINT_NODES:
        return found
    try:
        better = _solve(found, tuple(range(num_axes)))
    except TooWide:
        return found
    return better if better.seconds < found.seconds else found


def _num_joint(problem: Problem, variable: int, num_axes: int) -> int:
    """Choices of a class of nodes over all axes at once."""
    return prod(len(problem.variable_choices(variable, axis)) for axis in range(num_axes))


def _drop_idle_digits(graph: Graph, machine: Machine, memo: Memo, axes_of: AxesOf, found: Solution) -> Solution:
    """Without the digits that no node uses: less padding, and blocks in original order. Kept where it is no dearer."""
    classes = memo.classes
    used = {
        (classes[choice], axis)
        for sharding in found.shardings
        for axis, choice in enumerate(sharding)
        if isinstance(choice, str)
    }
    kept = {label: tuple(axis for axis in axes if (label, axis) in used) for label, axes in axes_of.items()}
    problem = Problem(graph, machine, make_tables(graph, machine.sizes, kept, memo.classes), memo)
    seconds = problem.price(found.shardings).seconds
    return Solution(problem, found.shardings, seconds) if seconds <= found.seconds else found


def _solve(found: Solution, group: tuple[int, ...]) -> Solution:
    """The best choices of the axes in `group` at all nodes, the other axes as they stand. Raises TooWide."""
    of = network(found, group, alike=False)
    return of.solution(minimise(of.num_options, of.tables, JOINT_ENTRIES).choices)


def _swept(found: Solution, group: tuple[int, ...], avoid: Collection[int]) -> tuple[Solution, frozenset[int]]:
    """Better choices of a group whose axes choose alike, and the classes that had to stay as they are, if any.

    Where none had to, they are the best. `avoid` names classes that should rather move.
    """
    of = network(found, group, alike=len(group) > 1)
    optimum, held = minimise_around(of.num_options, of.tables, of.standing, avoid)
    return of.solution(optimum.choices), held
