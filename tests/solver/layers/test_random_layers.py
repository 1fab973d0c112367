"""Random layers: planned by the short form of their net, they are planned as in the whole graph."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from einsplit.solver.layers.deep import deep
from einsplit.solver.plan import Plan
from einsplit.solver.prepare import computed
from tests.solver.layers.blocks import random_stack
from tests.solver.layers.compare import check_same, some_machine

SEEDS = st.integers(0, 10_000)
LAYERS = st.integers(9, 13)
SHARE = st.none() | st.floats(0.6, 0.97)  # of the bytes of the cheapest plan
UNCHECKED = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def check(seed: int, num_layers: int, mesh: tuple[int, ...], share: float | None) -> None:
    graph = random_stack(seed, num_layers)
    assume(deep(computed(graph)) is not None)
    on = some_machine(Random(seed).randrange(1000), mesh)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("einsplit.solver.problem.fold.MIN_NODES", 0)
        free = check_same(graph, on)
        assert isinstance(free, Plan)
        if share is not None:
            check_same(graph, on, int(share * free.peak_bytes))


@settings(max_examples=10, suppress_health_check=UNCHECKED)
@given(SEEDS, LAYERS, st.sampled_from([(2,), (4,)]), st.none())
def test_random_layers_are_planned_as_in_the_whole_graph(
    seed: int, num_layers: int, mesh: tuple[int, ...], share: float | None
) -> None:
    check(seed, num_layers, mesh, share)


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=UNCHECKED)
@given(SEEDS, LAYERS, st.sampled_from([(2,), (4,), (2, 2), (2, 3)]), SHARE)
def test_random_layers_are_planned_as_in_the_whole_graph_200_times(
    seed: int, num_layers: int, mesh: tuple[int, ...], share: float | None
) -> None:
    check(seed, num_layers, mesh, share)
