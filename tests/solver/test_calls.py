"""Results of one call are made by one call where they are cut alike, and priced as what is run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import product
from math import prod
from random import Random

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from einsplit.autodiff import grad
from einsplit.builder import Builder
from einsplit.capture import capture
from einsplit.graph import Graph, Kernel, Label, factors
from einsplit.kernels.door import kernel
from einsplit.passes import tidy
from einsplit.runtime.local import LocalSession
from einsplit.solver.prepare import prepare
from einsplit.solver.pricing.calls import completion
from einsplit.solver.pricing.price import Price
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem
from einsplit.solver.program import Compute, Program
from einsplit.solver.program.lower import lower
from einsplit.solver.search.brute import brute
from einsplit.solver.search.starts import digit_tables
from einsplit.solver.search.sweep import joint
from einsplit.solver.sharding import extent_classes, make_tables
from tests.support.attention import differentiated
from tests.support.cuttings import MESHES, Cutting, random_cutting, random_machine
from tests.support.prices import program_bytes, program_seconds
from tests.support.searches import swept


def real(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def captured(function: Callable[..., object], *args: Tensor) -> Graph:
    return prepare(capture(function, args, {}).graph)


def own_top_k() -> Graph:
    builder = Builder()
    found = kernel("top_k", "b s [k] -> b s [n], b s [n]", builder.input("x", (4, 6, 5), "float32"), n=2)
    return prepare(builder.build(dict(zip(("values", "places"), found, strict=True))))


OPERATORS: dict[str, tuple[Callable[..., object], *tuple[Tensor, ...]]] = {
    "attention": (F.scaled_dot_product_attention, real(4, 2, 6, 4), real(4, 2, 8, 4), real(4, 2, 8, 4)),
    "topk": (lambda x: tuple(torch.topk(x, 2, -1)), real(4, 6, 5)),
    "svd": (lambda x: tuple(torch.linalg.svd(x, full_matrices=False)), real(4, 3, 5)),
}
GRAPHS: dict[str, Callable[[], Graph]] = {
    **{name: partial(captured, *row) for name, row in OPERATORS.items()},
    "attention_gradient": lambda: differentiated((4, 4, 6, 4), (4, 2, 8, 4), (4, 2, 8, 4), (4, 4, 6, 4)),
    "top_k": own_top_k,
}
NUM_RESULTS = {"attention": 2, "attention_gradient": 3, "topk": 2, "top_k": 2, "svd": 3}
NUM_FREE = {"attention": 4, "attention_gradient": 5, "topk": 2, "top_k": 2, "svd": 1}  # labels that may be cut
KERNELS = {"attention": ("attention", "attention_values"), "topk": ("aten",), "svd": ("aten",)}


@cache
def graph_of(name: str) -> Graph:
    return GRAPHS[name]()


def results(graph: Graph, name: str) -> list[int]:
    """The nodes that are results of the call: attention's values are given the logsumexp of all keys."""
    kernels = KERNELS.get(name, (name,))
    return [at for at, node in enumerate(graph.nodes) if isinstance(node, Kernel) and node.kernel in kernels]


def cut(graph: Graph, of_nodes: dict[int, Label | None]) -> Cutting:
    """These nodes cut among two devices, all others whole."""
    machine = random_machine(Random(0), (2,))
    tables = make_tables(graph, (2,), dict.fromkeys(extent_classes(graph).values(), (0,)))
    problem = Problem(graph, machine, tables)
    return Cutting(problem, tuple((of_nodes.get(at),) for at in range(len(graph.nodes))))


def calling(program: Program, nodes: list[int]) -> list[Compute]:
    """The calls that stand for some of the nodes."""
    steps = [step for step in program.instructions if isinstance(step, Compute) and step.kind == "kernel"]
    return [step for step in steps if step.node in nodes]


def calls(program: Program, nodes: list[int]) -> list[int]:
    """How many results each of them gives."""
    return [len(step.results) for step in calling(program, nodes)]


