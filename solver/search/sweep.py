"""Sweeps: one group of mesh axes at a time is solved exactly, the others as they stand, until nothing improves.

    for each start (digit tables, order of groups):
        repeat: for each group: shardings <- argmin over the group's choices at all nodes   ((min,+) contraction)
        until no group improves the plan

A group of one axis has 3 to 8 choices a node. A tier is first swept as one coarse axis (all its axes choose alike),
then axis by axis. Small graphs are also solved over all axes at once, which is exact for the digit tables at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, product
from math import prod

import numpy as np

from einsplit.graph import Graph, Label
from einsplit.solver.machine import Machine
from einsplit.solver.search.problem import Memo, Problem
from einsplit.solver.search.tropical import Table, TooWide, minimise
from einsplit.solver.sharding import Choice, Sharding, extent_classes, make_tables

MAX_PADDING = 1 / 8  # of a class
JOINT_ENTRIES = 2_000_000  # largest table of a contraction over several axes at once

Progress = Callable[[float, int], None]  # best seconds so far, sweeps done
AxesOf = dict[Label, tuple[int, ...]]  # digit tables, by class


@dataclass(frozen=True, slots=True)
class Found:
    """A plan in the making: what every node chooses, under which digit tables, and its price."""

    problem: Problem
    shardings: tuple[Sharding, ...]
    seconds: float


def sweep(graph: Graph, machine: Machine, progress: Progress | None = None) -> Found:
    """The cheapest plan that sweeps from several starts find. No bound is claimed."""
    memo = Memo(graph)
    best: Found | None = None
    num_sweeps = 0
    for axes_of, order in starts(graph, machine):
        found = _start(graph, machine, memo, axes_of)
        found, done = _descend(graph, machine, memo, axes_of, order, found)
        num_sweeps += done
        if best is None or found.seconds < best.seconds * (1 - 1e-12):
            best = found
        if progress is not None:
            progress(best.seconds, num_sweeps)
    assert best is not None
    return best


def joint(graph: Graph, machine: Machine) -> Found:
    """The cheapest plan over all axes at once, for every start's digit tables. Raises TooWide where they do not fit."""
    memo = Memo(graph)
    every = tuple(range(len(machine.axes)))
    found = []
    for axes_of in digit_tables(graph, machine):
        start = _start(graph, machine, memo, axes_of)
        found.append(_solve(start, every, alike=False))
    return min(found, key=lambda f: f.seconds)


def digit_tables(graph: Graph, machine: Machine) -> list[AxesOf]:
    """For every class, the axes that may cut it: slow tiers served first, then fast ones first; padding, then without.

    A class is padded for all its nodes, also for those that cut it by fewer axes: a table may ask for too much.
    """
    classes = extent_classes(graph)
    mesh = machine.sizes
    tables: list[AxesOf] = []
    orders = [range(len(mesh)), range(len(mesh) - 1, -1, -1)]
    links = [(axis.size, axis.bytes_per_second, axis.latency_seconds) for axis in machine.axes]
    if links == links[::-1]:
        del orders[1]  # the mirror image of the first: it would find the same plans again
    for order, max_padding in product(orders, (MAX_PADDING, 0.0)):
        axes_of: AxesOf = {}
        for label in sorted(set(classes.values())):
            chosen: list[int] = []
            for axis in order:
                if fits(graph.sizes[label], [mesh[a] for a in (*chosen, axis)], max_padding):
                    chosen.append(axis)
            axes_of[label] = tuple(sorted(chosen))
        if axes_of not in tables:
            tables.append(axes_of)
    return tables


