"""Operators that act element by element, each as one join. Formulas are torch's own definitions of the operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from einsplit.builder.views import Value
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import (
    Argument,
    Scalar,
    dtype_of,
    elementwise,
    in_dtype,
    is_tensor,
    pick,
    pointwise,
    promoted,
    scaled,
    shape_of,
)
from einsplit.capture.reader import Known, Reader, rule
from einsplit.dtypes import kind
from einsplit.scalar import Expr, call, cast, const, operand

ARITHMETIC: dict[str, Callable[[Expr, Expr], Expr]] = {
    "mul": lambda x, y: x * y,
    "maximum": lambda x, y: call("max", x, y),
    "minimum": lambda x, y: call("min", x, y),
    "remainder": lambda x, y: x % y,
    "floor_divide": lambda x, y: x // y,
}
OF_TRUTH = {"mul": "and", "maximum": "or", "minimum": "and"}  # what arithmetic is on booleans
COMPARISON = ("eq", "ne", "lt", "le", "gt", "ge")
FLOAT: dict[str, Callable[[Expr], Expr]] = {
    **{name: partial(call, name) for name in ("exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "erf", "sin", "cos")},
    "reciprocal": lambda x: const(1.0) / x,
    "silu": lambda x: x * call("sigmoid", x),
    "log_sigmoid": lambda x: call("min", x, const(0.0)) - call("log", const(1.0) + call("exp", -call("abs", x))),
    "hardswish": lambda x: _between(x, -3.0, 3.0, const(0.0), x * (x + const(3.0)) / const(6.0), x),
}
SAME: dict[str, Callable[[Expr], Expr]] = {
    "neg": lambda x: -x,
    "abs": lambda x: call("abs", x),
    "relu": lambda x: call("where", call("le", x, const(0)), const(0), x),
    "relu6": lambda x: _between(x, 0, 6, const(0), x, const(6)),
    "square": lambda x: x * x,
}
LOGICAL = {"logical_and": "and", "logical_or": "or", "logical_xor": "ne", "__and__": "and", "__or__": "or"}
LOGICAL |= {"bitwise_and": "and", "bitwise_or": "or", "bitwise_xor": "ne", "__xor__": "ne"}


def _between(x: Expr, low: Scalar, high: Scalar, below: Expr, inside: Expr, above: Expr) -> Expr:
    """`inside` between the bounds, else `below` or `above`; at a bound what is beyond it, as torch has it."""
    return call("where", call("le", x, const(low)), below, call("where", call("ge", x, const(high)), above, inside))


def _register() -> None:
    for name, make in ARITHMETIC.items():
        for overload in ("Tensor", "Scalar") if name in ("mul", "remainder") else ("default",):
            rule(f"aten.{name}.{overload}")(_arithmetic(name, make))
    rule("aten.floor_divide.Scalar")(_arithmetic("floor_divide", ARITHMETIC["floor_divide"]))
    rule("aten.max.other")(_arithmetic("maximum", ARITHMETIC["maximum"]))
    rule("aten.min.other")(_arithmetic("minimum", ARITHMETIC["minimum"]))
    for name in COMPARISON:
        for overload in ("Tensor", "Scalar"):
            rule(f"aten.{name}.{overload}")(_comparison(name))
    for name, one in FLOAT.items():
        rule(f"aten.{name}.default")(_unary(one))
    for name, one in SAME.items():
        rule(f"aten.{name}.default")(_unary(one))
    for name, op in LOGICAL.items():
        for overload in ("default",) if name.startswith("logical") else ("Tensor", "Scalar"):
            rule(f"aten.{name}.{overload}")(_logical(name, op))


def _arithmetic(name: str, make: Callable[[Expr, Expr], Expr]) -> Callable[..., object]:
    def apply(reader: Reader, x: Argument, y: Argument) -> object:
        if not (_is_real(x) and _is_real(y)):
            return NotImplemented
        if reader.dtype == "bool":
            return _truth(reader, OF_TRUTH[name], x, y) if name in OF_TRUTH else NotImplemented
        if name == "mul" and _is_one(y) and not isinstance(x, (bool, int, float)):
            return in_dtype(reader, x, reader.dtype)
        return pointwise(reader, make, x, y, dtype=reader.dtype)

    return apply


def _comparison(name: str) -> Callable[..., object]:
    def apply(reader: Reader, x: Argument, y: Argument) -> object:
        if not (_is_real(x) and _is_real(y)):
            return NotImplemented
        return pointwise(reader, lambda a, b: call(name, a, b), x, y, dtype=promoted(x, y))

    return apply


def _unary(make: Callable[[Expr], Expr]) -> Callable[..., object]:
    def apply(reader: Reader, x: Known) -> object:
        if reader.dtype == "bool" or not _is_real(x):
            return NotImplemented
        return pointwise(reader, make, x, dtype=reader.dtype)

    return apply


def _logical(name: str, op: str) -> Callable[..., object]:
    def apply(reader: Reader, x: Argument, y: Argument) -> object:
        if reader.dtype != "bool":
            return NotImplemented  # bits of integers: the pointwise kernel knows them
        return _truth(reader, op, x, y)

    return apply


def _truth(reader: Reader, op: str, *arguments: Argument) -> Value | Formula:
    """`op` of whether each argument differs from 0."""
    return pointwise(reader, lambda *exprs: call(op, *exprs), *arguments, dtype="bool")


def _is_one(argument: Argument) -> bool:
    return isinstance(argument, (bool, int, float)) and argument == 1


def _is_real(argument: Argument) -> bool:
    """Whether it is no complex number: those are left to torch's own kernels."""
    if isinstance(argument, (bool, int, float)):
        return True
    return is_tensor(argument) and kind(dtype_of(argument)) != "complex"


