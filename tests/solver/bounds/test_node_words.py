"""Words of the nodes of a plan: each collective counts once, at the node it is for."""

from __future__ import annotations

from random import Random

import pytest

from einsplit.builder import Builder
from einsplit.dtypes import ITEMSIZE
from einsplit.graph import Graph
from einsplit.scalar import operand
from einsplit.solver.bounds import best_integer_grid, node_words, plan_words, words_lower_bound
from einsplit.solver.prepare import prepare
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem
from einsplit.solver.sharding import Sharding
from tests.support.cuttings import MESHES, random_cutting, random_machine
from tests.support.graphs import random_case
from tests.support.spelled import spelled

SIDE = 64


def product(readers: int = 1) -> Graph:
    """x y, then so many functions of it."""
    builder = Builder()
    x, y = builder.input("x", (SIDE, SIDE), "float32"), builder.input("y", (SIDE, SIDE), "float32")
    z = spelled("i k, k j -> i j", x, y)
    after = {f"w{n}": spelled("i j -> i j", z, join=operand(0) * operand(0)) for n in range(readers)}
    return prepare(builder.build({"z": z} | after))


def at_named(graph: Graph, name: str) -> int:
    (at,) = (at for at, node in enumerate(graph.nodes) if node.name == name)
    return at


def cut(graph: Graph, *cuts: tuple[str, int]) -> tuple[Problem, tuple[Sharding, ...]]:
    """One axis of 4; of each node named, the place of the label it is cut by among its own. Others are whole."""
    machine = random_machine(Random(0), (4,))
    memo = Memo(graph, machine)
    problem = Problem(graph, machine, memo.tables(dict.fromkeys(memo.classes.values(), (0,))), memo)
    chosen: list[Sharding] = [(None,)] * len(graph.nodes)
    for name, place in cuts:
        at = at_named(graph, name)
        chosen[at] = (memo.labels[at][place],)
    return problem, tuple(chosen)


def multiply(graph: Graph) -> int:
    return next(at for at, node in enumerate(graph.nodes) if len(node.operands) == 2)


def test_operands_gathered_count_at_the_reader_and_addends_at_the_maker():
    graph = product()
    name = graph.nodes[multiply(graph)].name
    gathered = SIDE * SIDE * 3 // 4
    # x by its rows, read whole.
    problem, chosen = cut(graph, ("x", 0))
    assert node_words(problem, chosen, multiply(graph)).moved_words == gathered
    # Both cut along the sum; the result, whole afterwards, is reduced, on the way to its use node.
    problem, chosen = cut(graph, ("x", 1), ("y", 0), (name, 2))
    assert node_words(problem, chosen, multiply(graph)).moved_words == 2 * gathered
    assert sum(words.moved_words for words in plan_words(problem, chosen)) == 2 * gathered


def test_what_a_use_node_gathers_counts_at_its_first_reader():
    graph = product(readers=2)
    name = graph.nodes[multiply(graph)].name
    problem, chosen = cut(graph, ("x", 0), (name, 0))
    words = plan_words(problem, chosen)
    moved = {graph.nodes[at].name: row.moved_words for at, row in enumerate(words) if row.moved_words}
    assert list(moved.values()) == [SIDE * SIDE * 3 // 4]
    (first,) = moved
    at = at_named(graph, first)
    assert words[at].bound_words == 0.0  # element by element: nothing had to move
    assert problem.memo.forms[at].kind == "join"
    readers = [k for k, form in enumerate(problem.memo.forms) if form.kind == "join"]
    assert at == min(readers)


def test_bound_and_grid_are_those_of_the_labels():
    graph = product()
    problem, chosen = cut(graph)
    words = node_words(problem, chosen, multiply(graph))
    sizes = dict.fromkeys("ikj", SIDE)
    assert words.bound_words == pytest.approx(words_lower_bound(("ik", "kj", "ij"), sizes, 4), rel=1e-9)
    assert words.grid_words == best_integer_grid(("ik", "kj", "ij"), sizes, 4).words
    assert words.moved_words == 0
    for at, form in enumerate(problem.memo.forms):
        if form.kind in ("input", "alias"):
            row = node_words(problem, chosen, at)
            assert (row.bound_words, row.grid_words) == (None, None)


def test_a_matrix_times_its_own_transpose_needs_one_reading_of_it_only():
    """What is seen as one operand is seen as the other too: the bound asks for either reading, not for both."""
    builder = Builder()
    x = builder.input("x", (SIDE, SIDE), "float32")
    graph = prepare(builder.build({"z": spelled("i k, j k -> i j", x, x)}))
    problem, chosen = cut(graph)
    at = multiply(graph)
    sizes = dict.fromkeys("ikj", SIDE)
    bound = node_words(problem, chosen, at).bound_words
    assert bound == pytest.approx(words_lower_bound(("ik", "ij"), sizes, 4), rel=1e-9)
    assert bound < words_lower_bound(("ik", "jk", "ij"), sizes, 4)


@pytest.mark.parametrize("mesh", MESHES, ids=str)
def test_the_words_of_nodes_sum_to_what_a_plan_sends(mesh):
    random = Random(sum(mesh))
    for _ in range(60):
        graph = prepare(random_case(random, exact=True, num_nodes=6).graph)
        cutting = random_cutting(random, graph, random_machine(random, mesh))
        problem, chosen = cutting.problem, cutting.shardings
        words = plan_words(problem, chosen)
        sent = 0
        for edge in problem.edges:
            price = problem.edge_price(edge, chosen[edge.writer], chosen[edge.reader])
            sent += price.bytes_sent // ITEMSIZE[graph.nodes[edge.writer].dtype]
        assert sum(row.moved_words for row in words) == sent, cutting
        assert all(row.bound_words <= row.grid_words + 1e-6 for row in words if row.bound_words is not None), cutting
        for at, row in enumerate(words):
            if problem.memo.forms[at].kind == "alias":
                assert row.moved_words == 0
