"""Whether a join lets addends of some operands through: f(a + b) = f(a) + f(b) in these operands, the others held.

Two answers that must agree: a walk over the expression, and its values at random points. A factor is taken to be
finite unless it is a constant that is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from einsplit.dtypes import kind, numpy_dtype, wide
from einsplit.errors import DtypeError
from einsplit.scalar import NUMPY, Expr, evaluate, operands_of, rewrite

NUM_POINTS = 48
TOLERANCE = 1e-3  # of the values that are added: rounding in float32 is less, and a jump or a bend is more

Array = NDArray[np.generic]


def lets_addends_through(join: Expr, carriers: Sequence[int], dtypes: Sequence[str]) -> bool:
    """Of an einsum that sums or does not aggregate, over operands of those dtypes."""
    return bool(carriers) and _Walk(frozenset(carriers)).adds(join) and _adds_at_points(join, carriers, dtypes)


class _Walk:
    """Answers for the parts of one join."""

    def __init__(self, carriers: frozenset[int]) -> None:
        self._carriers = carriers
        self._known: dict[Expr, bool] = {}

    def adds(self, expr: Expr) -> bool:
        """Whether addends pass through the expression; through one without them only where it is 0."""
        if expr not in self._known:
            rule = RULES.get(expr.op)
            self._known[expr] = rule is not None and rule(self, expr)
        return self._known[expr]

    def fixed(self, expr: Expr) -> bool:
        """Whether the expression is the same for every addend."""
        return not self._carriers & operands_of(expr)

    def operand(self, expr: Expr) -> bool:
        return expr.value in self._carriers

    def const(self, expr: Expr) -> bool:
        return not isinstance(expr.value, bool) and expr.value == 0

    def all_add(self, expr: Expr) -> bool:
        return all(map(self.adds, expr.args))

    def cast(self, expr: Expr) -> bool:
        return kind(expr.name or "") in ("float", "complex") and self.adds(expr.args[0])

    def where(self, expr: Expr) -> bool:
        return self.fixed(expr.args[0]) and all(map(self.adds, expr.args[1:]))

    def mul(self, expr: Expr) -> bool:
        sides = (expr.args, expr.args[::-1])
        return any(self.fixed(factor) and _is_finite(factor) and self.adds(other) for factor, other in sides)

    def div(self, expr: Expr) -> bool:
        above, below = expr.args
        return self.adds(above) and self.fixed(below) and _is_finite(below) and below.value != 0


RULES: dict[str, Callable[[_Walk, Expr], bool]] = {
    "operand": _Walk.operand,
    "const": _Walk.const,
    "add": _Walk.all_add,
    "sub": _Walk.all_add,
    "neg": _Walk.all_add,
    "stop_gradient": _Walk.all_add,
    "cast": _Walk.cast,
    "where": _Walk.where,
    "mul": _Walk.mul,
    "div": _Walk.div,
}


def _is_finite(expr: Expr) -> bool:
    return expr.op != "const" or (expr.value is not None and math.isfinite(expr.value))


def _adds_at_points(join: Expr, carriers: Sequence[int], dtypes: Sequence[str]) -> bool:
    """Whether it holds at random points, wherever the three values are finite."""
    random = np.random.default_rng(0)
    known = [wide(dtype) for dtype in dtypes]
    widened = rewrite(join, _widened)
    indices: dict[str, Array] = {}

    def index(label: str) -> Array:
        return indices.setdefault(label, random.integers(0, 3, NUM_POINTS))

    def at(operands: Sequence[Array]) -> Array:
        return np.broadcast_to(evaluate(widened, operands, known, index, NUMPY), NUM_POINTS)

    one = [_points(dtype, random) for dtype in known]
    # Truth values do not add: only one device has them, the others have false.
    two = [np.zeros(NUM_POINTS, bool) if dtype == "bool" else _points(dtype, random) for dtype in known]
    both = [np.add(a, b) if k in carriers else a for k, (a, b) in enumerate(zip(one, two, strict=True))]
    second = [b if k in carriers else a for k, (a, b) in enumerate(zip(one, two, strict=True))]
    try:
        parts = [x.astype(np.complex128) for x in (at(one), at(second), at(both))]
    except DtypeError:
        return False  # it has no value even at one point
    first, other, total = parts
    scale = 1 + np.abs(first) + np.abs(other) + np.abs(total)
    with np.errstate(all="ignore"):
        is_near = np.abs(first + other - total) <= TOLERANCE * scale
    return bool((is_near | ~np.isfinite(scale)).all())


def _widened(part: Expr) -> Expr:
    """numpy has no bfloat16, and how coarsely a cast rounds is no matter of being linear."""
    return Expr("cast", part.args, name=wide(part.name)) if part.op == "cast" and part.name is not None else part


def _points(dtype: str, random: np.random.Generator) -> Array:
    """Small whole numbers among them, so that tests of equality hold now and then."""
    whole = random.integers(0 if dtype == "uint8" else -2, 3, NUM_POINTS)
    if kind(dtype) == "bool":
        return whole > 0
    if kind(dtype) == "int":
        return whole.astype(numpy_dtype(dtype))
    return np.where(random.random(NUM_POINTS) < 0.5, whole, random.normal(size=NUM_POINTS)).astype(numpy_dtype(dtype))
