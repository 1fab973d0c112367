"""Random scalar expressions, and their values on small arrays."""

import math
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from einsplit.dtypes import DTYPES
from einsplit.scalar import NUMPY, OPERATORS, Expr, call, cast, const, evaluate, index, operand

Array = np.ndarray

LABELS = ("i", "j", "a'", "...0", "#3")
NUMBERS = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.sampled_from([-0.0, 0.0, 1.0, math.pi, 1e-320, -math.inf]),
)


def branches(leaves: st.SearchStrategy[Expr], ops: Sequence[str]) -> st.SearchStrategy[Expr]:
    def widen(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
        return st.sampled_from(ops).flatmap(
            lambda op: st.tuples(*[inner] * OPERATORS[op].arity).map(lambda args: call(op, *args))
        )

    return st.recursive(leaves, widen, max_leaves=12)


def expressions() -> st.SearchStrategy[Expr]:
    """Any tree at all, well typed or not."""
    leaves = st.one_of(NUMBERS.map(const), st.integers(0, 4).map(operand), st.sampled_from(LABELS).map(index))
    casts = st.tuples(leaves, st.sampled_from(DTYPES)).map(lambda pair: cast(*pair))
    return branches(st.one_of(leaves, casts), list(OPERATORS))


ARITHMETIC = ["add", "sub", "mul", "neg", "abs", "max", "min", "floordiv", "mod", "floor"]


def numbers(kind: str) -> st.SearchStrategy[Expr]:
    """Trees over two operands and an index whose operators all take and give floats, or integers."""
    constants = st.integers(-3, 3) if kind == "int" else st.sampled_from([0, 1, 1.0, -0.0, 0.5, -2, math.inf])
    leaves = st.one_of(constants.map(const), st.integers(0, 1).map(operand), st.just(index("i")))
    floats = ["div", "exp", "sqrt", "tanh", "sigmoid", "erf", "sin", "cos", "log", "rsqrt"]
    values = branches(leaves, ARITHMETIC + (floats if kind == "float" else []))
    tests = st.tuples(st.sampled_from(["eq", "lt", "ge", "ne"]), values, values).map(lambda t: call(*t))
    tests = st.one_of(tests, tests.map(lambda t: call("not", t)), st.booleans().map(const))
    return st.one_of(values, st.tuples(tests, values, values).map(lambda t: call("where", *t)))


def values_of(expr: Expr, operands: Sequence[Array], dtypes: Sequence[str] | None = None) -> Array:
    names = [str(array.dtype) for array in operands] if dtypes is None else dtypes
    size = operands[0].size if operands else 3
    return np.asarray(evaluate(expr, operands, names, lambda label: np.arange(size), NUMPY))


def same_bits(left: Array, right: Array) -> bool:
    """Equal, with 0.0 and -0.0 told apart and any NaN equal to any other."""
    if left.dtype != right.dtype:
        return False
    signs = np.signbit(left) == np.signbit(right) if left.dtype.kind == "f" else np.ones((), bool)
    nan = left.dtype.kind == "f"
    return np.array_equal(left, right, equal_nan=nan) and bool(np.all(signs | (left != left)))
