"""What an expression means: one interpreter for every array library, and numpy's table for it."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from einsplit.dtypes import numpy_dtype
from einsplit.scalar.counter import random_bits
from einsplit.scalar.expr import Expr
from einsplit.scalar.operators import Number
from einsplit.scalar.typed import Step, typed_steps

A = TypeVar("A")
Array = NDArray[np.generic]
Integers = NDArray[np.int64]


def evaluate(
    expr: Expr,
    operands: Sequence[A],
    dtypes: Sequence[str],
    index: Callable[[str], A],
    table: Mapping[str, Callable[..., A]],
) -> A:
    """The elements of the join, in result_dtype(expr, dtypes).

    `operands` broadcast against each other and have the dtypes given; `index(label)` gives int64 indices that
    broadcast with them. The result may have fewer dimensions than they (a join of constants has none).
    `table` has a row for each operator of OPERATORS, of arguments that all have one dtype, and the rows
    `const(value, dtype)` and `cast(array, dtype)`. Raises DtypeError.
    """
    return run_steps(typed_steps(expr, dtypes), operands, index, table)


def run_steps(
    steps: Sequence[Step],
    operands: Sequence[A],
    index: Callable[[str], A],
    table: Mapping[str, Callable[..., A]],
) -> A:
    """The result of the last step. Every step runs once, and its result is dropped after its last use."""
    last_use = {arg: at for at, step in enumerate(steps) for arg in step.args}
    values: dict[int, A] = {}
    with np.errstate(all="ignore"):  # infinities and NaN are values here, not accidents
        for at, step in enumerate(steps):
            if step.op == "operand":
                values[at] = operands[int(step.value or 0)]
            elif step.op == "index":
                values[at] = index(step.name or "")
            elif step.op == "const":
                values[at] = table["const"](step.value, step.dtype)
            elif step.op == "cast":
                values[at] = table["cast"](values[step.args[0]], step.dtype)
            else:
                values[at] = table[step.op](*(values[arg] for arg in step.args))
            for arg in set(step.args):
                if last_use[arg] == at:
                    del values[arg]
    return values[len(steps) - 1]


def _const(value: Number, dtype: str) -> Array:
    # By way of int64, so that a large integer is rounded to a float once and not twice.
    return np.asarray(value, np.int64 if type(value) is int else None).astype(numpy_dtype(dtype))


def _cast(array: Array, dtype: str) -> Array:
    return np.asarray(array).astype(numpy_dtype(dtype))


def _pow(base: Integers, exponent: Integers) -> Array:
    """Powers; those of integers to negative exponents are truncated, as torch has it (numpy refuses them)."""
    if np.asarray(exponent).dtype.kind != "i":
        return np.power(base, exponent)
    one = np.ones((), np.asarray(base).dtype)
    sign = np.where(exponent % 2 == 0, one, base)  # of 1 and -1
    inverse = np.where((base == 1) | (base == -1), sign, one * 0)
    return np.where(exponent >= 0, np.power(base, np.maximum(exponent, 0)), inverse)


def _sigmoid(x: NDArray[np.float64]) -> Array:
    decay = np.exp(-np.abs(x))  # of a non-positive number: never overflows
    return np.where(x >= 0, 1 / (1 + decay), decay / (1 + decay))


_math_erf = np.frompyfunc(math.erf, 1, 1)


def _erf(x: Array) -> Array:
    values = np.asarray(_math_erf(np.asarray(x).astype(np.float64)))
    return values.astype(np.asarray(x).dtype)


def _random(*integers: Integers) -> Array:
    """The upper 24 bits of the hash, as a multiple of 2**-24: exact in float32, and never 1."""
    bits = random_bits(*(np.asarray(integer) for integer in integers))
    return np.asarray(bits >> 8).astype(np.float32) * np.float32(2.0**-24)


NUMPY: Mapping[str, Callable[..., Array]] = {
    "const": _const,
    "cast": _cast,
    "or": np.logical_or,
    "and": np.logical_and,
    "not": np.logical_not,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "floordiv": np.floor_divide,  # 0 for integers divided by 0, and so is mod
    "mod": np.mod,  # with the sign of the divisor, as Python
    "neg": np.negative,
    "pow": _pow,
    "abs": np.abs,
    "floor": np.floor,
    "max": np.maximum,  # NaN where one is NaN
    "min": np.minimum,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "erf": _erf,
    "sin": np.sin,
    "cos": np.cos,
    "stop_gradient": np.asarray,
    "where": np.where,
    "random": _random,
}
