"""EinDecomp's program: its formulas by hand, its optimum by enumeration, its plans as any plan."""

from __future__ import annotations

from itertools import pairwise, product
from math import ceil, prod
from random import Random

import numpy as np
import pytest

from einsplit.builder import Builder, Origin
from einsplit.builder.views import Value
from einsplit.graph import Graph, Input, aggregated_labels, factors, node_labels
from einsplit.scalar import operand
from einsplit.solver.machine import Machine, MeshAxis
from einsplit.solver.prepare import prepare
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem
from einsplit.solver.published.eindecomp import VARIANTS, eindecomp
from einsplit.solver.published.eindecomp.costs import aggregation_costs, join_costs, repartition_costs
from einsplit.solver.published.eindecomp.linear import longest_paths
from einsplit.solver.published.eindecomp.network import Choices, Network, Readings
from einsplit.solver.published.eindecomp.paths import plan_paths
from einsplit.solver.published.eindecomp.translate import solution
from einsplit.solver.published.eindecomp.trees import plan_trees
from einsplit.solver.search.starts import digit_tables
from tests.support.cuttings import MESHES, Cutting, random_machine, run_local
from tests.support.graphs import random_case
from tests.support.meaning import meaning
from tests.support.spelled import spelled

# --------------------------------------------------------------------------------------------------- costs by hand


def test_a_join_sends_every_call_its_blocks():
    """8 calls of 100 x 200 by 200 x 300, cut 2, 4, 1: blocks of 50 x 50 and 50 x 300."""
    assert join_costs(np.array([8.0]), [np.array([2500.0]), np.array([15000.0])]).tolist() == [8 * 17500]


def test_an_aggregation_moves_all_but_one_of_the_addends():
    assert aggregation_costs(30000, np.array([1.0, 4.0])).tolist() == [0, 90000]


@pytest.mark.parametrize(
    "shape, source, target, cost",
    [
        ((8, 8), (4, 1), (4, 1), 0),  # nothing changes
        ((8, 8), (4, 1), (1, 4), 16 * 16 + (16 / 4 - 1) * 64),  # 16 pairs, blocks of 16; 4 pieces to a block
        ((8, 8), (1, 1), (2, 2), 4 * 64),  # cut: each of 4 blocks is cut from the whole
        ((8, 8), (2, 2), (1, 1), 4 * 16 + 3 * 64),  # put together from 4
        ((8, 8), (4, 1), (2, 2), 8 * 16 + 64),
        ((9,), (2,), (4,), 4 * 5),  # the larger of two uneven blocks
        ((), (), (), 0),
    ],
)
def test_a_repartition_sends_the_block_of_every_pair_and_puts_pieces_together(shape, source, target, cost):
    found = repartition_costs(shape, np.array([source], dtype=np.int64), np.array([target], dtype=np.int64))
    assert found.tolist() == [[cost]]


# ------------------------------------------------------------------------------------------------ the oracle's price


def mesh_machine(*sizes: int) -> Machine:
    return Machine(
        name="mesh",
        axes=tuple(MeshAxis(f"axis{k}", n, 1e9, 1e-6) for k, n in enumerate(sizes)),
        flops_per_second=1e10,
        memory_bytes_per_second=1e10,
        memory_bytes=1e9,
        launch_seconds=1e-7,
    )


def every_vector(graph: Graph, at: int, number: int) -> list[dict[str, int]]:
    """By trial: entries of at most the labels' sizes, whose product is the number."""
    labels = node_labels(graph.nodes[at])
    rows = product(*(range(1, min(graph.sizes[label], number) + 1) for label in labels))
    return [dict(zip(labels, row, strict=True)) for row in rows if prod(row) == number]


def blocks(graph: Graph, labels: tuple[str, ...], vector: dict[str, int]) -> int:
    return prod(ceil(graph.sizes[label] / vector[label]) for label in labels)


def own_cost(graph: Graph, at: int, vector: dict[str, int]) -> float:
    node = graph.nodes[at]
    join = prod(vector.values()) * sum(blocks(graph, row.labels, vector) for row in node.operands)
    addends = prod(vector[label] for label in aggregated_labels(node))
    return join + prod(graph.shape(at)) * (addends - 1)


