"""Plans of deep graphs, by the short form or by rivals, are what was made: the cache knows them again."""

from __future__ import annotations

from pathlib import Path

import pytest

from einsplit.graph import Graph
from einsplit.solver.layers.deep import deep
from einsplit.solver.machine import load_machine
from einsplit.solver.plan import realise
from einsplit.solver.plan.cache import Question, cached_plan
from einsplit.solver.planner import make_plan
from einsplit.solver.prepare import computed, prepare
from einsplit.solver.problem.memo import Memo
from einsplit.solver.published.eindecomp import VARIANTS, eindecomp
from tests.solver.layers.nets import residual, stack, stacked

NUM_LAYERS = 24


def graph() -> Graph:
    found = stacked(stack(residual, NUM_LAYERS), "AdamW")
    assert deep(computed(found)) is not None
    return found


@pytest.mark.parametrize("name", ["cpu-4", "h100x8", "b200x72"])
def test_a_deep_plan_is_answered_from_the_cache(name: str, tmp_path: Path) -> None:
    own, machine = graph(), load_machine(name)
    made = []

    def plan() -> object:
        made.append(make_plan(own, machine))
        return made[-1]

    question = Question(own, machine, "search")
    first, second = (cached_plan(question, plan, tmp_path)[0] for _ in range(2))
    assert len(made) == 1 and first == second


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_method_that_chooses_node_by_node_gives_the_plan_that_it_made(variant: str) -> None:
    own, machine = graph(), load_machine("h100x8")
    made = eindecomp(Memo(prepare(own), machine), variant)
    plan = make_plan(own, machine, method=f"eindecomp-{variant}", memory_bytes=None)
    assert tuple(row.cut for row in plan.nodes) == made.shardings
    assert plan.seconds == pytest.approx(made.seconds, rel=1e-9)
    assert realise(plan, own).seconds == pytest.approx(made.seconds, rel=1e-9)
