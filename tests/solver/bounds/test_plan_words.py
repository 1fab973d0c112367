"""Words as a plan file has them: they add up to its bytes, and are found once for nodes that are cut alike."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsplit.builder import Builder
from einsplit.dtypes import ITEMSIZE
from einsplit.errors import PlanError
from einsplit.graph import Graph, node_labels
from einsplit.scalar import operand
from einsplit.solver.bounds import plan_words
from einsplit.solver.plan import Plan, Words, decode_plan, realise
from einsplit.solver.plan.rows import folding_kept
from einsplit.solver.plan.words import are_equal, total, words_of
from einsplit.solver.plan.write import written
from einsplit.solver.prepare import computed, prepare, prepare_computed
from einsplit.solver.problem.fold import Folding, unfolded
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem, Solution
from tests.support.cuttings import MESHES, random_cutting, random_machine
from tests.support.graphs import random_case
from tests.support.spelled import spelled


def random_plan(random: Random, mesh: tuple[int, ...]) -> tuple[Plan, Graph]:
    graph = random_case(random, exact=True, num_nodes=6).graph
    own = computed(graph)
    cutting = random_cutting(random, prepare_computed(own), random_machine(random, mesh))
    seconds = cutting.problem.price(cutting.shardings).seconds
    return written(own.hash, "by hand", "given", Solution(cutting.problem, cutting.shardings, seconds), None), graph


@given(st.randoms(use_true_random=False), st.sampled_from(MESHES))
@settings(max_examples=60)
def test_the_words_of_a_plan_add_up_to_its_bytes(random, mesh):
    plan, graph = random_plan(random, mesh)
    prepared = prepare(graph)
    moved = sum(row.words.moved for row in plan.nodes if row.words)
    sizes = {ITEMSIZE[node.dtype] for node in prepared.nodes}
    assert min(sizes) * moved <= plan.bytes <= max(sizes) * moved
    if len(sizes) == 1:
        assert moved * sizes.pop() == plan.bytes
    for row in plan.nodes:
        if row.words and row.words.grid is not None:
            assert row.words.bound <= row.words.grid * (1 + 1e-8) + 1e-6


@given(st.randoms(use_true_random=False), st.sampled_from(MESHES))
@settings(max_examples=40)
def test_words_that_are_not_true_are_refused_and_true_ones_are_read_back(random, mesh):
    plan, graph = random_plan(random, mesh)
    assert decode_plan(plan.to_json()) == plan
    realise(plan, graph)
    without = msgspec.structs.replace(plan, nodes=tuple(msgspec.structs.replace(row, words=None) for row in plan.nodes))
    realise(without, graph)  # as it was written before there were words
    worded = [at for at, row in enumerate(plan.nodes) if row.words]
    if worded:
        at = random.choice(worded)
        wrong = msgspec.structs.replace(plan.nodes[at].words, moved=plan.nodes[at].words.moved + 1)
        rows = list(plan.nodes)
        rows[at] = msgspec.structs.replace(rows[at], words=wrong)
        with pytest.raises(PlanError, match=rf"^\$\.nodes\[{at}\]\.words "):
            realise(msgspec.structs.replace(plan, nodes=tuple(rows)), graph)


# ---------------------------------------------------------------------------------------------------------- folding


def deep(num_layers: int) -> Graph:
    """Layers of a product and a function, and the gradient's products with them."""
    builder = Builder()
    x = builder.input("x", (12, 8), "float32")
    outputs = {}
    for layer in range(num_layers):
        w = builder.input(f"w{layer}", (8, 8), "float32", role="parameter")
        product = spelled("b i, i j -> b j", x, w)
        x = spelled("b j -> b j", product, join=operand(0) * operand(0))
        outputs[f"g{layer}"] = spelled("b i, b j -> i j", x, product)
    return prepare(builder.build({"x": x} | outputs))


