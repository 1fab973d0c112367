"""Norms of vectors, `(sum |x|^p)^(1/p)`, and what is made of them: cosines, distances, weights of unit norm.

Their gradients where they have none (at x = 0, at a norm of 0) are torch's: 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from einsplit.builder.views import Value
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import Scalar, dtype_of, elementwise, in_dtype, pointwise, reduce_dims, shape_of, widened
from einsplit.capture.reader import Known, Reader, rule
from einsplit.capture.rules.reductions.reduce import Dims, every_dim, root
from einsplit.dtypes import kind
from einsplit.scalar import Expr, call, cast, const, operand

# By order: the aggregation, and of what; all other orders are powers.
_ORDERS: dict[float, tuple[str, Callable[[Expr], Expr]]] = {
    math.inf: ("max", lambda x: call("abs", x)),
    -math.inf: ("min", lambda x: call("abs", x)),
    0.0: ("sum", lambda x: call("where", call("eq", x, const(0.0)), const(0.0), const(1.0))),
    1.0: ("sum", lambda x: call("abs", x)),
    2.0: ("sum", lambda x: x * x),
}


def norm_over(reader: Reader, x: Known, order: float, dims: Sequence[int], keep: bool, dtype: str) -> Value | Formula:
    """The norm over dimensions of real numbers, in `dtype`; of half precision computed in float32."""
    if order and all(shape_of(x)[k] == 1 for k in dims if shape_of(x)):
        order = math.inf  # of one number each: its size, whose square might overflow
    agg, part = _ORDERS.get(order, ("sum", lambda x: _power_of_size(x, order)))
    total = reduce_dims(reader, x, dims, keep, agg, part(widened(0, dtype_of(x))), part="sum")
    result = operand(0)
    if order == 2:
        result = root(result)
    elif order not in _ORDERS:
        result = _root_of_order(result, order)
    return elementwise(reader, result if dtype == dtype_of(total) else cast(result, dtype), total)


def _power_of_size(x: Expr, order: float) -> Expr:
    """`|x|^order`, constant at 0."""
    is_zero = call("eq", x, const(0.0))
    size = call("where", is_zero, const(1.0), call("abs", x))
    return call("where", is_zero, const(0.0 if order > 0 else math.inf), call("pow", size, const(order)))


def _root_of_order(total: Expr, order: float) -> Expr:
    """`total^(1/order)`, constant where it is 0."""
    settled = call("eq", total, const(0.0 if order > 0 else math.inf))
    return call("where", settled, const(0.0), call("pow", call("where", settled, const(1.0), total), const(1 / order)))


@rule("aten.linalg_vector_norm.default")
def vector_norm(
    reader: Reader, x: Known, order: Scalar = 2, dims: Dims = None, keep: bool = False, **_: object
) -> object:
    if kind(dtype_of(x)) == "complex":
        return NotImplemented
    return norm_over(reader, in_dtype(reader, x, reader.dtype), float(order), every_dim(x, dims), keep, reader.dtype)


@rule("aten.linalg_norm.default")
def norm(
    reader: Reader, x: Known, order: Scalar | None = None, dims: Dims = None, keep: bool = False, **_: object
) -> object:
    """Of vectors; of matrices where no order is given, which is that of all their elements."""
    along = every_dim(x, dims)
    if order is not None and len(along) > 1:
        return NotImplemented
    return vector_norm(reader, x, 2 if order is None else order, along, keep)


@rule("aten.linalg_matrix_norm.str_ord")
def matrix_norm(
    reader: Reader, x: Known, order: str = "fro", dims: Sequence[int] = (-2, -1), keep: bool = False, **_: object
) -> object:
    """Frobenius: of all elements of a matrix."""
    return vector_norm(reader, x, 2, dims, keep) if order == "fro" else NotImplemented


@rule("aten.pairwise_distance.default")
def pairwise_distance(
    reader: Reader, x: Known, y: Known, order: float = 2.0, eps: float = 1e-6, keep: bool = False
) -> object:
    """The norm of `x - y + eps` over the last dimension."""
    if kind(reader.dtype) != "float" or dtype_of(x) != dtype_of(y):
        return NotImplemented
    apart = pointwise(reader, lambda a, b: a - b, x, y, dtype=reader.dtype)
    moved = pointwise(reader, lambda a: a + const(eps), apart, dtype=reader.dtype)
    return norm_over(reader, moved, order, [-1], keep, reader.dtype)


@rule("aten.cosine_similarity.default")
def cosine_similarity(reader: Reader, x: Known, y: Known, dim: int = 1, eps: float = 1e-8) -> object:
    """`sum x y / (max(|x|, eps) max(|y|, eps))` over `dim`; eps bounds the norms, and not their gradients."""
    left, right = shape_of(x), shape_of(y)
    if kind(reader.dtype) != "float" or not left or len(left) != len(right) or left[dim] != right[dim]:
        return NotImplemented
    units = []
    for part in (in_dtype(reader, x, reader.dtype), in_dtype(reader, y, reader.dtype)):
        size = norm_over(reader, part, 2.0, [dim], True, reader.dtype)
        bounded = pointwise(reader, lambda a: _at_least(a, eps), size, dtype=reader.dtype)
        units.append(pointwise(reader, lambda a, b: a / b, part, bounded, dtype=reader.dtype))
    product = pointwise(reader, lambda a, b: a * b, *units, dtype=reader.dtype)
    total = reduce_dims(reader, product, [dim], False, "sum", widened(0, reader.dtype))
    return in_dtype(reader, total, reader.dtype)


def _at_least(x: Expr, bound: float) -> Expr:
    """`max(x, bound)` with the gradient of `x`."""
    return call("where", call("lt", x, const(bound)), x + call("stop_gradient", const(bound) - x), x)


@rule("aten._weight_norm.default")
def weight_norm(reader: Reader, direction: Known, size: Known, dim: int = 0) -> object:
    """`direction * (size / |direction|)`, the norm over all dimensions but `dim`; of -1, over all."""
    count = len(shape_of(direction))
    along = [k for k in range(count) if dim == -1 or k != dim % count]
    norm = norm_over(reader, direction, 2.0, along, dim != -1, reader.dtype)
    return pointwise(reader, lambda v, g, n: v * (g / n), direction, size, norm, dtype=reader.dtype)
