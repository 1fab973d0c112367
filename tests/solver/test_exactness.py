"""The optimizer against enumeration: exact over one axis, within 1 % over two, and never below what there is."""

from __future__ import annotations

from math import prod
from random import Random

import msgspec
import pytest

from einsplit.errors import PlanError
from einsplit.graph import Graph
from einsplit.solver.machine import Machine
from einsplit.solver.prepare import prepare
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem
from einsplit.solver.search import sweep as search
from einsplit.solver.search.brute import MAX_PLANS, brute, brute_tables
from einsplit.solver.search.starts import digit_tables
from einsplit.solver.sharding import make_tables
from tests.support.cuttings import random_machine
from tests.support.graphs import random_case
from tests.support.searches import swept, whole

SIZES = (2, 3, 4, 6, 8, 12, 15, 16, 24, 32)  # 15 pads to 16; 32 pads to 33 where axes of 3 ask for it
ROUNDING = 1e-9


def num_plans(problem: Problem) -> int:
    axes = range(len(problem.machine.axes))
    return prod(len(problem.choices(node, axis)) for node in range(len(problem.graph.nodes)) for axis in axes)


def tiny(random: Random, mesh: tuple[int, ...], most: int) -> tuple[Graph, Machine]:
    """A graph that has something to decide, and few enough plans to enumerate them all."""
    while True:
        case = random_case(random, exact=True, num_nodes=3, sizes=SIZES, max_elements=100_000)
        graph, machine = prepare(case.graph), random_machine(random, mesh)
        tables = digit_tables(graph, machine)
        problems = [Problem(graph, machine, make_tables(graph, mesh, table)) for table in tables]
        whole = [(None,) * len(mesh)] * len(graph.nodes)
        if 200 < max(map(num_plans, problems)) <= most and problems[0].price(whole).seconds > 0:
            return graph, machine


def test_contraction_over_one_axis_is_the_optimum_of_300_graphs():
    random = Random(1)
    for _ in range(300):
        graph, machine = tiny(random, random.choice([(2,), (3,), (4,)]), 100_000)
        for table in digit_tables(graph, machine):
            every = whole(graph, machine, table)
            found, best = search._solve(every, (0,)).spread(), brute_tables(every.problem)
            assert found.seconds == pytest.approx(best.seconds, rel=ROUNDING, abs=0.0)
            assert found.problem.price(found.shardings).seconds == pytest.approx(found.seconds, rel=ROUNDING, abs=0.0)


def test_sweeps_over_two_axes_are_within_a_hundredth_of_the_optimum(monkeypatch):
    """With the contraction over all axes that small graphs are given at the end, and by sweeps alone."""
    random = Random(2)
    ratios: dict[str, list[float]] = {"joint at the end": [], "sweeps alone": []}
    for _ in range(300):
        graph, machine = tiny(random, random.choice([(2, 2), (2, 3), (3, 2)]), 200_000)
        best = brute(Memo(graph, machine))
        for name, found in ratios.items():
            with monkeypatch.context() as patch:
                if name == "sweeps alone":
                    patch.setattr(search, "_try_joint", lambda found: found)
                some = swept(graph, machine)
            assert some.seconds >= best.seconds * (1 - ROUNDING)
            assert some.problem.price(some.shardings).seconds == pytest.approx(some.seconds, rel=ROUNDING, abs=0.0)
            found.append(some.seconds / best.seconds)
    for name, found in ratios.items():
        assert sum(ratio <= 1.01 for ratio in found) >= 285, (name, sorted(found)[-20:])


def test_a_machine_of_one_device_needs_no_search():
    graph = prepare(random_case(Random(3), exact=True).graph)
    machine = random_machine(Random(0), (2,))
    alone = msgspec.structs.replace(machine, axes=())
    found = swept(graph, alone)
    assert found.shardings == ((),) * len(graph.nodes)
    assert found.seconds == brute(Memo(graph, alone)).seconds


def test_the_price_of_the_best_is_below_that_of_no_cutting_for_most_of_these_graphs():
    """Otherwise the two tests above would prove nothing."""
    random = Random(2)
    gains = 0
    for _ in range(100):
        graph, machine = tiny(random, (2, 2), 200_000)
        every = whole(graph, machine, digit_tables(graph, machine)[0])
        gains += swept(graph, machine).seconds < 0.99 * every.seconds
    assert gains > 50


def test_enumeration_refuses_what_it_cannot_finish():
    random = Random(3)
    graph = prepare(random_case(random, exact=True, num_nodes=12, sizes=SIZES, max_elements=100_000).graph)
    with pytest.raises(PlanError, match=rf"brute force over [\d,]+ plans: the limit is {MAX_PLANS:,}"):
        brute(Memo(graph, random_machine(random, (2, 2, 2))))