def moved_cost(
    graph: Graph, maker: int, before: dict[str, int], labels: tuple[str, ...], after: dict[str, int]
) -> float:
    a, b = [before[label] for label in factors(graph.nodes[maker])], [after[label] for label in labels]
    if a == b:
        return 0
    pairs = prod(map(max, a, b))
    return pairs * blocks(graph, factors(graph.nodes[maker]), before) + (pairs / prod(b) - 1) * prod(graph.shape(maker))


def tree_cost(graph: Graph, vectors: dict[int, dict[str, int]]) -> float:
    """Of nodes with vectors; operands without (inputs) cost nothing."""
    total = 0.0
    for at, vector in vectors.items():
        total += own_cost(graph, at, vector)
        for row in graph.nodes[at].operands:
            if row.node in vectors:
                total += moved_cost(graph, row.node, vectors[row.node], row.labels, vector)
    return total


def random_tree(random: Random) -> Graph:
    """Products, summed over some labels, of inputs and earlier products; each value is read once."""
    builder = Builder()
    names = iter("abcdefgh")
    sizes = (4, 12, 64, 512)

    def leaf(shape: tuple[int, ...]) -> Value:
        return builder.input(next(names), shape, "float64")

    value = leaf((random.choice(sizes), random.choice(sizes)))
    for _ in range(random.randint(1, 3)):
        text = random.choice(("i k, k j -> i j", "i k, j k -> j i", "i k, i k -> i k", "i k, i j -> k j"))
        first, second = text.split(" -> ")[0].split(", ")
        known = dict(zip(first.split(), value.shape, strict=True))
        other = leaf(tuple(known.get(label, random.choice(sizes)) for label in second.split()))
        value = spelled(text, value, other)
    return builder.build({"value": value})


def network_of(graph: Graph, machine: Machine) -> Network:
    memo = Memo(graph, machine)
    (axes_of,) = digit_tables(graph, machine)
    return Network(Problem(graph, machine, memo.tables(axes_of), memo), Readings(memo))


def as_vectors(network: Network, choices: Choices) -> dict[int, dict[str, int]]:
    graph = network.problem.graph
    return {
        at: dict(
            zip(node_labels(graph.nodes[at]), map(int, network.candidates[at].vectors[choices.row[at]]), strict=True)
        )
        for at in network.readings.operations
    }


@pytest.mark.parametrize("seed", range(40))
def test_trees_are_planned_as_enumeration_does(seed):
    """Both ways: a chain with its leaves is one path. The last identity, an output, is no operation."""
    graph = prepare(random_tree(Random(seed)))
    network = network_of(graph, mesh_machine(2, 2))
    operations = [at for at, node in enumerate(graph.nodes) if not isinstance(node, Input)][:-1]
    assert list(network.readings.operations) == operations
    every = product(*(every_vector(graph, at, 4) for at in operations))
    least = min(tree_cost(graph, dict(zip(operations, row, strict=True))) for row in every)
    for plan in (plan_trees, plan_paths):
        choices = plan(network)
        vectors = as_vectors(network, choices)
        assert all(prod(vector.values()) == 4 for vector in vectors.values())
        assert tree_cost(graph, vectors) == least
        assert network.cost(choices) == pytest.approx(least)


@pytest.mark.parametrize("shapes", [((512, 4), (4, 512), (512, 4)), ((4, 512), (512, 4), (4, 512))])
def test_a_node_is_cut_as_pays_in_the_whole_tree(shapes):
    """x y z: the first product's own best is not that of its reader."""
    builder = Builder()
    x, y, z = (builder.input(name, shape, "float64") for name, shape in zip("xyz", shapes, strict=True))
    graph = prepare(builder.build({"v": spelled("i k, k j -> i j", spelled("i k, k j -> i j", x, y), z)}))
    network = network_of(graph, mesh_machine(2, 2))
    first, second = network.readings.operations
    every = product(every_vector(graph, first, 4), every_vector(graph, second, 4))
    least = min(tree_cost(graph, {first: a, second: b}) for a, b in every)
    for plan in (plan_trees, plan_paths):
        assert tree_cost(graph, as_vectors(network, plan(network))) == least


