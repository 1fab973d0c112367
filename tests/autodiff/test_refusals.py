"""Gradients that do not exist are refused, and the message says which and what to do."""

from __future__ import annotations

import numpy as np
import pytest

from einsplit.autodiff import grad
from einsplit.errors import GradientError
from einsplit.evaluate import evaluate
from einsplit.graph import Einsum, Graph, Input, Kernel, Operand
from einsplit.scalar import Expr, call, cast, operand
from tests.autodiff.kernels import kernel_case


def graph(*steps: Expr, dtype: str = "float64") -> Graph:
    """`y` = the last step of the one before, from `weight[i]`; each an output; and `count`, an integer input."""
    nodes: list[Input | Einsum | Kernel] = [
        Input(name="weight", dims=(("i",),), dtype="float64"),
        Input(name="count", dims=(("i",),), dtype="int64"),
    ]
    outputs = []
    at = 0
    for k, (join, made) in enumerate(zip(steps, dtype.split(), strict=True)):
        node = Einsum(
            name=f"step{k}",
            operands=(Operand(at, ("i",)),),
            dims=(("i",),),
            join=join,
            agg="sum",
            dtype=made,
            source=f"model.py:{10 + k}",
        )
        nodes.append(node)
        at = len(nodes) - 1
        outputs.append((f"step{k}", at))
    total = Einsum(name="loss", operands=(Operand(at, ("i",)),), dims=(), join=operand(0), agg="sum", dtype=made)
    return Graph((*nodes, total), {"i": 3}, (*outputs, ("loss", len(nodes))))


X = operand(0)
PLAIN = graph(X * X, dtype="float64")
COUNTS = graph(call("floor", X), cast(X, "int64"), dtype="float64 int64")
COMPLEX = graph(cast(X, "complex128"), call("abs", X), dtype="complex128 float64")
INSIDE = graph(call("abs", cast(X, "complex64") * cast(X, "complex64")), dtype="float32")


@pytest.mark.parametrize(
    "given, of, wrt, message",
    [
        (PLAIN, "lost", ["weight"], "the graph has no output 'lost'.\n  Did you mean 'loss'?"),
        (PLAIN, "q", ["weight"], "the graph has no output 'q'.\n  Outputs: step0, loss."),
        (PLAIN, "loss", ["weigth"], "the graph has no input 'weigth'.\n  Did you mean 'weight'?"),
        (PLAIN, "loss", ["weight", "q"], "the graph has no input 'q'.\n  Inputs: weight, count."),
        (PLAIN, "loss", ["step0"], "the graph has no input 'step0'.\n  Inputs: weight, count."),
        (
            PLAIN,
            "step0",
            ["weight"],
            "output 'step0' has shape (3,), and one number is differentiated.\n  Sum it.",
        ),
        (COUNTS, "loss", ["weight"], "output 'loss' is int64.\n  Real numbers have gradients: cast it."),
        (PLAIN, "loss", ["count"], "input 'count' is int64.\n  Only real numbers have gradients."),
        (
            COMPLEX,
            "loss",
            ["weight"],
            "step1: complex numbers are not differentiated: abs(x).\n"
            "  Compute with real and imaginary parts, or detach it.\n"
            "  model.py:11",
        ),
        (
            INSIDE,
            "loss",
            ["weight"],
            "step0: complex numbers are not differentiated: cast(x, complex64).\n"
            "  Compute with real and imaginary parts, or detach it.\n"
            "  model.py:10",
        ),
    ],
)
def test_the_message_names_what_cannot_be_differentiated(given: Graph, of: str, wrt: list[str], message: str) -> None:
    with pytest.raises(GradientError) as caught:
        grad(given, of, wrt)
    assert str(caught.value) == message


def test_complex_numbers_that_no_gradient_passes_are_welcome() -> None:
    grad(COMPLEX, "loss", [])
    held = graph(call("abs", cast(call("stop_gradient", X), "complex128")) + X, dtype="float64")
    assert held.nodes[-1].dtype == "float64"
    grad(held, "loss", ["weight"])


def test_complex_data_beside_a_weight_is_welcome() -> None:
    data = Input(name="data", dims=(("i",),), dtype="complex128")
    weight = Input(name="weight", dims=(("i",),), dtype="float64")
    read = (Operand(0, ("i",)), Operand(1, ("i",)))
    loss = Einsum(name="loss", operands=read, dims=(), join=call("abs", X) * operand(1), agg="sum", dtype="float64")
    found = evaluate(
        grad(Graph((data, weight, loss), {"i": 1}, (("loss", 2),)), "loss", ["weight"]),
        {"data": np.array([3 + 4j]), "weight": np.ones(1)},
    )
    assert found["d(loss)/d(weight)"] == 5.0


def test_a_complex_kernel_is_named() -> None:
    attributes = {"op": "aten._fft_r2c.default", "args": [{"tensor": 0}, [1], 0, True], "kwargs": {}}
    case = kernel_case("aten", attributes, "b k -> b n", {"b": 2, "k": 5, "n": 3})
    kernel = case.graph.nodes[1]
    assert isinstance(kernel, Kernel)
    changed = [
        *case.graph.nodes[:1],
        Kernel(**{field: getattr(kernel, field) for field in kernel.__struct_fields__} | {"dtype": "complex128"}),
        Einsum(
            name="loss",
            operands=(Operand(1, ("b", "n")),),
            dims=(),
            join=call("abs", operand(0)),
            agg="sum",
            dtype="float64",
        ),
    ]
    message = (
        "loss: complex numbers are not differentiated: abs(x).\n  Compute with real and imaginary parts, or detach it."
    )
    with pytest.raises(GradientError) as caught:
        grad(Graph(tuple(changed), case.graph.sizes, (("loss", 2),)), "loss", ["x0"])
    assert str(caught.value) == message


def test_an_operator_without_gradient_is_named() -> None:
    attributes = {"op": "aten.igamma.default", "args": [{"tensor": 0}, {"tensor": 1}], "kwargs": {}}
    case = kernel_case("aten", attributes, "b k, b k -> b k", {"b": 2, "k": 3})
    with pytest.raises(GradientError) as caught:
        grad(case.graph, "loss", ["x0"])
    assert str(caught.value) == (
        "aten has no gradient in torch: the derivative for 'igamma: input' is not implemented.\n"
        "  Register one (torch.library.register_autograd), or detach what it is given."
    )
    grad(case.graph, "loss", ["x1"])
