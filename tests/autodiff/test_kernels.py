"""Kernels and their gradients: place, gather and scatter mean what they say, and all adjoints are torch's."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch

from einsplit.autodiff import grad
from einsplit.draft import Draft, Origin
from einsplit.evaluate import evaluate
from einsplit.graph import Kernel, dims_shape
from einsplit.kernels.registry import reference
from einsplit.runtime.kernels.families import KERNELS
from einsplit.scalar import operand
from tests.autodiff.einsums import Case
from tests.autodiff.kernels import kernel_case
from tests.autodiff.torch_meaning import gradients, torch_gradients, torch_meaning

SIZES = {"b": 2, "k": 5, "n": 3, "m": 7, "h": 2, "d": 3, "e": 3, "new": 6, "p": 4, "q": 3}
TIES = (0.0, 0.0, 1.0, 2.0)
X, Y = {"tensor": 0}, {"tensor": 1}

CASES = {
    "reshape": kernel_case("reshape", {}, "b (h d) -> (b h) d", SIZES),
    "reshape of a diagonal": kernel_case("reshape", {}, "h d -> new", SIZES, reads=["d h d"]),
    "reshape of what is repeated": kernel_case("reshape", {}, "b h d -> b new", SIZES, reads=["h b"]),
    "slice": kernel_case("slice", {"dim": 1, "start": 1, "step": 1}, "b k -> b n", SIZES),
    "slice with steps": kernel_case("slice", {"dim": 1, "start": 0, "step": 2}, "b m -> b n", SIZES),
    "slice backwards": kernel_case("slice", {"dim": 0, "start": 4, "step": -1}, "k b -> k b", SIZES),
    "slice of a composite": kernel_case("slice", {"dim": 1, "start": 2, "step": 1}, "b (h d) -> b n", SIZES),
    "place": kernel_case("place", {"dim": 1, "start": 1, "step": 2}, "b n -> b m", SIZES),
    "place backwards": kernel_case("place", {"dim": 0, "start": 6, "step": -3}, "n b -> m b", SIZES),
    "cat": kernel_case("cat", {"dim": 1}, "b n, b h, b h -> b m", SIZES),
    "cat of diagonals": kernel_case("cat", {"dim": 0}, "n, h -> k", SIZES, reads=["n n", "h h h"]),
    "top_k": kernel_case("top_k", {"dim": 1, "largest": True}, "b k -> b n", SIZES),
    "top_k with ties": kernel_case("top_k", {"dim": 0, "largest": False}, "m b -> n b", SIZES, values=TIES),
    "sort": kernel_case("sort", {"dim": 1, "descending": False}, "b m -> b m", SIZES),
    "sort with ties": kernel_case("sort", {"dim": 0, "descending": True}, "m b -> m b", SIZES, values=TIES),
    "cumsum": kernel_case("cumsum", {"dim": 1}, "b m -> b m", SIZES),
    "cumsum of a composite": kernel_case("cumsum", {"dim": 0}, "(h d) b -> (h d) b", SIZES),
    "gather": kernel_case("gather", {"dim": 1}, "b n, b m -> b m", SIZES, indices={1: 3}),
    "gather from above": kernel_case("gather", {"dim": 0}, "m b, n b -> n b", SIZES, indices={1: 7}),
    "scatter": kernel_case("scatter", {"dim": 1}, "b m, b m -> b n", SIZES, indices={1: 3}),
    "scatter from above": kernel_case("scatter", {"dim": 0}, "n b, n b -> m b", SIZES, indices={1: 7}),
}


def aten(operator: str, args: list[object]) -> dict[str, object]:
    return {"op": operator, "args": args, "kwargs": {}}


OPERATORS = {
    "singular values": kernel_case("aten", aten("aten.linalg_svdvals.default", [X]), "k n -> n", SIZES),
    "singular vectors": kernel_case("aten", aten("aten._linalg_svd.default", [X]), "k n -> n d", SIZES, output=2),
    "convolution": kernel_case(
        "aten",
        aten("aten.conv2d.default", [X, Y, None, [2, 1], [1, 0]]),
        "b n m k, h n d e -> b h p q",
        SIZES,
    ),
    "running product with zeros": kernel_case(
        "aten", aten("aten.cumprod.default", [X, 1]), "b m -> b m", SIZES, values=TIES
    ),
    "matrix exponential": kernel_case("aten", aten("aten.matrix_exp.default", [X]), "n d -> n d", SIZES),
    "product of a turned one and a diagonal": kernel_case(
        "aten", aten("aten.mm.default", [X, Y]), "n d, d e -> n e", SIZES, reads=["d n", "e d e"]
    ),
}
MEANINGS = {**CASES, **OPERATORS}


@pytest.mark.parametrize("name", MEANINGS)
def test_a_kernel_means_what_torch_has(name: str) -> None:
    """Its meaning in numpy, and the kernel that a device runs."""
    case = MEANINGS[name]
    wanted = torch_meaning(case.graph, tensors(case))["y"].numpy()
    np.testing.assert_allclose(evaluate(case.graph, case.feeds)["y"], wanted, rtol=1e-12, atol=1e-12)
    node = case.graph.nodes[-2]
    assert isinstance(node, Kernel)
    shapes = [dims_shape(dims, case.graph.sizes) for dims in (*node.reads, node.dims)]
    random = torch.Generator().manual_seed(0)
    operands = [
        torch.from_numpy(array)
        if array.dtype == np.int64
        else torch.randn(shape, generator=random, dtype=torch.float64)
        for array, shape in zip(case.feeds.values(), shapes, strict=False)
    ]
    attributes = msgspec.json.decode(node.attributes)
    found = KERNELS[node.kernel](attributes, operands, {node.output: shapes[-1]})[node.output]
    means = reference(node.kernel)(attributes, [operand.numpy() for operand in operands], shapes[-1])[node.output]
    np.testing.assert_allclose(found.numpy(), means, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MEANINGS)
def test_the_adjoints_of_a_kernel_are_those_of_torch(name: str) -> None:
    case = MEANINGS[name]
    found = evaluate(grad(case.graph, "loss", case.wrt), case.feeds)
    wanted = torch_gradients(case.graph, case.feeds, "loss", case.wrt)
    assert any(array.any() for array in wanted)
    for of, array in zip(case.wrt, wanted, strict=True):
        np.testing.assert_allclose(found[f"d(loss)/d({of})"], array, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", MEANINGS)
def test_the_adjoints_of_the_adjoints_are_those_of_torch(name: str) -> None:
    """Of the kernels that are linear, through the square of what they give."""
    case = squared(MEANINGS[name])
    (first, *_) = case.wrt
    once = grad(case.graph, "square", [first])
    gradient = dict(once.outputs)[f"d(square)/d({first})"]
    draft = Draft(once.nodes, once.sizes)
    row = draft.read(gradient)
    again = draft.einsum([row], (), operand(0) * operand(0) * operand(0), "sum", Origin("again"))
    twice = grad(draft.built((*once.outputs, ("again", again)), ()), "again", case.wrt)
    found = evaluate(twice, case.feeds)

    given = tensors(case)
    wrt = [given[of].requires_grad_() for of in case.wrt]
    (slope,) = gradients(torch_meaning(case.graph, given)["square"], wrt[:1], create_graph=True)
    wanted = gradients((slope**3).sum(), wrt)
    for of, array in zip(case.wrt, wanted, strict=True):
        scale = max(1.0, float(array.abs().max()))
        np.testing.assert_allclose(found[f"d(again)/d({of})"], array.numpy(), rtol=0, atol=1e-9 * scale)


def tensors(case: Case) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in case.feeds.items()}


def squared(case: Case) -> Case:
    """With the sum of the squares of what the kernel gives as output `square`."""
    draft = Draft(case.graph.nodes, case.graph.sizes)
    row = draft.read(len(draft.nodes) - 2)
    square = draft.einsum([row], (), operand(0) * operand(0), "sum", Origin("square"))
    return Case(draft.built((*case.graph.outputs, ("square", square)), ()), case.feeds)


# --------------------------------------------------------------------------------- by hand, and by hand alone


@pytest.mark.parametrize(
    "kernel, attributes, operands, shape, wanted",
    [
        ("place", {"dim": 0, "start": 1, "step": 2}, [[5.0, 6.0]], (5,), [0, 5, 0, 6, 0]),
        ("place", {"dim": 0, "start": 2, "step": -1}, [[5.0, 6.0, 7.0]], (3,), [7, 6, 5]),
        ("place", {"dim": 1, "start": 1, "step": 1}, [[[5.0], [6.0]]], (2, 3), [[0, 5, 0], [0, 6, 0]]),
        ("place", {"dim": 0, "start": 0, "step": 1}, [np.zeros((0, 2))], (2, 2), [[0, 0], [0, 0]]),
        ("gather", {"dim": 0}, [[5.0, 6.0], [1, 1, 0]], (3,), [6, 6, 5]),
        ("gather", {"dim": 1}, [[[5.0, 6.0], [7.0, 8.0]], [[1], [0]]], (2, 1), [[6], [7]]),
        ("scatter", {"dim": 0}, [[5.0, 6.0, 7.0], [2, 0, 2]], (4,), [6, 0, 12, 0]),
        ("scatter", {"dim": 0}, [[[5.0, 6.0], [7.0, 8.0]], [[1, 0], [1, 1]]], (2, 2), [[0, 6], [12, 8]]),
    ],
)
def test_place_gather_and_scatter(
    kernel: str, attributes: dict[str, object], operands: list[object], shape: tuple[int, ...], wanted: list[object]
) -> None:
    arrays = [np.array(operand) for operand in operands]
    (meant,) = reference(kernel)(attributes, arrays, shape)
    (run,) = KERNELS[kernel](attributes, [torch.from_numpy(array) for array in arrays], {0: shape})
    assert meant.dtype == run.numpy().dtype == np.float64
    np.testing.assert_array_equal(meant, wanted)
    np.testing.assert_array_equal(run.numpy(), wanted)


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32"])
def test_place_and_gather_keep_the_dtype(dtype: str) -> None:
    x, where = np.array([1, 0, 1]).astype(dtype), np.array([2, 2, 0])
    for kernel, operands in (("place", [x]), ("gather", [x, where])):
        attributes = {"dim": 0, "start": 0, "step": 1}
        (meant,) = reference(kernel)(attributes, operands, (3,))
        (run,) = KERNELS[kernel](attributes, [torch.from_numpy(array) for array in operands], {0: (3,)})
        assert meant.dtype == run.numpy().dtype == dtype
        np.testing.assert_array_equal(meant, run.numpy())