_register()


@rule(
    "aten.add.Tensor", "aten.add.Scalar", "aten.sub.Tensor", "aten.sub.Scalar", "aten.rsub.Scalar", "aten.rsub.Tensor"
)
def add(reader: Reader, x: Argument, y: Argument, alpha: Scalar = 1) -> object:
    """`x + alpha * y`, `x - alpha * y`, or, reversed, `y - alpha * x`."""
    if not (_is_real(x) and _is_real(y) and _is_real(alpha)):
        return NotImplemented
    if reader.dtype == "bool":  # which torch adds, and does not subtract
        return _truth(reader, "or", x, y) if alpha else NotImplemented
    if "rsub" in reader.target:
        x, y = y, x
    if "sub" in reader.target:
        return pointwise(reader, lambda a, b: a - scaled(b, alpha), x, y, dtype=reader.dtype)
    return pointwise(reader, lambda a, b: a + scaled(b, alpha), x, y, dtype=reader.dtype)


@rule("aten.div.Tensor", "aten.div.Scalar", "aten.true_divide.Tensor", "aten.true_divide.Scalar")
def div(reader: Reader, x: Argument, y: Argument) -> object:
    """`x / y`; what is divided by 1 is itself."""
    if not (_is_real(x) and _is_real(y)):
        return NotImplemented
    if _is_one(y) and not isinstance(x, (bool, int, float)):
        return in_dtype(reader, x, reader.dtype)
    return pointwise(reader, lambda a, b: a / b, x, y, dtype=reader.dtype)


@rule("aten.pow.Tensor_Scalar", "aten.pow.Tensor_Tensor", "aten.pow.Scalar")
def power(reader: Reader, x: Argument, y: Argument) -> object:
    """`x ^ y`; of the exponents 1, 2 and 3 as products, of 0.5 as a root."""
    if not (_is_real(x) and _is_real(y)) or reader.dtype == "bool":
        return NotImplemented
    if isinstance(y, (int, float)) and y in (1, 2, 3):
        times = int(y)
        return pointwise(reader, lambda a: (a, a * a, a * a * a)[times - 1], x, dtype=reader.dtype)
    if isinstance(y, float) and y == 0.5:
        return pointwise(reader, lambda a: call("sqrt", a), x, dtype=reader.dtype)
    return pointwise(reader, lambda a, b: call("pow", a, b), x, y, dtype=reader.dtype)


@rule("aten.gelu.default")
def gelu(reader: Reader, x: Known, approximate: str = "none") -> object:
    """`x` times the share of a normal distribution below `x`, or its approximation by tanh."""
    return pointwise(reader, _gelu_tanh if approximate == "tanh" else _gelu_erf, x, dtype=reader.dtype)


def _gelu_erf(x: Expr) -> Expr:
    return const(0.5) * x * (const(1) + call("erf", x * const(math.sqrt(0.5))))


def _gelu_tanh(x: Expr) -> Expr:
    inner = const(math.sqrt(2 / math.pi)) * (x + const(0.044715) * x * x * x)
    return const(0.5) * x * (const(1) + call("tanh", inner))


