"""Operators that act element by element, each as one join. Formulas are torch's own definitions of the operators."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from einsplit.capture.formulas import Formula
from einsplit.capture.reader import Known, Reader, rule
from einsplit.capture.rules.common import argument_expr, dtype_of, elementwise, is_tensor, promoted
from einsplit.scalar import Expr, call, cast, const, operand
from einsplit.views import Value

Scalar = bool | int | float
Argument = Known | Scalar


def _join(reader: Reader, make: Callable[..., Expr], *arguments: Argument, compute: str | None = None) -> object:
    """`make` of the arguments in the dtype torch computes in, cast to the dtype torch returns."""
    dtype = compute or promoted(*arguments)
    tensors: list[Known] = []
    exprs = []
    for argument in arguments:
        exprs.append(argument_expr(argument, len(tensors), dtype))
        if isinstance(argument, (Value, Formula, torch.Tensor)):
            tensors.append(argument)
    return elementwise(reader, make(*exprs), *tensors)


ARITHMETIC: dict[str, Callable[..., Expr]] = {
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "maximum": lambda x, y: call("max", x, y),
    "minimum": lambda x, y: call("min", x, y),
    "remainder": lambda x, y: x % y,
    "floor_divide": lambda x, y: x // y,
}
COMPARISON = ("eq", "ne", "lt", "le", "gt", "ge")
FLOAT: dict[str, Callable[[Expr], Expr]] = {
    **{
        name: (lambda x, name=name: call(name, x))  # type: ignore[misc]
        for name in ("exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "erf", "sin", "cos")
    },
    "reciprocal": lambda x: const(1) / x,
    "silu": lambda x: x * call("sigmoid", x),
    "log1p": lambda x: call("log", x + const(1)),
}
SAME: dict[str, Callable[[Expr], Expr]] = {
    "neg": lambda x: -x,
    "abs": lambda x: call("abs", x),
    "relu": lambda x: call("max", x, const(0)),
    "square": lambda x: x * x,
}
LOGICAL = {"logical_and": "and", "logical_or": "or", "__and__": "and", "__or__": "or"}
LOGICAL |= {"bitwise_and": "and", "bitwise_or": "or"}


def _register() -> None:
    for name, make in ARITHMETIC.items():
        for overload in ("Tensor", "Scalar", "default", "Tensor_Scalar"):
            rule(f"aten.{name}.{overload}")(_arithmetic(make))
    for name in COMPARISON:
        for overload in ("Tensor", "Scalar"):
            rule(f"aten.{name}.{overload}")(_arithmetic(lambda x, y, name=name: call(name, x, y)))
    for name, one in FLOAT.items():
        rule(f"aten.{name}.default")(_float(one))
    for name, one in SAME.items():
        rule(f"aten.{name}.default")(lambda reader, x, one=one: _join(reader, one, x))
    for name, op in LOGICAL.items():
        for overload in ("default", "Tensor", "Scalar"):
            rule(f"aten.{name}.{overload}")(_logical(op))


def _arithmetic(make: Callable[..., Expr]) -> Callable[..., object]:
    return lambda reader, x, y: _join(reader, make, x, y)


def _float(make: Callable[[Expr], Expr]) -> Callable[..., object]:
    return lambda reader, x: _join(reader, make, x, compute=reader.dtype)


def _logical(op: str) -> Callable[..., object]:
    def apply(reader: Reader, x: Argument, y: Argument) -> object:
        if any(is_tensor(a) and dtype_of(a) != "bool" for a in (x, y)):
            return NotImplemented  # bits of integers: the pointwise kernel knows them
        return _join(reader, lambda a, b: call(op, a, b), x, y, compute="bool")

    return apply


_register()


@rule("aten.add.Tensor", "aten.add.Scalar")
def add(reader: Reader, x: Argument, y: Argument, alpha: Scalar = 1) -> object:
    if dtype_of(x) == "bool" and promoted(x, y) == "bool":
        return _join(reader, lambda a, b: call("or", a, b), x, y)
    return _join(reader, lambda a, b: a + (b if alpha == 1 else b * const(alpha)), x, y)


@rule("aten.sub.Tensor", "aten.sub.Scalar", "aten.rsub.Scalar", "aten.rsub.Tensor")
def sub(reader: Reader, x: Argument, y: Argument, alpha: Scalar = 1) -> object:
    assert reader.node is not None
    swap = "rsub" in str(reader.node.target)
    scaled = lambda b: b if alpha == 1 else b * const(alpha)  # noqa: E731
    return _join(reader, lambda a, b: b - scaled(a) if swap else a - scaled(b), x, y)


@rule("aten.div.Tensor", "aten.div.Scalar")
def div(reader: Reader, x: Argument, y: Argument) -> object:
    return _join(reader, lambda a, b: a / b, x, y, compute=reader.dtype)


@rule("aten.pow.Tensor_Scalar", "aten.pow.Tensor_Tensor", "aten.pow.Scalar")
def power(reader: Reader, x: Argument, y: Argument) -> object:
    if isinstance(y, (int, float)) and y in (1, 2, 3):
        return _join(reader, lambda a: {1: a, 2: a * a, 3: a * a * a}[int(y)], x, compute=reader.dtype)
    if isinstance(y, (int, float)) and y == 0.5:
        return _join(reader, lambda a: call("sqrt", a), x, compute=reader.dtype)
    return _join(reader, lambda a, b: call("pow", a, b), x, y, compute=reader.dtype)


@rule("aten.gelu.default")
def gelu(reader: Reader, x: Known, approximate: str = "none") -> object:
    if approximate == "tanh":
        root = math.sqrt(2 / math.pi)
        inner = lambda a: const(root) * (a + const(0.044715) * a * a * a)  # noqa: E731
        return _join(reader, lambda a: const(0.5) * a * (const(1) + call("tanh", inner(a))), x)
    return _join(reader, lambda a: const(0.5) * a * (const(1) + call("erf", a * const(math.sqrt(0.5)))), x)


@rule("aten.leaky_relu.default")
def leaky_relu(reader: Reader, x: Known, slope: float = 0.01) -> object:
    return _join(reader, lambda a: call("where", call("gt", a, const(0)), a, a * const(slope)), x)


@rule("aten.clamp.default", "aten.clamp_min.default", "aten.clamp_max.default", "aten.hardtanh.default")
def clamp(reader: Reader, x: Known, low: Scalar | None = None, high: Scalar | None = None, **named: Scalar) -> object:
    assert reader.node is not None
    low, high = named.get("min", low), named.get("max", high)
    target = str(reader.node.target)
    if "clamp_max" in target:
        low, high = None, low
    if "hardtanh" in target:
        low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
    if isinstance(low, float) and low != low or isinstance(high, float) and high != high:
        return NotImplemented

    def make(a: Expr) -> Expr:
        a = a if low is None else call("max", a, cast(const(low), reader.dtype))
        return a if high is None else call("min", a, cast(const(high), reader.dtype))

    return _join(reader, make, x, compute=reader.dtype)


@rule("aten.logical_not.default", "aten.bitwise_not.default")
def logical_not(reader: Reader, x: Known) -> object:
    if dtype_of(x) != "bool":
        return NotImplemented
    return _join(reader, lambda a: call("not", a), x)


@rule("aten.where.self", "aten.where.ScalarOther", "aten.where.ScalarSelf", "aten.where.Scalar")
def where(reader: Reader, test: Known, x: Argument, y: Argument) -> object:
    tensors = [a for a in (test, x, y) if is_tensor(a)]
    positions = iter(range(1, 3))
    exprs = [argument_expr(a, next(positions) if is_tensor(a) else 0, reader.dtype) for a in (x, y)]
    return elementwise(reader, call("where", operand(0), *exprs), *tensors)  # type: ignore[arg-type]


@rule("aten.masked_fill.Scalar", "aten.masked_fill.Tensor")
def masked_fill(reader: Reader, x: Known, mask: Known, y: Argument) -> object:
    filler = argument_expr(y, 2, reader.dtype)
    tensors = [mask, x, *([y] if is_tensor(y) else [])]
    return elementwise(reader, call("where", operand(0), filler, operand(1)), *tensors)  # type: ignore[arg-type]


CASTS = ("to.dtype", "to.dtype_layout", "to.device", "_to_copy.default", "type_as.default", "to.other")


@rule(*(f"aten.{name}" for name in CASTS))
def to(reader: Reader, x: Known, *_: object, **__: object) -> object:
    if dtype_of(x) == reader.dtype:
        return x
    return elementwise(reader, cast(operand(0), reader.dtype), x)


@rule("aten.zeros_like.default", "aten.ones_like.default", "aten.full_like.default")
def constant_like(reader: Reader, x: Known, fill: Scalar = 0, **_: object) -> object:
    assert reader.node is not None
    number = 1 if "ones" in str(reader.node.target) else fill
    return Formula(reader.shape, cast(const(number), reader.dtype), reader.dtype)
