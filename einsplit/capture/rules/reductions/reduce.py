"""Reductions, and softmax, which is composed of them, as einsums."""

from __future__ import annotations

import math
from collections.abc import Sequence

from einsplit.builder import variable_index
from einsplit.builder.views import Value, drop
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import (
    at_key,
    dtype_of,
    elementwise,
    in_dtype,
    reduce_dims,
    shape_of,
    widened,
)
from einsplit.capture.reader import Known, Reader, rule
from einsplit.dtypes import kind, wide
from einsplit.scalar import Expr, call, cast, const, operand

Dims = int | Sequence[int] | None


def every_dim(x: Known, dims: Dims) -> list[int]:
    """The dimensions named, or all where none is."""
    if dims is None or (isinstance(dims, (list, tuple)) and not dims):
        return list(range(len(shape_of(x))))
    return [dims] if isinstance(dims, int) else list(dims)


def _aggregate(reader: Reader, agg: str, x: Known, dims: Dims, keep: bool) -> object:
    """`agg` in the dtype of the result, of half precision in float32: it would overflow on the way."""
    if kind(dtype_of(x)) == "complex" and agg != "sum":
        return NotImplemented
    expr = operand(0) if dtype_of(x) == wide(reader.dtype) else cast(operand(0), wide(reader.dtype))
    total = reduce_dims(reader, x, every_dim(x, dims), keep, agg, expr)
    return in_dtype(reader, total, reader.dtype)  # sums of small integers are int64


@rule("aten.sum.dim_IntList", "aten.sum.default")
def sum_(reader: Reader, x: Known, dims: Dims = None, keep: bool = False, **_: object) -> object:
    return _aggregate(reader, "sum", x, dims, keep)


@rule("aten.mean.dim", "aten.mean.default")
def mean(reader: Reader, x: Known, dims: Dims = None, keep: bool = False, **_: object) -> object:
    return _aggregate(reader, "mean", x, dims, keep)


@rule("aten.prod.default", "aten.prod.dim_int")
def prod(reader: Reader, x: Known, dim: Dims = None, keep: bool = False, **_: object) -> object:
    return _aggregate(reader, "prod", x, dim, keep)


@rule("aten.logsumexp.default")
def logsumexp(reader: Reader, x: Known, dims: Dims, keep: bool = False) -> object:
    return _aggregate(reader, "logsumexp", x, dims, keep)


@rule("aten.amax.default", "aten.max.default")
def amax(reader: Reader, x: Known, dims: Dims = None, keep: bool = False) -> Value:
    return reduce_dims(reader, x, every_dim(x, dims), keep, "any" if reader.dtype == "bool" else "max")


@rule("aten.amin.default", "aten.min.default")
def amin(reader: Reader, x: Known, dims: Dims = None, keep: bool = False) -> Value:
    return reduce_dims(reader, x, every_dim(x, dims), keep, "all" if reader.dtype == "bool" else "min")


@rule("aten.any.default", "aten.any.dim", "aten.any.dims")
def any_(reader: Reader, x: Known, dims: Dims = None, keep: bool = False) -> object:
    return _truth(reader, "any", x, dims, keep)


@rule("aten.all.default", "aten.all.dim", "aten.all.dims")
def all_(reader: Reader, x: Known, dims: Dims = None, keep: bool = False) -> object:
    return _truth(reader, "all", x, dims, keep)


def _truth(reader: Reader, agg: str, x: Known, dims: Dims, keep: bool) -> object:
    named = [] if isinstance(dims, (list, tuple)) and not dims else every_dim(x, dims)  # unlike sum's: none is none
    found = reduce_dims(reader, x, named, keep, agg, _differs_from_zero(x))
    return in_dtype(reader, found, reader.dtype)  # of uint8, torch gives uint8


def _differs_from_zero(x: Known) -> Expr:
    return operand(0) if dtype_of(x) == "bool" else call("ne", operand(0), cast(const(0), dtype_of(x)))


@rule("aten.max.dim", "aten.min.dim")
def extreme(reader: Reader, x: Known, dim: int, keep: bool = False) -> object:
    """The largest (smallest) element along `dim`, and the first index that it has."""
    if not shape_of(x) or dtype_of(x) == "bool":
        return NotImplemented
    agg = "max" if "max" in reader.target else "min"
    first = _first_index(reader, x, dim, True, agg)
    value = reader.value(x)
    labels = reader.builder.variables(value.shape)
    dim %= value.ndim
    rest = tuple(() if k == dim else row for k, row in enumerate(labels))
    # The element at that index, and not the largest: the gradient is all its own, however many are equal.
    taken = at_key(variable_index(labels[dim][0]), operand(1), operand(0), const(0))
    top = reader.builder.einsum([(value, labels), (first, rest)], rest, taken, "sum", reader.origin())
    found = [reader.value(in_dtype(reader, top, value.dtype)), first]
    return found if keep else [drop(part, [dim]) for part in found]


@rule("aten.argmax.default", "aten.argmin.default")
def arg_extreme(reader: Reader, x: Known, dim: int | None = None, keep: bool = False) -> object:
    if dim is None or not shape_of(x) or dtype_of(x) == "bool":
        return NotImplemented
    return _first_index(reader, x, dim, keep, "max" if "argmax" in reader.target else "min")