@pytest.mark.parametrize("seed", range(6))
def test_words_found_once_for_layers_that_are_cut_alike_are_those_of_every_layer(seed):
    random = Random(seed)
    graph = deep(100)
    machine = random_machine(random, (2, 2))
    memo = Memo(graph, machine)
    problem = Problem(graph, machine, memo.tables(dict.fromkeys(memo.classes.values(), (0, 1))), memo)
    numbers = range(len(memo.folding.members))
    assert len(numbers) < len(graph.nodes) / 20
    chosen = [tuple(random.choice(problem.class_choices(number, axis)) for axis in range(2)) for number in numbers]
    alike = memo.folding.spread(chosen)
    assert folding_kept(problem, alike) == memo.folding
    found = plan_words(problem, alike, memo.folding)
    assert found == plan_words(problem, alike)
    assert any(row.moved_words for row in found)
    # One layer cut otherwise: every node stands on its own.
    at = memo.folding.members[memo.folding.variable[len(graph.nodes) // 2]][1]
    others = [choice for choice in problem.choices(at, 0) if choice != alike[at][0]]
    apart = (*alike[:at], (others[0], alike[at][1]), *alike[at + 1 :])
    assert folding_kept(problem, apart).is_trivial
    assert words_of(problem, apart, folding_kept(problem, apart)) == words_of(problem, apart, unfolded(graph))


def test_of_nodes_alike_one_that_reads_a_value_twice_has_a_bound_of_its_own():
    builder = Builder()
    x, y = (builder.input(name, (64, 64), "float32") for name in "xy")
    outputs = {"xx": spelled("i k, j k -> i j", x, x), "xy": spelled("i k, j k -> i j", x, y)}
    graph = prepare(builder.build(outputs))
    machine = random_machine(Random(0), (4,))
    memo = Memo(graph, machine)
    problem = Problem(graph, machine, memo.tables({}), memo)
    products = [at for at, node in enumerate(graph.nodes) if len(node.operands) == 2]
    variable = [products[0] if at in products else at for at in range(len(graph.nodes))]
    members = tuple(tuple(k for k, one in enumerate(variable) if one == at) for at in range(len(graph.nodes)))
    counts = tuple(map(len, members))
    folding = Folding(tuple(variable), members, tuple(map(node_labels, graph.nodes)), counts)
    whole = ((None,),) * len(graph.nodes)
    twice, once = (plan_words(problem, whole, folding)[at].bound_words for at in products)
    assert 0 == twice < once


# ------------------------------------------------------------------------------------------------------------- sums


words = st.none() | st.builds(
    Words,
    st.integers(0, 10**12),
    st.none() | st.floats(0, 1e12),
    st.none() | st.floats(0, 1e12),
)


@given(st.lists(words, max_size=8))
def test_sums_have_a_bound_only_where_all_of_them_have_one(rows):
    found, said = total(rows), [row for row in rows if row is not None]
    if not said:
        assert found is None
        return
    assert found.moved == sum(row.moved for row in said)
    assert (found.bound is None) is any(row.bound is None for row in said)
    assert found.grid is None or found.grid == pytest.approx(sum(row.grid for row in said))


@pytest.mark.parametrize(
    "one, other, equal",
    [
        (None, None, True), (None, Words(0), False), (Words(3), Words(3), True), (Words(3), Words(4), False),
        (Words(3, 1.0), Words(3, 1.0 + 1e-8), True), (Words(3, 1.0), Words(3, 1.0001), False),
        (Words(3, 1.0), Words(3), False), (Words(3, 1.0, 2.0), Words(3, 1.0, 2.1), False),
        (Words(3, 1.0, None), Words(3, 1.0, 2.0), False), (Words(3, 0.0, 0.0), Words(3, 0.0, 0.0), True),
    ],
)  # fmt: skip
def test_words_are_equal_but_for_the_rounding_of_bounds(one, other, equal):
    assert are_equal(one, other) is are_equal(other, one) is equal