def test_a_diagonal_is_cut_at_its_first_position():
    builder = Builder()
    i = builder.variable(8)
    x = builder.input("x", (8, 8), "float64")
    diagonal = builder.einsum([(x, ((i,), (i,)))], ((i,),), operand(0), "sum", Origin("diagonal"))
    network = network_of(prepare(builder.build({"d": diagonal})), mesh_machine(2, 2))
    (at,) = network.readings.operations
    assert network.candidates[at].wanted[0].distinct.tolist() == [[4, 1]]
    assert network.candidates[at].costs.tolist() == [4 * 2 * 8]


# --------------------------------------------------------------------------------------------------------- graphs


def diamond() -> Graph:
    """One value read twice, on ways of unlike length, and put together."""
    builder = Builder()
    x, w = builder.input("x", (8, 16), "float64"), builder.input("w", (16, 32), "float64")
    h = spelled("b i, i f -> b f", x, w)
    left = spelled("b f -> b f", h, join=operand(0) * operand(0))
    right = spelled("b f, f -> b f", h, builder.input("c", (32,), "float64"), join=operand(0) + operand(1))
    right = spelled("b f -> b f", right, join=operand(0) * operand(0) * operand(0))
    return builder.build({"y": spelled("b f, b f -> b", left, right)})


def test_longest_paths_take_the_trunk_first():
    """1 reads 0, 2 reads 1, 3 reads 1 and 2, 4 reads 0, 5 stands alone."""
    assert longest_paths({0: (), 1: (0,), 2: (1,), 3: (1, 2), 4: (0,), 5: ()}) == ((0, 1, 2, 3), (4,), (5,))


@pytest.mark.parametrize("seed", range(20))
def test_longest_paths_are_longest(seed):
    """Every node once; no path of what was left was longer, by enumeration."""
    random = Random(seed)
    before = {at: tuple(k for k in range(at) if random.random() < 0.3) for at in range(8)}
    left = set(before)
    for path in longest_paths(before):
        assert all(a in before[b] for a, b in pairwise(path))
        longest: dict[int, int] = {}
        for at in sorted(left):
            longest[at] = 1 + max((longest[k] for k in before[at] if k in left), default=0)
        assert len(path) == max(longest.values())
        left -= set(path)
    assert not left


def test_a_value_with_several_readers_is_planned_by_its_own_tree():
    """Cut as its own tree is cheapest; by paths, as it is with the reader on the longest."""
    graph = prepare(diamond())
    network = network_of(graph, mesh_machine(2, 2))
    choices = plan_trees(network)
    (at,) = (at for at in network.readings.operations if len(network.readings.by[at]) == 2)
    assert own_cost(graph, at, as_vectors(network, choices)[at]) == min(
        own_cost(graph, at, vector) for vector in every_vector(graph, at, 4)
    )
    first = network.readings.paths[0]
    assert len(first) == 4 and at in first


def test_a_path_is_planned_beside_neighbours_that_are_planned_already():
    """Two products meet: the second, by itself best cut along its sum, is planned last, for a reader that is not."""
    builder = Builder()
    x, y = builder.input("x", (2048, 16), "float64"), builder.input("y", (16, 64), "float64")
    trunk = spelled("i k, k j -> i j", x, y)
    trunk = spelled("i j -> i j", trunk, join=operand(0) * operand(0))
    z, w = builder.input("z", (64, 6144), "float64"), builder.input("w", (6144, 2048), "float64")
    side = spelled("i k, k j -> j i", z, w)
    graph = prepare(builder.build({"v": spelled("i j, i j -> i", trunk, side)}))
    network = network_of(graph, mesh_machine(2, 2))
    assert [len(path) for path in network.readings.paths] == [3, 1]
    ((at,),) = network.readings.paths[1:]
    vectors = as_vectors(network, plan_paths(network))
    found = tree_cost(graph, vectors)
    others = [tree_cost(graph, vectors | {at: vector}) for vector in every_vector(graph, at, 4)]
    assert found == min(others)
    assert own_cost(graph, at, vectors[at]) > min(own_cost(graph, at, v) for v in every_vector(graph, at, 4))


