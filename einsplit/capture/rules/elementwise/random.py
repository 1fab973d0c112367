"""Random numbers as joins: a hash of the call's seed, of which draw it is, and of the element's place in the tensor.

So a plan does not change them: whoever holds an element draws the same number for it, forward and backward. They are
not the numbers that torch's own generator would have given; of equal seeds they are equal. The seed is an input of the
Graph, which every call feeds anew.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import reduce
from math import prod

from einsplit.builder.views import Value
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import dtype_of, elementwise, shape_of, widened
from einsplit.capture.reader import Known, Reader, rule
from einsplit.dtypes import kind, wide
from einsplit.scalar import Expr, call, cast, const, index, operand, simplify


def dropped(reader: Reader, x: Known, share: float, whole_dims: Sequence[int] = ()) -> Value | Formula:
    """`x / (1 - share)` of elements that are kept, 0 of the `share` that is not; along `whole_dims` all or none is."""
    shape = shape_of(x)
    if share >= 1:
        return elementwise(reader, operand(0) * const(0.0), x)
    drawn, seed, place = uniform(reader, tuple(1 if k in whole_dims else n for k, n in enumerate(shape)), 1)
    own = dtype_of(x)
    kept = widened(0, own) * const(1 / (1 - share))
    chosen = call("where", call("ge", drawn, const(share)), kept, const(0.0))
    return elementwise(reader, chosen if own == wide(own) else cast(chosen, own), x, seed, place)


def uniform(reader: Reader, shape: tuple[int, ...], first: int) -> tuple[Expr, Value, Formula]:
    """A float32 from [0, 1) for each element, of operands `first` (the seed) and `first + 1` (the place)."""
    steps = [index(str(k)) * const(prod(shape[k + 1 :])) for k, size in enumerate(shape) if size != 1]
    place = reduce(operator.add, steps, const(0))
    seed, draw = reader.draw()
    drawn = call("random", operand(first), const(draw), operand(first + 1))
    return drawn, seed, Formula(shape, cast(simplify(place), "int64"), "int64")


@rule("aten.dropout.default", "aten.feature_dropout.default")
def dropout(reader: Reader, x: Known, share: float, train: bool) -> Known:
    if not train or share == 0:
        return x
    whole = range(2, len(shape_of(x))) if "feature" in reader.target else ()
    return dropped(reader, x, share, whole)


@rule("aten.native_dropout.default")
def native_dropout(reader: Reader, x: Known, share: float, train: bool | None) -> list[Known]:
    """What torch makes of dropout where it rewrites a program: the result, and which elements it kept."""
    drawn, seed, place = uniform(reader, shape_of(x), 0)
    kept: Known = elementwise(reader, call("ge", drawn, const(share)), seed, place, part="kept")
    if train is False or share == 0:
        return [x, elementwise(reader, call("eq", operand(0), operand(0)), kept)]
    if share >= 1:
        return [elementwise(reader, operand(0) * const(0.0), x), kept]
    own = dtype_of(x)
    chosen = call("where", operand(1), widened(0, own) * const(1 / (1 - share)), const(0.0))
    return [elementwise(reader, chosen if own == wide(own) else cast(chosen, own), x, kept), kept]


@rule("aten.uniform.default")
def uniform_(reader: Reader, x: Known, low: float = 0.0, high: float = 1.0, **_: object) -> object:
    """Uniform numbers from [low, high)."""
    drawn, seed, place = uniform(reader, reader.shape, 0)
    scaled = drawn * const(float(high - low)) + const(float(low))
    return elementwise(reader, _as(reader, scaled), seed, place) if kind(reader.dtype) == "float" else NotImplemented


@rule("aten.rand.default", "aten.rand_like.default")
def rand(reader: Reader, *_: object, **__: object) -> object:
    """Uniform numbers from [0, 1)."""
    drawn, seed, place = uniform(reader, reader.shape, 0)
    return elementwise(reader, _as(reader, drawn), seed, place) if kind(reader.dtype) == "float" else NotImplemented


@rule("aten.randn.default", "aten.randn_like.default")
def randn(reader: Reader, *_: object, **__: object) -> object:
    """Normal numbers of mean 0 and variance 1: sqrt(-2 log u) cos(2 pi v). Source: Box and Muller, 1958."""
    if kind(reader.dtype) != "float":
        return NotImplemented
    normal, seed, place = _normal(reader)
    return elementwise(reader, _as(reader, normal), seed, place)


@rule("aten.normal_functional.default")
def normal_(reader: Reader, x: Known, mean: float = 0.0, deviation: float = 1.0, **_: object) -> object:
    """Normal numbers of that mean and deviation."""
    if kind(reader.dtype) != "float":
        return NotImplemented
    normal, seed, place = _normal(reader)
    moved = normal * const(float(deviation)) + const(float(mean))
    return elementwise(reader, _as(reader, moved), seed, place)


def _normal(reader: Reader) -> tuple[Expr, Value, Formula]:
    length, seed, place = uniform(reader, reader.shape, 0)
    turn = uniform(reader, reader.shape, 0)[0]
    radius = call("sqrt", const(-2.0) * call("log", const(1.0) - length))  # 1 - u is never 0
    return radius * call("cos", turn * const(2 * math.pi)), seed, place


@rule("aten.randint.default", "aten.randint.low", "aten.randint_like.default", "aten.randint_like.low_dtype")
def randint(reader: Reader, *args: object, **_: object) -> object:
    """Integers from [low, high), of at most 2^24 different ones."""
    bounds = [arg for arg in args if isinstance(arg, int)]
    low, high = (0, bounds[0]) if len(bounds) == 1 else (bounds[0], bounds[1])
    if kind(reader.dtype) != "int" or high - low > 1 << 24:
        return NotImplemented
    drawn, seed, place = uniform(reader, reader.shape, 0)
    whole = cast(call("floor", cast(drawn, "float64") * const(float(high - low))), "int64") + const(low)
    return elementwise(reader, whole if reader.dtype == "int64" else cast(whole, reader.dtype), seed, place)


@rule("aten.bernoulli.default", "aten.bernoulli.p")
def bernoulli(reader: Reader, x: Known, share: float | None = None, **_: object) -> object:
    """1 with probability `share`, or x where none is given; else 0."""
    if kind(dtype_of(x)) != "float" or not (share is None or isinstance(share, float)):
        return NotImplemented
    drawn, seed, place = uniform(reader, reader.shape, 1)
    chance = cast(operand(0), "float32") if share is None else const(share)
    hit = call("lt", drawn, call("stop_gradient", chance) if share is None else chance)
    return elementwise(reader, cast(hit, reader.dtype), x, seed, place)


def _as(reader: Reader, expr: Expr) -> Expr:
    return expr if reader.dtype == "float32" else cast(expr, reader.dtype)


@rule("aten.rrelu.default")
def rrelu(reader: Reader, x: Known, low: float = 1 / 8, high: float = 1 / 3, train: bool = False, *_: object) -> object:
    """`x` where positive, else `x` times a slope: one drawn from [low, high) while training, the middle else."""
    if kind(dtype_of(x)) != "float":
        return NotImplemented
    own = dtype_of(x)
    read = widened(0, own)
    tensors: list[Known] = [x]
    slope: Expr = const((low + high) / 2)
    if train:
        drawn, seed, place = uniform(reader, reader.shape, 1)
        slope = drawn * const(float(high - low)) + const(float(low))
        tensors += [seed, place]
    chosen = call("where", call("gt", read, const(0.0)), read, read * slope)
    return elementwise(reader, chosen if own == wide(own) else cast(chosen, own), *tensors)
