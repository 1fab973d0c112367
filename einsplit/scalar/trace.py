"""Joins written as Python functions: called once with symbols, which record what is done to them.

    einsum("i j, j k -> i k", a, b, join=lambda x, y: where(x > y, x - y, 0), agg="max")

`where`, `exp`, `index` and the others of this module are for use inside such functions.
"""

import inspect
import typing
from collections.abc import Callable
from typing import NoReturn

from einsplit.errors import EinsplitError, NotationError, advice
from einsplit.scalar import expr as build
from einsplit.scalar.expr import Expr, lift, operand
from einsplit.scalar.operators import Arithmetic, Number


class Symbol(Arithmetic):
    """A scalar that is not known yet. Every operation on it, `==` and `!=` included, gives another Symbol."""

    __slots__ = ("expr",)  # no hash: a class that says what `==` is has none unless it says so

    def __init__(self, expr: Expr) -> None:
        self.expr = expr

    def _apply(self, op: str, *args: object) -> "Symbol":
        return _call(op, *args)

    # Every object promises a bool here, and a Symbol is what comes: it stands for one, as numpy's arrays do.
    def __eq__(self, other: object) -> bool:
        return typing.cast("bool", _call("eq", self, other))

    def __ne__(self, other: object) -> bool:
        return typing.cast("bool", _call("ne", self, other))

    def __array_ufunc__(self, ufunc: Callable[..., object], method: str, *inputs: object, **_: object) -> "Symbol":
        """numpy's own functions work on symbols where the algebra has them."""
        name = getattr(ufunc, "__name__", "")
        if method != "__call__" or name not in _UFUNCS:
            raise NotationError(f"numpy's {name} has no place in a join.", advice(name, _UFUNCS))
        return _call(_UFUNCS[name], *inputs)

    def __float__(self) -> NoReturn:
        self._refuse()

    def __int__(self) -> NoReturn:
        self._refuse()

    def __iter__(self) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise NotationError(
            "a join has no numbers while it is traced: its operands are symbols.",
            "Use exp, sqrt, maximum ... of einsplit.scalar.trace instead of those of math or torch.",
        )

    def __repr__(self) -> str:
        return f"Symbol[{self.expr!r}]"


Scalar = Symbol | Number


def trace_join(function: Callable[..., object], num_operands: int) -> Expr:
    """The expression that `function` computes of its operands, found by calling it once with symbols.

    Nothing of the function itself is kept. Raises NotationError where it takes another number of arguments,
    asks a symbol for its truth value or number, fails on symbols, or returns anything but a scalar.
    """
    symbols = [Symbol(operand(position)) for position in range(num_operands)]
    try:
        inspect.signature(function).bind(*symbols)
    except TypeError as error:
        raise NotationError(
            f"the join cannot be called with {num_operands} operands: {error}.",
            "It takes one argument for each operand, in order.",
        ) from error
    except ValueError:  # a builtin without a signature: the call itself will tell
        pass
    try:
        result = function(*symbols)
    except EinsplitError:
        raise
    except Exception as error:
        raise NotationError(
            f"the join fails on symbolic operands: {type(error).__name__}: {error}.",
            "It is called once with symbols: use their operators, and functions of einsplit.scalar.trace such as exp.",
        ) from error
    try:
        return _expr(result)
    except NotationError as error:
        raise NotationError(
            f"the join returned {type(result).__name__}, not a scalar.", "Return an expression of its operands."
        ) from error


def _expr(value: object) -> Expr:
    return value.expr if isinstance(value, Symbol) else lift(value)


def _call(op: str, *args: object) -> Symbol:
    return Symbol(Expr(op, tuple(_expr(arg) for arg in args)))


# numpy's names for what the algebra has.
_UFUNCS = {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "floor_divide": "floordiv",
    "remainder": "mod",
    "power": "pow",
    "negative": "neg",
    "equal": "eq",
    "not_equal": "ne",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "logical_and": "and",
    "logical_or": "or",
    "logical_not": "not",
    "bitwise_and": "and",
    "bitwise_or": "or",
    "invert": "not",
    "absolute": "abs",
    "maximum": "max",
    "minimum": "min",
    "exp": "exp",
    "log": "log",
    "sqrt": "sqrt",
    "tanh": "tanh",
    "sin": "sin",
    "cos": "cos",
    "floor": "floor",
}


def index(label: str) -> Symbol:
    """The index along a label, from 0."""
    return Symbol(build.index(label))


def cast(x: Scalar, dtype: str) -> Symbol:
    """x in another dtype."""
    return Symbol(build.cast(_expr(x), dtype))


def where(condition: Scalar, x: Scalar, y: Scalar) -> Symbol:
    """x where the condition holds, else y."""
    return _call("where", condition, x, y)


def random(seed: Scalar, *indices: Scalar) -> Symbol:
    """A float32 in [0, 1) that depends on the integers given and on nothing else."""
    return _call("random", seed, *indices)


def maximum(x: Scalar, y: Scalar) -> Symbol:
    """The larger one; NaN where one is NaN."""
    return _call("max", x, y)


def minimum(x: Scalar, y: Scalar) -> Symbol:
    """The smaller one; NaN where one is NaN."""
    return _call("min", x, y)


def stop_gradient(x: Scalar) -> Symbol:
    """The value itself, a constant for whoever differentiates."""
    return _call("stop_gradient", x)


def floor(x: Scalar) -> Symbol:
    """The largest integer that is not larger, in the dtype of x."""
    return _call("floor", x)


def exp(x: Scalar) -> Symbol:
    """e to the power x."""
    return _call("exp", x)


def log(x: Scalar) -> Symbol:
    """The natural logarithm; -inf at 0, NaN below."""
    return _call("log", x)


def sqrt(x: Scalar) -> Symbol:
    """The square root; NaN below 0."""
    return _call("sqrt", x)


def rsqrt(x: Scalar) -> Symbol:
    """1 / sqrt(x)."""
    return _call("rsqrt", x)


def tanh(x: Scalar) -> Symbol:
    """The hyperbolic tangent."""
    return _call("tanh", x)


def sigmoid(x: Scalar) -> Symbol:
    """1 / (1 + exp(-x))."""
    return _call("sigmoid", x)


def erf(x: Scalar) -> Symbol:
    """The error function."""
    return _call("erf", x)


def sin(x: Scalar) -> Symbol:
    """The sine."""
    return _call("sin", x)


def cos(x: Scalar) -> Symbol:
    """The cosine."""
    return _call("cos", x)