@rule("aten.leaky_relu.default")
def leaky_relu(reader: Reader, x: Known, slope: float = 0.01) -> object:
    """`x` where positive, else `slope * x`."""
    return pointwise(reader, lambda a: _rectified(a, a * const(slope)), x, dtype=reader.dtype)


def _rectified(x: Expr, below: Expr) -> Expr:
    """`x` where positive, else `below`."""
    return call("where", call("gt", x, const(0)), x, below)


@rule("aten.glu.default")
def glu(reader: Reader, x: Known, dim: int = -1) -> object:
    """`a * sigmoid(b)` of the halves of `x` along `dim`."""
    value = reader.value(x)
    dim %= value.ndim
    half = value.shape[dim] // 2
    parted = (*value.shape[:dim], 2, half, *value.shape[dim + 1 :])
    halves = [pick(reader, reader.builder.reshape(value, parted, reader.origin("halves")), dim, k) for k in (0, 1)]
    return pointwise(reader, lambda a, b: a * call("sigmoid", b), *halves, dtype=reader.dtype)


@rule("aten.prelu.default")
def prelu(reader: Reader, x: Known, weight: Known) -> object:
    """`x` where positive, else `weight * x`; one weight, or one for each element along dimension 1."""
    slope = reader.value(weight)
    if slope.ndim == 1 and len(shape_of(x)) > 1:
        slope = reader.builder.reshape(slope, (*slope.shape, *(1 for _ in shape_of(x)[2:])), reader.origin("weight"))
    return pointwise(reader, lambda a, w: _rectified(a, w * a), x, slope, dtype=reader.dtype)


@rule(
    "aten.clamp.default",
    "aten.clamp_min.default",
    "aten.clamp_max.default",
    "aten.clip.default",
    "aten.hardtanh.default",
)
def clamp(reader: Reader, x: Known, low: Scalar | None = None, high: Scalar | None = None, **named: Scalar) -> object:
    """`min(max(x, low), high)`, either may be missing; at a bound clamp's gradient is 1, hardtanh's 0."""
    low, high = named.get("min", low), named.get("max", high)
    if "clamp_max" in reader.target:
        low, high = None, low
    if "hardtanh" in reader.target:
        low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
    if any(bound is not None and bound != bound for bound in (low, high)):
        return NotImplemented  # max and min of a number and NaN are NaN; torch's own kernel knows which bound counts

    below, above = ("le", "ge") if "hardtanh" in reader.target else ("lt", "gt")

    def make(a: Expr) -> Expr:
        a = a if low is None else call("where", call(below, a, const(low)), const(low), a)
        return a if high is None else call("where", call(above, a, const(high)), const(high), a)

    return pointwise(reader, make, x, dtype=reader.dtype)


@rule("aten.logical_not.default", "aten.bitwise_not.default")
def logical_not(reader: Reader, x: Known) -> object:
    return _truth(reader, "not", x) if reader.dtype == "bool" else NotImplemented


@rule("aten.isnan.default")
def isnan(reader: Reader, x: Known) -> object:
    return pointwise(reader, lambda a: call("ne", a, a), x, dtype=dtype_of(x)) if _is_real(x) else NotImplemented


@rule("aten.where.self", "aten.where.ScalarOther", "aten.where.ScalarSelf", "aten.where.Scalar")
def where(reader: Reader, test: Known, x: Argument, y: Argument) -> object:
    return _choice(reader, test, x, y)


@rule("aten.masked_fill.Scalar", "aten.masked_fill.Tensor")
def masked_fill(reader: Reader, x: Known, mask: Known, fill: Argument) -> object:
    return _choice(reader, mask, fill, x)


def _choice(reader: Reader, test: Known, x: Argument, y: Argument) -> object:
    """`where(test, x, y)` in the dtype of the result."""
    if dtype_of(test) != "bool" or not (_is_real(x) and _is_real(y)):
        return NotImplemented
    tensors: list[Known] = [test]
    branches: list[Expr] = []
    for branch in (x, y):
        if isinstance(branch, (bool, int, float)):
            branches.append(cast(const(branch), reader.dtype))
            continue
        tensors.append(branch)
        read = operand(len(tensors) - 1)
        branches.append(read if dtype_of(branch) == reader.dtype else cast(read, reader.dtype))
    return elementwise(reader, call("where", operand(0), *branches), *tensors)
