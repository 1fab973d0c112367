"""The certificate: never above what enumeration finds, whatever the solver says, and near it."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

import einsplit
from einsplit.solver.search import relaxation
from einsplit.solver.search.brute import brute_tables
from einsplit.solver.search.problem import Problem, Solution
from einsplit.solver.search.relaxation import lower_bound
from einsplit.solver.search.starts import digit_tables
from einsplit.solver.search.sweep import sweep
from einsplit.solver.sharding import make_tables
from tests.solver.test_exactness import tiny
from tests.solver.test_fold import training
from tests.support.cuttings import random_machine


def start(random: Random, mesh: tuple[int, ...], most: int) -> Solution:
    """A tiny graph where every device does everything, under digit tables of its own."""
    graph, machine = tiny(random, mesh, most)
    table = random.choice(digit_tables(graph, machine))
    problem = Problem(graph, machine, make_tables(graph, mesh, table))
    whole = tuple((None,) * len(mesh) for _ in graph.nodes)
    return Solution(problem, whole, problem.price(whole).seconds)


def test_the_bound_is_the_optimum_of_most_tiny_graphs_and_never_above_it() -> None:
    random, met = Random(3), 0
    for _ in range(100):
        found = start(random, random.choice([(2,), (2, 2), (2, 3)]), 20_000)
        best, bound = brute_tables(found.problem).seconds, lower_bound(found)
        assert bound is not None and bound <= best * (1 + 1e-9)
        met += bound >= best * (1 - 1e-6)
    assert met >= 80


class Liar:
    """A solver that gives any duals at all."""

    def __init__(self, seed: int) -> None:
        self._random, self._num_rows = np.random.default_rng(seed), 0

    def setOptionValue(self, name: str, value: object) -> None: ...

    def passModel(self, model: object) -> None:
        self._num_rows = model.num_row_

    def run(self) -> None: ...

    def getSolution(self) -> Liar:
        return self

    @property
    def row_dual(self) -> list[float]:
        found = self._random.normal(scale=10.0 ** self._random.integers(-3, 4), size=self._num_rows)
        found[self._random.random(self._num_rows) < 0.1] = self._random.choice([np.nan, np.inf, 0.0])
        return list(found)


def test_whatever_the_solver_says_the_bound_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(4)
    for seed in range(40):
        found = start(random, (2, 2), 20_000)
        monkeypatch.setattr(relaxation, "make_solver", lambda seed=seed: Liar(seed))
        bound = lower_bound(found)
        assert bound is not None and bound <= brute_tables(found.problem).seconds * (1 + 1e-9)


@pytest.mark.parametrize("mesh", [(2,), (2, 4)], ids=str)
def test_a_plan_of_folded_layers_is_near_its_bound(mesh: tuple[int, ...]) -> None:
    graph = training(4)
    machine = random_machine(Random(5), mesh)
    found = sweep(graph, machine)
    assert not found.problem.memo.folding.is_trivial
    bound = lower_bound(found)
    assert bound is not None and bound <= found.seconds * (1 + 1e-9)
    assert found.seconds <= bound * 1.05


def test_a_program_that_is_too_large_gives_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaxation, "MAX_COLUMNS", 10)
    assert lower_bound(start(Random(6), (2, 2), 20_000)) is None


def test_plans_over_two_mesh_axes_say_how_far_from_the_cheapest_they_may_be() -> None:
    random = Random(7)
    for mesh, num_axes in ((2, 1), (4, 2), (8, 3)):
        graph, _ = tiny(random, (2,), 5_000)
        plan = einsplit.plan(graph, mesh)
        assert len(plan.machine.axes) == num_axes
        if num_axes > 2:
            assert plan.bound is None and plan.gap is None
            continue
        assert plan.bound is not None and plan.gap is not None
        assert plan.bound <= plan.seconds and plan.gap == pytest.approx(plan.seconds / plan.bound - 1)
        assert "optimal over the digit tables tried" in str(plan) or "above the cheapest" in str(plan)