def free(graph: Graph, nodes: list[int]) -> list[Label]:
    """The labels that all of the nodes may be cut by."""
    problem = cut(graph, {}).problem
    return [
        x
        for x in problem.choices(nodes[0], 0)
        if isinstance(x, str) and all(x in problem.choices(at, 0) for at in nodes)
    ]


@pytest.mark.parametrize("name", NUM_RESULTS)
def test_results_of_one_call_that_are_cut_alike_are_one_call(name: str) -> None:
    graph = graph_of(name)
    nodes = results(graph, name)
    assert len(nodes) == NUM_RESULTS[name]
    labels = free(graph, nodes)
    assert len(labels) == NUM_FREE[name]
    for label in (None, *labels):
        assert calls(cut(graph, dict.fromkeys(nodes, label)).program, nodes) == [len(nodes)]


@pytest.mark.parametrize("name", NUM_RESULTS)
def test_a_result_that_is_cut_otherwise_than_the_first_has_a_call_of_its_own(name: str) -> None:
    graph = graph_of(name)
    first, *others = nodes = results(graph, name)
    for one, other in product([None, *free(graph, nodes)], repeat=2):
        if one == other:
            continue
        every = cut(graph, {first: one} | dict.fromkeys(others, other)).program
        assert calls(every, nodes) == [1] * len(nodes)
        last = cut(graph, dict.fromkeys(nodes, one) | {nodes[-1]: other}).program
        assert calls(last, nodes) == [len(nodes) - 1, 1]


@pytest.mark.parametrize("name", OPERATORS)
def test_one_call_and_several_give_what_torch_gives(name: str) -> None:
    graph, (function, *args) = graph_of(name), OPERATORS[name]
    wanted = function(*args)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    nodes = results(graph, name)
    for one, other in product([None, *free(graph, nodes)], repeat=2):
        program = cut(graph, {nodes[0]: one} | dict.fromkeys(nodes[1:], other)).program
        with LocalSession(program, timeout_seconds=60) as session:
            found = session.step(dict(zip(program.feeds, args, strict=True)))
        for tensor, own in zip(wanted, found.values(), strict=True):
            torch.testing.assert_close(own, tensor)


# ------------------------------------------------------------------------------------------------------ prices


@pytest.mark.parametrize("name, heads", [("attention", 2), ("attention_gradient", 4)])
def test_a_further_result_costs_a_product_over_all_scores_and_writing_it(name: str, heads: int) -> None:
    """`2 b h i j d` operations, scores and their weights being there, and one for each element written."""
    graph = graph_of(name)
    first, *others = nodes = results(graph, name)
    for label in (None, *free(graph, nodes)):
        (step,) = calling(cut(graph, dict.fromkeys(nodes, label)).program, nodes)
        assert step.node == first and len(step.results) == len(nodes)
        for at, row in zip(others, step.results[1:], strict=True):
            products = 2 * (4 * heads * 6 * 8) * 4
            written = prod(graph.sizes[one] for one in factors(graph.nodes[at]))
            cut_products = products if label is None else products // 2
            assert row.operations == cut_products + written // (2 if label in factors(graph.nodes[at]) else 1)


