"""The rule of every scalar function, element by element, where functions have kinks, steps, zeros and no value."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from einsplit.autodiff import grad
from einsplit.evaluate import evaluate
from einsplit.graph import Einsum, Graph, Input, Operand
from einsplit.scalar import Expr, call, cast, const, operand
from tests.autodiff.einsums import BINARY, UNARY
from tests.autodiff.torch_meaning import torch_meaning

VALUES = (-np.inf, -2.5, -1.0, -0.0, 0.0, 0.1, 1.0, 3.0, np.inf, np.nan)
ADJOINTS = (1.0, -0.3, 0.0, np.inf, np.nan)


def pointwise(join: Expr, num_operands: int) -> Graph:
    """`y = join(x0, x1 ...)`, and `loss` = the sum of y times the input `dy`."""
    size = len(VALUES) ** num_operands * len(ADJOINTS)
    nodes = [
        Input(name=name, dims=(("i",),), dtype="float64") for name in ("dy", *map("x{}".format, range(num_operands)))
    ]
    read = tuple(Operand(at, ("i",)) for at in range(1, 1 + num_operands))
    y = Einsum(name="y", operands=read, dims=(("i",),), join=join, agg="sum", dtype="float64")
    pair = (Operand(len(nodes), ("i",)), Operand(0, ("i",)))
    loss = Einsum(name="loss", operands=pair, dims=(), join=operand(0) * operand(1), agg="sum", dtype="float64")
    return Graph((*nodes, y, loss), {"i": size}, (("y", len(nodes)), ("loss", len(nodes) + 1)))


def agree(join: Expr, num_operands: int) -> None:
    columns = np.array(list(product(ADJOINTS, *[VALUES] * num_operands))).T
    names = ("dy", *map("x{}".format, range(num_operands)))
    feeds = {name: np.ascontiguousarray(column) for name, column in zip(names, columns, strict=True)}
    graph = pointwise(join, num_operands)
    found = evaluate(grad(graph, "loss", names[1:]), feeds)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in feeds.items()}
    wrt = [tensors[name].requires_grad_() for name in names[1:]]
    y = torch_meaning(graph, tensors)["y"]
    wanted = torch.autograd.grad(y, wrt, tensors["dy"].detach(), allow_unused=True, materialize_grads=True)
    for name, array in zip(names[1:], wanted, strict=True):
        own = found[f"d(loss)/d({name})"]
        np.testing.assert_allclose(own, array.numpy(), rtol=1e-12, err_msg=name)


# floor and floordiv are constant: so the operand is added, or it would reach nothing.
@pytest.mark.parametrize("function", [name for name in UNARY if name not in ("floor", "stop_gradient")])
def test_functions_of_one_number(function: str) -> None:
    agree(call(function, operand(0)), 1)


@pytest.mark.parametrize("function", [name for name in BINARY if name != "floordiv"])
def test_functions_of_two_numbers(function: str) -> None:
    agree(call(function, operand(0), operand(1)), 2)


@pytest.mark.parametrize("exponent", [-2, -1, -0.5, 0, 0.5, 1, 2, 2.0, 3, 0.0])
def test_powers_to_a_constant(exponent: float) -> None:
    agree(call("pow", operand(0), const(exponent)), 1)


@pytest.mark.parametrize("base", [-1.0, 0.0, 0.5, 2.0])
def test_powers_of_a_constant(base: float) -> None:
    agree(call("pow", const(base), operand(0)), 1)


def test_the_adjoint_of_a_cast_is_rounded_as_what_was_cast() -> None:
    agree(cast(cast(operand(0), "float32"), "float64") * operand(0), 1)


def test_choices() -> None:
    x, y = operand(0), operand(1)
    agree(call("where", call("lt", x, y), x * y, y), 2)
    agree(call("where", call("eq", x, const(0.0)), y, x / y), 2)


@pytest.mark.parametrize("step", ["floor", "stop_gradient"])
def test_what_is_constant_for_derivatives_hands_nothing_on(step: str) -> None:
    """A straight-through step: x on the way back, whatever x is on the way there."""
    agree(operand(0) + call("stop_gradient", call(step, operand(0)) - operand(0)), 1)
    agree(call(step, operand(0)) + operand(0) * const(0.0), 1)
