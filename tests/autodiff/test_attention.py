"""Gradients of attention, and their gradients, are torch's; those of parts of a call too."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as sdpa

from einsplit.autodiff import gradient_name
from einsplit.evaluate import evaluate
from einsplit.graph import Graph, Kernel, check
from einsplit.passes import spell_attention, tidy
from einsplit.solver.prepare import prepare
from tests.autodiff.test_any_cutting import close
from tests.autodiff.test_convolutions import again, first, of_torch
from tests.capture.gradients import check_gradients
from tests.support.cuttings import random_cutting, random_machine, run_local

MESHES = ((2,), (3,), (2, 2))


def real(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


Q, K, V = real(2, 2, 5, 4), real(2, 2, 3, 4), real(2, 2, 3, 4)
MASK = torch.tensor([[1, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 0, 1]], dtype=torch.bool)  # one looks at nothing

CASES: dict[str, tuple[Callable[..., Tensor], *tuple[Tensor, ...]]] = {
    "all keys": (sdpa, Q, K, V),
    "causal": (lambda q, k, v: sdpa(q, k, v, is_causal=True), Q, K, V),
    "a mask that leaves a query nothing": (lambda q, k, v: sdpa(q, k, v, MASK), Q, K, V),
    "grouped queries": (lambda q, k, v: sdpa(q, k, v, enable_gqa=True, is_causal=True), real(2, 4, 5, 4), K, V),
    "values of another width": (lambda q, k, v: sdpa(q, k, v, scale=-0.3), Q, K, real(2, 2, 3, 5)),
    "of itself": (lambda x: sdpa(x, x, x, is_causal=True), real(1, 2, 4, 3)),
    "one after the other": (lambda q, k: sdpa(sdpa(q, k, k), k, k, is_causal=True), Q, K),
}


def kernels(graph: Graph) -> set[str]:
    return {node.kernel for node in graph.nodes if isinstance(node, Kernel)}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_torch_whole_and_cut(name: str) -> None:
    function, *args = CASES[name]
    graph, feeds, names = first(function, tuple(args))
    assert kernels(graph) == {"attention", "attention_gradient"}
    wanted = dict(zip(names, of_torch(function, tuple(args), twice=False), strict=True))
    results = [evaluate(graph, feeds)]
    for seed, mesh in enumerate(MESHES * 3):
        random = Random(seed)
        cutting = random_cutting(random, prepare(graph), random_machine(random, mesh))
        results.append(run_local(cutting.program, feeds))
    for found in results:
        for of, tensor in wanted.items():
            close(found[gradient_name("output", of)], tensor.numpy(), of)


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_are_those_of_torch_whole_and_cut(name: str) -> None:
    """torch differentiates its composed attention twice, and no other."""
    function, *args = CASES[name]
    graph, feeds, names = first(function, tuple(args))
    graph = tidy(again(graph, names))
    assert kernels(graph) == set()
    with sdpa_kernel(SDPBackend.MATH):
        wanted = of_torch(function, tuple(args), twice=True)
    outputs = [gradient_name(of, name) for of in ("output", "again") for name in names]
    random = Random(name)
    cutting = random_cutting(random, prepare(graph), random_machine(random, (3, 2)))
    for found in (evaluate(graph, feeds), run_local(cutting.program, feeds)):
        for output, tensor in zip(outputs, wanted, strict=True):
            close(found[output], tensor.numpy(), output)


@pytest.mark.parametrize("name", CASES)
def test_spelled_out_it_is_the_same_graph_of_einsums(name: str) -> None:
    function, *args = CASES[name]
    graph, feeds, _ = first(function, tuple(args))
    spelled = spell_attention(graph)
    check(spelled)
    assert kernels(spelled) == set()
    assert list(spelled.inputs) == list(graph.inputs) and dict(spelled.outputs).keys() == dict(graph.outputs).keys()
    found, wanted = evaluate(spelled, feeds), evaluate(graph, feeds)
    for output, array in wanted.items():
        close(found[output], array, output)


def test_attention_that_nobody_has_differentiated_stays_a_kernel() -> None:
    function, *args = CASES["causal"]
    graph, _, _ = first(function, tuple(args))
    forward = tidy(Graph(graph.nodes, graph.sizes, tuple(row for row in graph.outputs if row[0] == "output")))
    assert spell_attention(forward) is forward
    assert kernels(forward) == {"attention"}


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
def test_only_the_gradients_that_are_asked_for_are_results_of_the_call(wanted: tuple[int, ...]) -> None:
    function, *args = CASES["causal"]
    graph, feeds, names = first(function, tuple(args))
    keep = {gradient_name("output", names[k]) for k in wanted}
    less = tidy(Graph(graph.nodes, graph.sizes, tuple(row for row in graph.outputs if row[0] in keep)))
    asked = [node for node in less.nodes if isinstance(node, Kernel) and node.kernel == "attention_gradient"]
    assert sorted(node.output for node in asked) == list(wanted)
    of_all = evaluate(graph, feeds)
    random = Random(repr(wanted))
    found = run_local(random_cutting(random, prepare(less), random_machine(random, (2, 2))).program, feeds)
    for name in keep:
        close(found[name], of_all[name], name)


@pytest.mark.parametrize(
    "dtype, rounding", [(torch.bfloat16, 3e-2), (torch.float16, 4e-3), (torch.float32, 2e-6)], ids=str
)
@pytest.mark.parametrize("name", ["causal", "grouped queries", "values of another width"])
def test_in_lower_precision_gradients_are_torchs_to_its_rounding(
    name: str, dtype: torch.dtype, rounding: float
) -> None:
    function, *args = CASES[name]
    check_gradients(function, *(arg.to(dtype) for arg in args), tolerance=rounding)
