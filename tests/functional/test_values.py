"""Every function of einsplit.functional is torch's: its value on arrays, tensors and symbolic values, its gradient."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import einsplit
from einsplit import functional as F
from einsplit.autodiff import grad, gradient_name
from einsplit.evaluate import evaluate
from einsplit.solver.prepare import prepare
from tests.functional.cases import CASES, Call, graph_of, results, torch_gradients
from tests.support.cuttings import random_cutting, random_machine, run_local

randoms = st.randoms(use_true_random=False)


def close(found: object, wanted: np.ndarray, name: str, tolerance: float = 1e-9) -> None:
    """Within `tolerance` of the largest element; the same shape and dtype."""
    array = np.asarray(found)
    assert (array.shape, array.dtype) == (wanted.shape, wanted.dtype), name
    scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
    np.testing.assert_allclose(array, wanted, rtol=0, atol=tolerance * scale, err_msg=name)


def torchs(call: Call) -> list[np.ndarray]:
    return [y.numpy() for y in results(call.theirs(*call.tensors())) if isinstance(y, Tensor)]


def test_every_function_has_its_cases() -> None:
    assert sorted(CASES) == F.__all__


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25)
@given(random=randoms)
def test_arrays_tensors_and_symbolic_values_give_what_torch_gives(name: str, random: Random) -> None:
    call = CASES[name](random)
    graph, feeds = graph_of(call)
    of_tensors = [y.numpy() for y in results(call.ours(*call.tensors())) if isinstance(y, Tensor)]
    of_graph = [array for output, array in evaluate(graph, feeds).items() if output != "loss"]
    for found in (results(call.ours(*call.operands)), of_tensors, of_graph):
        for array, wanted in zip(found, torchs(call), strict=True):
            close(array, wanted, name)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=12)
@given(random=randoms)
def test_gradients_are_torchs(name: str, random: Random) -> None:
    """Those of the Graph, and those that torch's autograd finds through the einsums."""
    call = CASES[name](random)
    graph, feeds = graph_of(call)
    found = evaluate(grad(graph, "loss", call.wrt), feeds)
    wanted = torch_gradients(call.theirs, call)
    for of, mine, array in zip(call.wrt, torch_gradients(call.ours, call), wanted, strict=True):
        close(found[gradient_name("loss", of)], array, of)
        close(mine, array, of)


@pytest.mark.parametrize("name", CASES)
def test_cut_over_two_devices_values_and_gradients_are_the_same(name: str) -> None:
    random = Random(name)
    call = CASES[name](random)
    graph, feeds = graph_of(call)
    whole = grad(graph, "loss", call.wrt)
    wanted = evaluate(whole, feeds)
    for _ in range(3):
        cutting = random_cutting(random, prepare(whole), random_machine(random, (2,)))
        found = run_local(cutting.program, feeds)
        for output, _ in whole.outputs:
            close(found[output], wanted[output], f"{output} of {cutting}")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_the_dtype_of_the_operands_is_that_of_the_result(name: str, dtype: str) -> None:
    call = CASES[name](Random(name))
    kind = getattr(torch, dtype)
    narrow = [x.to(kind) if x.is_floating_point() else x for x in call.tensors()]
    exact = call.theirs(*(x.double() if x.is_floating_point() else x for x in narrow))
    tolerance = {"float32": 1e-5, "float16": 1e-2, "bfloat16": 8e-2}[dtype]
    for found, wanted in zip(results(call.ours(*narrow)), results(exact), strict=True):
        assert isinstance(found, Tensor) and isinstance(wanted, Tensor)
        if wanted.is_floating_point():
            assert found.dtype == kind
            close(found.double().numpy(), wanted.numpy(), name, tolerance)


def test_a_traced_function_keeps_the_formulas() -> None:
    """What stands in a Graph is the einsums themselves: a lookup can be cut along its vocabulary."""

    def loss(ids: Tensor, table: Tensor, targets: Tensor) -> Tensor:
        x = F.rms_norm(F.embedding(ids, table))
        heads = F.attention(x[None], x[None], x[None], causal=True)[0]
        return F.cross_entropy(torch.einsum("sd,vd->sv", heads, table), targets)

    operands = (torch.tensor([1, 4, 0, 2]), torch.randn(5, 6), torch.tensor([4, 0, -100, 3]))
    graph = einsplit.trace(loss, *operands)
    joins = [einsplit.graph.node_text(node) for node in graph.nodes]
    assert sum("where(x == index(" in text for text in joins) == 2
    assert not any("aten" in text for text in joins)
    feeds = dict(zip(graph.inputs, (x.numpy() for x in operands), strict=True))
    (value,) = evaluate(graph, feeds).values()
    close(value, loss(*operands).numpy(), "loss", 1e-5)