def fits(size: int, radices: Sequence[int], max_padding: float = MAX_PADDING) -> bool:
    """Whether a class may be cut so: every device has an element, and no more than that share of it is padding."""
    pieces = prod(radices)
    padded = -(-size // pieces) * pieces
    return pieces <= size and padded - size <= max_padding * size


def starts(graph: Graph, machine: Machine) -> Iterator[tuple[AxesOf, list[tuple[int, ...]]]]:
    """Digit tables, and the order in which groups of axes are swept."""
    singles: list[tuple[int, ...]] = [(axis,) for axis in range(len(machine.axes))]
    coarse = [tier for tier in machine.tiers if len(tier) > 1]
    orders: list[list[tuple[int, ...]]] = [singles]
    if len(singles) > 1:
        orders += [singles[::-1], [*coarse, *singles]]
    for axes_of in digit_tables(graph, machine):
        for order in orders:
            yield axes_of, order


def _start(graph: Graph, machine: Machine, memo: Memo, axes_of: Mapping[Label, Sequence[int]]) -> Found:
    problem = Problem(graph, machine, make_tables(graph, machine.sizes, axes_of), memo)
    whole: tuple[Sharding, ...] = tuple((None,) * len(machine.axes) for _ in graph.nodes)
    return Found(problem, whole, problem.price(whole).seconds)


def _descend(
    graph: Graph, machine: Machine, memo: Memo, axes_of: AxesOf, order: Sequence[tuple[int, ...]], found: Found
) -> tuple[Found, int]:
    """Sweep the groups of `order` round and round until none improves the plan."""
    idle = num_sweeps = 0
    for group in cycle(order):
        better = _solve(found, group, alike=len(group) > 1)
        num_sweeps += 1
        idle = 0 if better.seconds < found.seconds * (1 - 1e-9) else idle + 1
        if better.seconds < found.seconds:
            found = better
        if idle >= len(order):
            break
    found = _drop_idle_digits(graph, machine, memo, axes_of, found)
    if len(machine.axes) > 1:
        found = _try_joint(found, len(machine.axes))
    return found, num_sweeps


def _try_joint(found: Found, num_axes: int) -> Found:
    """The exact plan over all axes, where its tables are small enough to be worth a moment."""
    widest = max(_num_joint(found.problem, node, num_axes) for node in range(len(found.shardings)))
    if widest > 40 or len(found.shardings) > 60:
        return found
    try:
        better = _solve(found, tuple(range(num_axes)), alike=False)
    except TooWide:
        return found
    return better if better.seconds < found.seconds else found


def _num_joint(problem: Problem, node: int, num_axes: int) -> int:
    return prod(len(problem.choices(node, axis)) for axis in range(num_axes))


def _drop_idle_digits(graph: Graph, machine: Machine, memo: Memo, axes_of: AxesOf, found: Found) -> Found:
    """Without the digits that no node uses: less padding, and blocks in original order. Kept where it is no dearer."""
    classes = extent_classes(graph)
    used = {
        (classes[choice], axis)
        for sharding in found.shardings
        for axis, choice in enumerate(sharding)
        if isinstance(choice, str)
    }
    kept = {label: tuple(axis for axis in axes if (label, axis) in used) for label, axes in axes_of.items()}
    problem = Problem(graph, machine, make_tables(graph, machine.sizes, kept), memo)
    seconds = problem.price(found.shardings).seconds
    return Found(problem, found.shardings, seconds) if seconds <= found.seconds else found


def _solve(found: Found, group: tuple[int, ...], alike: bool) -> Found:
    """The best choices of the axes in `group` at all nodes, the other axes as they stand."""
    problem = found.problem
    options = [_options(problem, node, group, found.shardings[node], alike) for node in range(len(found.shardings))]
    tables = [
        Table((node,), np.array([problem.node_price(node, sharding).seconds for sharding in options[node]]))
        for node in range(len(options))
    ]
    left = [tuple(problem.left(node, sharding) for sharding in row) for node, row in enumerate(options)]
    for edge in problem.edges:
        wanted = tuple(problem.wanted(edge, sharding) for sharding in options[edge.reader])
        tables.append(Table((edge.writer, edge.reader), problem.edge_table(edge, left[edge.writer], wanted)))
    limit = JOINT_ENTRIES if len(group) > 1 and not alike else 2**25
    optimum = minimise([len(row) for row in options], tables, limit)
    shardings = tuple(row[choice] for row, choice in zip(options, optimum.choices, strict=True))
    return Found(problem, shardings, problem.price(shardings).seconds)


def _options(problem: Problem, node: int, group: tuple[int, ...], now: Sharding, alike: bool) -> list[Sharding]:
    """The node's sharding with each choice of the group; the standing one is among them."""
    per_axis = [problem.choices(node, axis) for axis in group]
    if alike:
        rows: list[tuple[Choice, ...]] = [(c,) * len(group) for c in per_axis[0] if all(c in row for row in per_axis)]
    else:
        rows = list(product(*per_axis))
    found = []
    for row in rows:
        sharding = list(now)
        for axis, choice in zip(group, row, strict=True):
            sharding[axis] = choice
        found.append(tuple(sharding))
    return found if now in found or not alike else [now, *found]
