"""The certificate: never above what enumeration finds, whatever the messages are, and near it."""

from __future__ import annotations

from itertools import combinations, product
from random import Random

import numpy as np
import pytest

import einsplit
from einsplit.solver.contraction.tropical import PriceTable
from einsplit.solver.messages import Passing, core_of
from einsplit.solver.problem.problem import Folded
from einsplit.solver.search.brute import brute_tables
from einsplit.solver.search.certify import certify
from einsplit.solver.search.starts import digit_tables
from einsplit.solver.search.watch import OutOfTime, Watch
from tests.solver.test_exactness import tiny
from tests.solver.test_fold import training
from tests.support.cuttings import random_machine
from tests.support.searches import certified, swept_folded, whole

ROUNDING = 1e-9


def start(random: Random, mesh: tuple[int, ...], most: int) -> Folded:
    """A tiny graph where every device does everything, under one of its digit tables."""
    graph, machine = tiny(random, mesh, most)
    return whole(graph, machine, random.choice(digit_tables(graph, machine)))


def test_messages_find_the_optimum_of_500_tiny_graphs_and_prove_it() -> None:
    random = Random(3)
    for _ in range(500):
        every = start(random, random.choice([(2,), (2, 2), (2, 3), (4, 2)]), 20_000)
        best = brute_tables(every.problem).seconds
        found, bound = certified(every.problem)
        assert bound <= best * (1 + ROUNDING)
        assert found.seconds <= best * (1 + ROUNDING)
        assert bound >= found.seconds * (1 - 1e-6)


def dense(rng: np.random.Generator, num_variables: int) -> tuple[list[int], list[PriceTable]]:
    """Every two variables share a table: nothing is eliminated, and the relaxation is seldom tight."""
    sizes = [int(size) for size in rng.integers(2, 5, num_variables)]
    tables = [PriceTable((v,), rng.random(size)) for v, size in enumerate(sizes)]
    pairs = combinations(range(num_variables), 2)
    return sizes, tables + [PriceTable((b, a), rng.random((sizes[b], sizes[a])) ** 3) for a, b in pairs]


def cheapest(sizes: list[int], tables: list[PriceTable]) -> float:
    every = product(*map(range, sizes))
    return min(sum(float(t.prices[tuple(row[v] for v in t.variables)]) for t in tables) for row in every)


@pytest.mark.parametrize("noise", [0.0, 0.1, 10.0])
def test_whatever_the_messages_the_bound_is_one(noise: float) -> None:
    rng = np.random.default_rng(4)
    met = 0
    for turns in (0, 1, 2, 5, 50) * 10:
        sizes, tables = dense(rng, 5)
        core = core_of(sizes, tables)
        assert len(core.links) == 10
        passing, said = Passing(core), -np.inf
        for _ in range(turns):
            said, chosen = passing.turn()
            assert core.price(chosen) == pytest.approx(
                sum(float(t.prices[tuple(core.expanded(chosen)[v] for v in t.variables)]) for t in tables)
            )
        best = cheapest(sizes, tables)
        if turns:
            assert passing.bound() == pytest.approx(said)
        for messages in (passing._up, passing._down):
            for message in messages:
                message += rng.normal(scale=noise, size=message.shape)
        assert passing.bound() <= best * (1 + ROUNDING)
        met += passing.bound() > 0.9 * best
    assert (met > 10) == (noise == 0.0)


@pytest.mark.parametrize("mesh", [(2,), (2, 4), (4, 4)], ids=str)
def test_a_plan_of_folded_layers_is_near_its_bound(mesh: tuple[int, ...]) -> None:
    graph, machine = training(4), random_machine(Random(5), mesh)
    swept = swept_folded(graph, machine)
    assert not swept.problem.memo.folding.is_trivial
    watch = Watch()
    watch.offer(swept)
    bound = certify(watch, digit_tables(graph, machine, swept.problem.memo.classes))
    assert bound <= watch.found.seconds <= swept.seconds
    assert watch.found.seconds <= bound * 1.01


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


def test_a_search_out_of_time_keeps_the_best_plan_it_had() -> None:
    graph, machine = training(4), random_machine(Random(5), (2, 4))
    memo = swept_folded(graph, machine).problem.memo
    every = whole(graph, machine, digit_tables(graph, machine, memo.classes)[0])
    watch = Watch(limit_seconds=0.0)
    with pytest.raises(OutOfTime):
        watch.offer(every)
    assert watch.found is every
    plan = einsplit.plan(graph, machine, limit_seconds=0.0)
    assert plan.status == "stopped" and plan.bound is None
    assert "the cheapest that was found before the search was stopped" in str(plan)
    assert plan.seconds <= every.seconds * (1 + ROUNDING)