def layer(x: Tensor, first: Tensor, mixed: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """A transformer layer of two heads for each head of keys, and a loss."""
    hidden = F.layer_norm(x, x.shape[-1:])
    q, k, v = (hidden @ first).split((16, 8, 8), -1)
    q, k, v = (part.unflatten(-1, (-1, 4)).transpose(1, 2) for part in (q, k, v))
    attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    x = x + attended.transpose(1, 2).flatten(2) @ mixed
    return (x + F.gelu(F.layer_norm(x, x.shape[-1:]) @ up) @ down).square().mean()


@cache
def training(seq: int) -> Graph:
    """The layer and its gradients by all weights."""
    args = (real(3, seq, 16), real(16, 32), real(16, 16), real(16, 24), real(24, 16))
    found = capture(layer, args, {})
    return prepare(tidy(grad(tidy(found.graph), "output", found.feeds[1:])))


def read_once(cutting: Cutting) -> Price:
    """Of edges to results that another's call gives: that reads what they share once, and z only where keys are cut."""
    problem, total = cutting.problem, Price()
    nodes, shardings = problem.graph.nodes, cutting.shardings
    merged = {pair.further for pair in problem.pairs if pair.alike(shardings[pair.first], shardings[pair.further])}
    for edge in problem.edges:
        node, own = nodes[edge.reader], shardings[edge.reader]
        is_z = isinstance(node, Kernel) and node.kernel == "attention_values" and edge.number == len(node.operands) - 1
        if edge.reader in merged and not (is_z and completion(node, own)):
            total += problem.edge_price(edge, shardings[edge.writer], own)
    return total


@pytest.mark.parametrize("mesh", MESHES, ids=str)
@pytest.mark.parametrize("seq", [6, 7])
def test_the_price_of_a_plan_is_that_of_its_program_and_of_what_a_call_reads_for_each_result(
    seq: int, mesh: tuple[int, ...]
) -> None:
    random = Random(seq * sum(mesh))
    graph = training(seq)
    machine = random_machine(random, mesh)
    memo = Memo(graph, machine)
    assert len(memo.pairs) == 3
    for num_alike in (0, 1, 2, 3) * 5:
        cutting = random_cutting(random, graph, machine, memo)
        shardings = list(cutting.shardings)
        for pair in memo.pairs[:num_alike]:
            shardings[pair.further] = shardings[pair.first]
        cutting = Cutting(cutting.problem, tuple(shardings))
        price, program, twice = cutting.problem.price(cutting.shardings), cutting.program, read_once(cutting)
        seconds = program_seconds(program, machine) + twice.seconds
        assert price.seconds == pytest.approx(seconds, rel=1e-9, abs=0.0), cutting
        assert price.bytes_sent == program_bytes(program) + twice.bytes_sent, cutting


@pytest.mark.parametrize("mesh", [(2,), (4,), (2, 2)], ids=str)
@pytest.mark.parametrize("name", ["attention", "attention_gradient"])
def test_the_price_of_a_plan_that_is_found_is_that_of_its_program(name: str, mesh: tuple[int, ...]) -> None:
    """What a call reads is then held as it reads it; results of one call are one call."""
    random, graph = Random(name), graph_of(name)
    for _ in range(6):
        machine = random_machine(random, mesh)
        found = swept(graph, machine)
        program = lower(found)
        assert found.seconds == pytest.approx(program_seconds(program, machine), rel=1e-9, abs=0.0)
        assert calls(program, results(graph, name)) == [NUM_RESULTS[name]]


def test_all_axes_at_once_are_solved_as_enumeration_solves_them() -> None:
    """Two results of a call over queries and keys, and over a batch: what they save together counts in both."""
    random, met = Random(0), set()
    for batch, mesh in ((1, (2,)), (1, (2,)), (1, (3,)), (2, (2,)), (1, (2, 2)), (1, (2, 2)), (1, (2, 2))):
        graph = captured(F.scaled_dot_product_attention, *(real(batch, 1, size, 3) for size in (4, 6, 6)))
        first, further = results(graph, "attention")
        machine = random_machine(random, mesh)
        memo = Memo(graph, machine)
        best, found = brute(memo), joint(memo, digit_tables(graph, machine)).spread()
        assert found.seconds == pytest.approx(best.seconds, rel=1e-9, abs=0.0)
        assert found.problem.price(found.shardings).seconds == pytest.approx(best.seconds, rel=1e-9, abs=0.0)
        assert best.shardings[first] == best.shardings[further]
        met.add(best.shardings[first])
    assert len(met) > 2  # not always the same
