"""A gradient is a Graph: its gradient, and its finite differences."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from einsplit.autodiff import grad, gradient_name
from einsplit.builder import Builder
from einsplit.builder.views import Value
from einsplit.draft import Draft, Origin
from einsplit.einsum import einsum
from einsplit.evaluate import evaluate
from einsplit.graph import Graph
from einsplit.scalar import operand
from tests.autodiff.einsums import AGGREGATIONS, Case, random_case
from tests.autodiff.torch_meaning import gradients, torch_meaning

seeds = st.integers(0, 2**32 - 1)


def with_slope(case: Case, wrt: list[str]) -> Graph:
    """The graph of the gradients of `loss`, and as output `slope` the sum of all of them and of their cubes."""
    graph = grad(case.graph, "loss", wrt)
    draft = Draft(graph.nodes, graph.sizes)
    outputs = dict(graph.outputs)
    cubes = [
        draft.einsum(
            [draft.read(outputs[gradient_name("loss", name)])],
            (),
            operand(0) * operand(0) * operand(0) + operand(0),
            "sum",
            Origin(""),
        )
        for name in wrt
    ]
    slope = cubes[0]
    for at in cubes[1:]:
        slope = draft.einsum([draft.read(slope), draft.read(at)], (), operand(0) + operand(1), "sum", Origin("slope"))
    return draft.built((*graph.outputs, ("slope", slope)), graph.updates)


def agree_twice(case: Case) -> None:
    """The gradient of a function of the gradient is what torch's double backward gives."""
    found = evaluate(grad(with_slope(case, case.wrt), "slope", case.wrt), case.feeds)
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in case.feeds.items()}
    wrt = [tensors[name].requires_grad_() for name in case.wrt]
    slopes = gradients(torch_meaning(case.graph, tensors)["loss"], wrt, create_graph=True)
    total = torch.stack([(slope**3 + slope).sum() for slope in slopes]).sum()
    for name, array in zip(case.wrt, gradients(total, wrt), strict=True):
        wanted = array.numpy()
        scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
        np.testing.assert_allclose(found[gradient_name("slope", name)], wanted, rtol=0, atol=1e-9 * scale, err_msg=name)


def softmax(x: Value) -> Value:
    total = einsum("b c -> b", x, agg="logsumexp")
    return einsum("b c, b -> b c", x, total, join="exp(x - y)")


def smallest_products(x: Value) -> Value:
    return einsum("b c -> b", x, agg="prod")


HEADS: dict[str, Callable[[Value], Value]] = {
    "softmax": softmax,
    "prod": smallest_products,
    "max": lambda x: einsum("b c -> b", x, agg="max"),
    "mean": lambda x: einsum("b c -> c", x, join="tanh(x) * x", agg="mean"),
}


@pytest.mark.parametrize("head", HEADS)
def test_the_second_derivative_of_a_small_network_is_that_of_torch(head: str) -> None:
    """Weights with rows of zeros: products then hold one zero, and two."""
    builder = Builder()
    x, w, v = (builder.input(name, shape, "float64") for name, shape in (("x", (3, 4)), ("w", (4, 5)), ("v", (5, 3))))
    hidden = einsum("b i, i h -> b h", x, w)
    bent = einsum("b h -> b h", hidden, join="tanh(x)")
    head_of = HEADS[head](einsum("b h, h c -> b c", bent, v))
    loss = einsum("... -> ", einsum("... -> ...", head_of, join="x * x + x"), agg="sum")
    random = np.random.default_rng(0)
    feeds = {name: random.normal(size=shape) for name, shape in (("x", (3, 4)), ("w", (4, 5)), ("v", (5, 3)))}
    feeds["v"][:, 0] = 0.0
    feeds["x"][1] = 0.0
    agree_twice(Case(builder.build({"loss": loss}), feeds))


@pytest.mark.parametrize("zeros", range(4))
def test_second_derivatives_of_products_with_zeros(zeros: int) -> None:
    builder = Builder()
    x = builder.input("x", (1, 4), "float64")
    loss = einsum("b ->", einsum("b c -> b", x, agg="prod"), join="x + x * x", agg="sum")
    feeds = {"x": np.array([[2.0, -3.0, 0.5, 1.5]])}
    feeds["x"][0, :zeros] = 0.0
    agree_twice(Case(builder.build({"loss": loss}), feeds))


@pytest.mark.parametrize("agg", AGGREGATIONS)
@given(seed=seeds)
@settings(max_examples=25)
def test_second_derivatives_of_random_einsums(agg: str, seed: int) -> None:
    case = random_case(Random(seed), "smooth", agg=agg, num_nodes=2)
    if "float32" not in repr(case.graph):
        agree_twice(case)


@pytest.mark.parametrize("agg", AGGREGATIONS)
@given(seed=seeds)
@settings(max_examples=15)
def test_gradients_are_limits_of_differences(agg: str, seed: int) -> None:
    """At points where nothing jumps and no two elements are equal; torch has no part in this."""
    case = random_case(Random(seed), "smooth", agg=agg)
    text = repr(case.graph)
    if any(word in text for word in ("float32", "floor", "//", "%", "stop_gradient", "rsqrt", "log(", "nan")):
        return
    found = evaluate(grad(case.graph, "loss", case.wrt), case.feeds)
    random = np.random.default_rng(seed)
    step = 1e-5
    direction = {name: random.normal(size=case.feeds[name].shape) for name in case.wrt}

    def loss(distance: float) -> float:
        moved = {name: case.feeds[name] + distance * direction[name] for name in case.wrt}
        return float(evaluate(case.graph, case.feeds | moved)["loss"])

    slopes = [(loss(k * step) - loss(-k * step)) / (2 * k * step) for k in (1, 2)]
    if not np.isfinite(slopes).all() or abs(slopes[0] - slopes[1]) > 1e-7 * max(1.0, abs(slopes[0])):
        return  # a jump, a kink or no value nearby
    slope = sum(np.vdot(found[gradient_name("loss", name)], direction[name]) for name in case.wrt)
    assert slope == pytest.approx(slopes[0], rel=1e-5, abs=1e-5)
