"""What a plan of a short form says that devices hold is what the Program of the whole graph holds, whatever is cut."""

from __future__ import annotations

from functools import partial
from random import Random

import numpy as np
import pytest

from einsplit.graph import Graph
from einsplit.solver.layers.deep import Deep
from einsplit.solver.machine import Machine
from einsplit.solver.plan import realise
from einsplit.solver.plan.write import written
from einsplit.solver.planning.case import peak
from einsplit.solver.prepare import computed, prepare
from einsplit.solver.problem.fold import unfolded
from einsplit.solver.problem.live import live_bytes
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Folded, Problem, folded
from einsplit.solver.program.lower import lower
from einsplit.solver.program.memory import held_by_node, held_bytes
from tests.solver.layers.blocks import random_stack
from tests.solver.layers.compare import shortened, some_machine
from tests.solver.layers.nets import (
    alternating,
    averaged,
    chained,
    conditioned,
    delayed,
    fed,
    handed_on,
    overwritten,
    residual,
    stack,
    stacked,
    stateful,
    tied,
    weighed,
)
from tests.solver.layers.test_refused import SHORTENED

MESHES = ((2,), (4,), (2, 2), (2, 3))
NETS = {
    "residual, AdamW": lambda: stacked(stack(residual, 10), "AdamW"),
    "residual, momentum": lambda: stacked(stack(residual, 10), "momentum"),
    "chained, SGD": lambda: stacked(stack(chained, 11), "SGD"),
    "alternating, SGD": lambda: stacked(stack(alternating, 20), "SGD"),
    "tied, inference": lambda: stacked(stack(tied(), 12), "inference"),
    "conditioned, inference": lambda: stacked(stack(conditioned(), 12), "inference"),
    "averaged, inference": partial(stateful, averaged, "inference", 12),
    "handed on, inference": partial(stateful, handed_on, "inference", 12),
    "delayed, inference": partial(stateful, delayed, "inference", 12),
    "overwritten, inference": partial(stateful, overwritten, "inference", 12),
    "fed, SGD": lambda: stacked(stack(fed, 10), "SGD"),
    "weighed, inference": lambda: stacked(stack(weighed(), 10), "inference"),
    "an output at the beginning": SHORTENED["an output at the beginning"],
}
MORE = {name: make for name, make in SHORTENED.items() if name not in NETS}


def random_plan(random: Random, of: Deep, on: Machine) -> Folded:
    """Any digit tables, whatever they pad, and any choice of every class."""
    memo, axes = Memo(of.graph, on, deep=of), range(len(on.axes))
    axes_of = {}
    for label in sorted(set(memo.classes.values())):
        order = random.sample(axes, len(axes))
        axes_of[label] = [axis for axis in order if random.random() < 0.8]
    problem, chosen = Problem(memo.graph, on, memo.tables(axes_of), memo), []
    for number in range(len(memo.folding.members)):
        rows = [problem.class_choices(number, axis) for axis in axes]
        # Whole is one choice of many, and the dullest.
        chosen.append(tuple(random.choice(row[1:] if len(row) > 1 and random.random() < 0.6 else row) for row in rows))
    return folded(problem, chosen)


def check(random: Random, graph: Graph, of: Deep, on: Machine) -> None:
    found = random_plan(random, of, on)
    plan = written(computed(graph).hash, "search", "given", found.spread(), None)
    solution = realise(plan, graph)  # every row's price, runner-up and words are true
    program = lower(solution)
    held = held_bytes(program)
    assert peak(found) == plan.peak_bytes == max(held)
    assert tuple(row.live_bytes for row in plan.nodes) == held_by_node(program, held, len(plan.nodes))
    whole = solution.problem.memo
    for key in ("num_times", "own_first", "own_last", "moved_first", "moved_last"):
        assert np.array_equal(getattr(found.problem.memo.liveness, key), getattr(whole.liveness, key)), key
    alone = Memo(prepare(graph), on, unfolded(prepare(graph)))
    problem = Problem(alone.graph, on, solution.problem.tables, alone)
    assert np.array_equal(live_bytes(found.problem, found.chosen), live_bytes(problem, solution.shardings))


@pytest.mark.parametrize("name", [*NETS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_of_random_plans_of_equal_layers_the_bytes_held_are_those_of_the_whole_program(name: str) -> None:
    graph, random = (NETS | MORE)[name](), Random(name)
    of = shortened(graph)
    for mesh in random.sample(MESHES, 1 if len(graph.nodes) > 200 else 3):
        check(random, graph, of, some_machine(random.randrange(1000), mesh))


FEW, MANY = range(7), range(200)


def check_random(seed: int) -> bool:
    """Whether there was something to check."""
    random = Random(seed)
    graph = random_stack(seed, random.randint(8, 14))
    try:
        of = shortened(graph)
    except AssertionError:
        return False
    for _ in range(2):
        check(random, graph, of, some_machine(seed, MESHES[seed % 4]))
    return True


def test_of_random_plans_of_random_layers_the_bytes_held_are_those_of_the_whole_program() -> None:
    assert sum(map(check_random, FEW)) >= 3


@pytest.mark.slow
def test_of_random_plans_of_200_random_stacks_the_bytes_held_are_those_of_the_whole_program() -> None:
    assert sum(map(check_random, MANY)) > 0.4 * len(MANY)
