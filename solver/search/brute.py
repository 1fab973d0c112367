"""The oracle of the optimizers: every plan of a tiny graph, enumerated.

Shares the Problem's prices with them, and nothing of their search: prices stand in one array over all choices of all
nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from math import prod

import numpy as np

from einsplit.errors import PlanError
from einsplit.graph import Graph
from einsplit.solver.machine import Machine
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem, Solution
from einsplit.solver.search.starts import AxesOf, digit_tables
from einsplit.solver.sharding import Digits, Sharding, make_tables

MAX_PLANS = 2_000_000


def brute(memo: Memo) -> Solution:
    """The cheapest of all plans, over the digit tables that a search starts from, idle digits left out.

    Raises PlanError past 2e6 plans.
    """
    graph, machine = memo.graph, memo.machine
    every = {tuple(row.items()): row for t in digit_tables(graph, machine) for row in _without_idle(graph, machine, t)}
    found = [
        brute_tables(Problem(graph, machine, make_tables(graph, machine.sizes, row), memo)) for row in every.values()
    ]
    return min(found, key=lambda f: f.seconds)


def _without_idle(graph: Graph, machine: Machine, axes_of: AxesOf) -> Iterator[AxesOf]:
    """The table, and those of fewer digits that pad less; of tables that pad alike the largest has all their plans."""
    rows = []
    for label, axes in axes_of.items():
        kept: list[tuple[tuple[int, ...], int]] = []
        for count in range(len(axes), -1, -1):
            for some in combinations(axes, count):
                padded = Digits(graph.sizes[label], some, tuple(machine.sizes[axis] for axis in some)).padded
                if not any(set(some) < set(more) and padded == pads for more, pads in kept):
                    kept.append((some, padded))
        rows.append([some for some, _ in kept])
    for row in product(*rows):
        yield dict(zip(axes_of, row, strict=True))


def brute_tables(problem: Problem) -> Solution:
    """The cheapest of all plans under the Problem's digit tables."""
    num_nodes = len(problem.graph.nodes)
    axes = range(len(problem.machine.axes))
    options: list[list[Sharding]] = [
        list(product(*(problem.choices(node, axis) for axis in axes))) for node in range(num_nodes)
    ]
    shape = tuple(len(row) for row in options)
    if prod(shape) > MAX_PLANS:
        raise PlanError(f"brute force over {prod(shape):,} plans: the limit is {MAX_PLANS:,}; use method='search'")
    total = np.zeros(shape)
    for node, row in enumerate(options):
        prices = np.array([problem.node_price(node, sharding).seconds for sharding in row])
        total += prices.reshape([-1 if k == node else 1 for k in range(num_nodes)])
    for edge in problem.edges:
        writers, readers = options[edge.writer], options[edge.reader]
        if edge.writer == edge.reader:
            continue
        prices = np.array([[problem.edge_price(edge, w, r).seconds for r in readers] for w in writers])
        if edge.writer > edge.reader:
            prices = prices.T
        low, high = sorted((edge.writer, edge.reader))
        total += prices.reshape([shape[k] if k in (low, high) else 1 for k in range(num_nodes)])
    for pair in problem.pairs:
        rows, columns = options[pair.first], options[pair.further]
        saved = np.array([[problem.pair_seconds(pair, a, b) for b in columns] for a in rows])
        total += saved.reshape([shape[k] if k in (pair.first, pair.further) else 1 for k in range(num_nodes)])
    best = np.unravel_index(int(np.argmin(total)), shape)
    shardings = tuple(row[int(k)] for row, k in zip(options, best, strict=True))
    return Solution(problem, shardings, float(total[best]))
