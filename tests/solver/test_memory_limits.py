"""A memory limit is kept, to the byte, or the error is right: against enumeration, and on folded layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from random import Random

import pytest

from einsplit.errors import PlanError
from einsplit.graph import Graph, Input, Label
from einsplit.solver.machine import Machine
from einsplit.solver.plan import realise
from einsplit.solver.planner import make_plan
from einsplit.solver.prepare import prepare
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem, Solution
from einsplit.solver.program.lower import lower
from einsplit.solver.program.memory import peak_bytes
from einsplit.solver.search.starts import digit_tables
from einsplit.solver.sharding import make_tables
from tests.solver.known.cases import Net, machine
from tests.solver.test_fold import training
from tests.support.cuttings import random_machine
from tests.support.graphs import random_case
from tests.support.spelled import spelled

ROUNDING = 1e-9
MESHES = ((2,), (2, 2), (3, 2))
SIZES = (2, 3, 4, 6, 8, 12, 16, 24)
FEWEST, MOST = 50, 1_500  # plans of a case: something to decide, and few enough to try them all


@dataclass(frozen=True, slots=True)
class Case:
    """A graph on a machine, and of all its plans: the bytes that a device holds at most, and the seconds."""

    graph: Graph
    machine: Machine
    plans: list[tuple[int, float]]

    def cheapest(self, limit: int, digits: Mapping[Label, Sequence[int]] | None = None) -> float | None:
        """The seconds of the cheapest plan that fits, if any does; with these digits, too, where they are given."""
        every = list(self.plans)
        if digits is not None:
            graph = prepare(self.graph)
            own = Problem(graph, self.machine, make_tables(graph, self.machine.sizes, digits))
            every += plans(own, choices(own))
        return min((seconds for held, seconds in every if held <= limit), default=None)


def cases(random: Random) -> Iterator[Case]:
    """Small graphs without end."""
    while True:
        graph = random_case(random, exact=True, num_nodes=3, sizes=SIZES, max_elements=100_000).graph
        on = random_machine(random, random.choice(MESHES))
        found = prepare(graph)
        memo = Memo(found, on)
        problems = [Problem(found, on, memo.tables(axes_of), memo) for axes_of in digit_tables(found, on)]
        rows = [choices(problem) for problem in problems]
        if FEWEST < sum(prod(map(len, every)) for every in rows) < MOST:
            every = [each for problem, own in zip(problems, rows, strict=True) for each in plans(problem, own)]
            yield Case(graph, on, every)


def choices(problem: Problem) -> list[list[tuple]]:
    """By node: what its axes may do, together."""
    axes = range(len(problem.machine.axes))
    nodes = range(len(problem.graph.nodes))
    return [list(product(*(problem.choices(node, axis) for axis in axes))) for node in nodes]


def plans(problem: Problem, rows: list[list[tuple]]) -> Iterator[tuple[int, float]]:
    for row in product(*rows):
        yield peak_bytes(lower(Solution(problem, row, 0.0))), problem.price(row).seconds


def check(case: Case, limit: int) -> str:
    """What became of a limit: it was kept, or the error is right."""
    best = case.cheapest(limit)
    try:
        plan = make_plan(case.graph, case.machine, memory_bytes=limit)
    except PlanError as error:
        assert best is None, f"a plan of {best} s fits in {limit} bytes, and this was said: {error}"
        return "refused"
    assert plan.peak_bytes == peak_bytes(lower(realise(plan, case.graph)))
    assert plan.peak_bytes <= limit
    # Digits that a plan does not use are left out of it: then it is padded less than any with all of them.
    best = case.cheapest(limit, plan.digits)
    assert best is not None and plan.seconds >= best * (1 - ROUNDING)
    assert plan.bound is None or plan.bound <= best * (1 + ROUNDING)
    assert plan.bound is None or plan.bound <= plan.seconds
    return "cheapest" if plan.seconds <= best * (1 + ROUNDING) else "dearer"


def check_many(number: int, seed: int) -> dict[str, int]:
    random, found = Random(seed), {"refused": 0, "cheapest": 0, "dearer": 0}
    of = cases(random)
    for _ in range(number):
        case = next(of)
        least, most = min(case.plans)[0], max(case.plans)[0]
        found[check(case, random.randint(int(least * 0.8), most))] += 1
    return found


def test_a_limit_is_kept_or_the_error_is_right_for_60_random_graphs() -> None:
    found = check_many(60, seed=1)
    assert found["refused"] >= 3 and found["cheapest"] >= 30, found


@pytest.mark.slow
def test_a_limit_is_kept_or_the_error_is_right_for_1000_random_graphs() -> None:
    found = check_many(1000, seed=2)
    assert found["refused"] >= 50, found


def test_a_limit_that_is_just_held_by_the_cheapest_plan_costs_nothing() -> None:
    random = Random(3)
    for case, _ in zip(cases(random), range(5), strict=False):
        free = make_plan(case.graph, case.machine)
        assert make_plan(case.graph, case.machine, memory_bytes=free.peak_bytes) == free


# ------------------------------------------------------------------------------------------------- folded layers


@pytest.mark.parametrize("share", [0.85, pytest.param(0.75, marks=pytest.mark.slow)])
def test_folded_layers_fit_in_less_than_they_would_like(share: float) -> None:
    graph, on = training(4), random_machine(Random(5), (4,))
    free = make_plan(graph, on)
    limit = int(share * free.peak_bytes)
    plan = make_plan(graph, on, memory_bytes=limit)
    assert plan.peak_bytes == peak_bytes(lower(realise(plan, graph))) <= limit
    assert plan.bound is not None and free.seconds * (1 - ROUNDING) <= plan.bound <= plan.seconds
    assert plan.seconds < 1.5 * free.seconds


@pytest.mark.slow
def test_where_folded_layers_are_given_what_rests_alone_the_error_is_right() -> None:
    graph, on = training(4), random_machine(Random(5), (4,))
    resting = (at for at, node in enumerate(graph.nodes) if isinstance(node, Input) and node.role != "data")
    limit = sum(4 * prod(graph.shape(at)) for at in resting) // 4 + 1
    with pytest.raises(PlanError, match=r"^no plan fits in [0-9.]+ kB on each device\.") as caught:
        make_plan(graph, on, memory_bytes=limit)
    held = re.search(r"and no plan holds less than ([0-9.]+) kB then", str(caught.value))
    assert held is not None and 1e3 * float(held[1]) * 0.99 <= make_plan(graph, on).peak_bytes


# ------------------------------------------------------------------------------------------------------ messages


def product_of_matrices() -> Graph:
    """64 x 1,024 by 1,024 x 64: 262,144 bytes each, and 16,384 bytes of result."""
    net = Net()
    left, right = net.weight("left", 64, 1024), net.weight("right", 1024, 64)
    return net.inference(spelled("m k, k n -> m n", left, right, name="product"))


def told(limit: int) -> str:
    with pytest.raises(PlanError) as caught:
        make_plan(product_of_matrices(), machine(2, 4), memory_bytes=limit)
    return str(caught.value)


# Each device rests an eighth of both matrices, and holds its addends (16,384 bytes) and what is sent of them besides
# (16,384), or blocks of them: a plan with k cut by 8 holds 65,536 + 32,768 = 98,304 bytes.
LEAST = 98_304


def test_the_smallest_memory_of_a_product_would_do_and_is_said_to() -> None:
    plan = make_plan(product_of_matrices(), machine(2, 4), memory_bytes=LEAST)
    assert plan.peak_bytes == LEAST


def test_a_limit_that_nothing_keeps_is_told_with_what_would_do_and_what_binds() -> None:
    assert told(66_000) == (
        "no plan fits in 66 kB on each device.\n"
        "  98.3 kB (98,304 bytes) would do.\n"
        "  Most is held while 'product' runs: 65.5 kB of parameter, 2.05 kB of computed in a plan met, "
        "and no plan holds less than 67.6 kB then.\n"
        "  Allow more memory, use more devices, or make the batch smaller."
    )


def test_a_limit_below_what_rests_on_the_devices_is_refused_before_any_search() -> None:
    for limit, text in ((65_535, "65.5 kB"), (1, "1 B")):
        assert told(limit) == (
            f"no plan fits in {text} on each device.\n"
            "  Parameters and state alone are 524 kB: 65.5 kB on each of 8 devices.\n"
            "  Allow more memory, use more devices, or keep parameters in a smaller dtype."
        )


def test_what_is_not_proven_is_not_said() -> None:
    """Between what a moment needs (67.6 kB) and what a step needs (98.3 kB) nothing is known to be impossible."""
    said = told(LEAST - 1).splitlines()
    assert said[:2] == ["no plan was found that fits in 98.3 kB on each device.", "  98.3 kB (98,304 bytes) would do."]


def test_a_method_that_looks_at_no_memory_says_so_where_its_plan_holds_too_much() -> None:
    with pytest.raises(
        PlanError, match=r"^method 'sweep' does not keep to memory: its plan holds .*\n  Use method='se"
    ):
        make_plan(product_of_matrices(), machine(2, 4), "sweep", memory_bytes=LEAST)