def _first_index(reader: Reader, x: Known, dim: int, keep: bool, agg: str) -> Value:
    """`min over k of where(x == max x, index(k), size of k)`; NaN is the largest, and the smallest."""
    value = reader.value(x)
    top = reduce_dims(reader, x, [dim], True, agg, part=agg)
    labels = reader.builder.variables(value.shape)
    dim %= value.ndim
    rest = tuple(() if k == dim else row for k, row in enumerate(labels))
    position = cast(variable_index(labels[dim][0]), "int64")
    hit = call("or", call("eq", operand(0), operand(1)), call("ne", operand(0), operand(0)))
    join = call("where", hit, position, cast(const(value.shape[dim]), "int64"))
    out = rest if keep else rest[:dim] + rest[dim + 1 :]
    return reader.builder.einsum([(value, labels), (top, rest)], out, join, "min", reader.origin())


@rule(
    "aten.var.correction", "aten.std.correction", "aten.var.dim", "aten.std.dim", "aten.var.default", "aten.std.default"
)
def variance(reader: Reader, x: Known, dims: Dims = None, *rest: object, **named: object) -> object:
    """`sum (x - mean x)^2 / (count - correction)`, or its square root."""
    correction: object = 1.0
    keep = False
    if isinstance(dims, bool):  # var(x, unbiased)
        correction = float(dims)
        dims = None
    elif "correction" in reader.target:
        correction = 1.0 if named.get("correction") is None else named["correction"]
        keep = named.get("keepdim") is True
    elif rest:
        correction, keep = float(rest[0] is True), len(rest) > 1 and rest[1] is True
    if not isinstance(correction, (int, float)) or kind(dtype_of(x)) != "float":
        return NotImplemented
    along = every_dim(x, dims)
    shape = shape_of(x)
    count = 1
    for dim in along:
        count *= shape[dim] if shape else 1
    apart = centred(reader, x, mean_over(reader, x, along))
    total = reduce_dims(reader, apart, along, keep, "sum", operand(0) * operand(0), part="sum")
    share = operand(0) / const(float(max(count - correction, 0)))
    return elementwise(reader, cast(root(share) if "std" in reader.target else share, reader.dtype), total)


def mean_over(reader: Reader, x: Known, dims: Sequence[int], keep: bool = True) -> Value:
    """`mean x`, of half precision in float32."""
    return reduce_dims(reader, x, dims, keep, "mean", widened(0, dtype_of(x)), part="mean")


def centred(reader: Reader, x: Known, middle: Known) -> Known:
    """`x - middle`, of half precision in float32; `middle` is a mean of x, or one that was kept."""
    return elementwise(reader, widened(0, dtype_of(x)) - widened(1, dtype_of(middle)), x, middle, part="centred")


def mean_square(reader: Reader, x: Known, dims: Sequence[int], keep: bool = True) -> Value:
    """`mean x^2`, of half precision in float32: of centred x, the variance."""
    read = widened(0, dtype_of(x))
    return reduce_dims(reader, x, dims, keep, "mean", read * read, part="variance")


def root(x: Expr) -> Expr:
    """The square root; its gradient at 0 is 0, as that of torch's std."""
    is_zero = call("eq", x, const(0.0))
    return call("where", is_zero, const(0.0), call("sqrt", call("where", is_zero, const(1.0), x)))


def softmax_over(reader: Reader, x: Known, dim: int, dtype: str, safe: bool = False) -> Value | Formula:
    """`exp(x - max x) / sum exp(x - max x)` along `dim`, in `dtype`; `safe`: 0 and not NaN where all x are -inf."""
    top = reduce_dims(reader, x, [dim], True, "max", part="max")
    own = dtype_of(x)
    shift = widened(1, own)
    if safe:
        shift = call("where", call("eq", shift, const(-math.inf)), const(0.0), shift)
    # Whatever is taken from all x leaves the result as it is, so no gradient flows through it.
    weight = elementwise(reader, call("exp", widened(0, own) - call("stop_gradient", shift)), x, top, part="exp")
    total = reduce_dims(reader, weight, [dim], True, "sum", part="sum")
    divisor = call("where", call("eq", operand(1), const(0.0)), const(1.0), operand(1)) if safe else operand(1)
    share = operand(0) / divisor
    return elementwise(reader, share if dtype == dtype_of(weight) else cast(share, dtype), weight, total, part="share")


@rule("aten.softmax.int", "aten._softmax.default")
def softmax(reader: Reader, x: Known, dim: int, *_: object) -> Value | Formula:
    return softmax_over(reader, _at_least(reader, x), dim, reader.dtype)


@rule("aten.log_softmax.int", "aten._log_softmax.default")
def log_softmax(reader: Reader, x: Known, dim: int, *_: object) -> Value | Formula:
    """`x - logsumexp x` along `dim`."""
    x = _at_least(reader, x)
    own = dtype_of(x)
    total = reduce_dims(reader, x, [dim], True, "logsumexp", widened(0, own), part="logsumexp")
    return elementwise(reader, cast(widened(0, own) - operand(1), reader.dtype), x, total)


def _at_least(reader: Reader, x: Known) -> Known:
    """In the dtype of the result where that is wider: torch casts its operand first."""
    return in_dtype(reader, x, reader.dtype)