@pytest.mark.parametrize("mesh", [*MESHES, (4, 2), (8,)], ids=str)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_plan_is_legal_and_priced_as_any_plan_is(variant, mesh):
    random = Random(sum(mesh))
    for _ in range(25):
        graph = prepare(random_case(random, exact=True, num_nodes=6).graph)
        machine = random_machine(random, mesh)
        found = eindecomp(Memo(graph, machine), variant)
        assert len(found.shardings) == len(graph.nodes)
        for at, sharding in enumerate(found.shardings):
            assert len(sharding) == len(mesh)
            assert all(choice in found.problem.choices(at, axis) for axis, choice in enumerate(sharding))
        again = Problem(graph, machine, found.problem.tables).price(found.shardings)
        assert found.seconds == pytest.approx(again.seconds, rel=1e-9)
        own = {(digits.size, axis) for digits in found.problem.tables.values() for axis in digits.axes}
        cut = {
            (found.problem.tables[choice].size, axis)
            for sharding in found.shardings
            for axis, choice in enumerate(sharding)
            if isinstance(choice, str)
        }
        assert own == cut  # no digit stands in a table that nobody cuts by it


@pytest.mark.parametrize("seed", range(24))
def test_plans_run_and_give_what_is_meant(seed):
    random = Random(seed)
    case = random_case(random, exact=True, num_nodes=5)
    mesh = MESHES[seed % len(MESHES)]
    found = eindecomp(Memo(prepare(case.graph), random_machine(random, mesh)), list(VARIANTS)[seed // 4 % 2])
    wanted = meaning(case.graph, case.feeds)
    results = run_local(Cutting(found.problem, found.shardings).program, case.feeds)
    assert results.keys() == wanted.keys()
    for name, meant in wanted.items():
        if (meant.scale < 2.0**50).all():
            np.testing.assert_array_equal(results[name], meant.value, err_msg=name)


@pytest.mark.parametrize("plan", [plan_trees, plan_paths])
def test_axes_of_unlike_sizes_are_dealt_so_that_entries_match(plan):
    """On 4 x 2 devices a vector of 2, 2 and 2 cannot be dealt, and is no candidate."""
    graph = prepare(diamond())
    network = network_of(graph, mesh_machine(4, 2))
    choices = plan(network)
    found = solution(network, choices)
    for at, vector in as_vectors(network, choices).items():
        assert sorted(entry for entry in vector.values() if entry > 1) in ([8], [2, 4])
        dealt = dict.fromkeys(vector, 1)
        for choice, size in zip(found.shardings[at], (4, 2), strict=True):
            dealt[choice] *= size
        assert dealt == vector


def test_a_kernel_is_cut_by_its_free_labels_only():
    builder = Builder()
    x = builder.input("x", (8, 16), "float64")
    b, i, o = builder.variable(8), builder.variable(16), builder.variable(5)
    attributes = {"start": 0, "step": 1, "length": 5, "dim": 1}
    y = builder.kernel(
        "slice",
        [(x, ((b,), (i,)))],
        [(((b,), (o,)), "float64")],
        Origin("y"),
        brackets=frozenset((i, o)),
        attributes=attributes,
    )[0]
    graph = prepare(builder.build({"y": y}))
    (at,) = (at for at, node in enumerate(graph.nodes) if node.name == "y")
    found = eindecomp(Memo(graph, mesh_machine(2, 2)))
    label = factors(graph.nodes[at])[0]
    assert found.shardings[at] == (label, label)
    assert found.shardings[0] == (factors(graph.nodes[0])[0],) * 2  # the input rests as it is read
    assert found.problem.price(found.shardings).bytes_sent == 0


def test_a_large_product_is_cut_so_that_no_operand_is_repeated_more_than_it_must():
    """64 x 4096 by 4096 x 64 on 4 devices: cut by the sum, each operand is sent once, and addends are few."""
    builder = Builder()
    x, y = builder.input("x", (64, 4096), "float64"), builder.input("y", (4096, 64), "float64")
    graph = prepare(builder.build({"z": spelled("i k, k j -> i j", x, y)}))
    found = eindecomp(Memo(graph, mesh_machine(2, 2)))
    (at,) = (at for at, node in enumerate(graph.nodes) if len(node.operands) == 2)
    summed = aggregated_labels(graph.nodes[at])[0]
    assert found.shardings[at] == (summed, summed)
