"""Reductions, and what is composed of them: softmax and the normalisations, as einsums."""

from __future__ import annotations

from collections.abc import Sequence

from einsplit.builder import variable_index
from einsplit.capture.formulas import Formula
from einsplit.capture.reader import Known, Reader, rule
from einsplit.capture.rules.common import dtype_of, elementwise, reduce_dims, shape_of
from einsplit.scalar import call, cast, const, operand
from einsplit.views import Value, insert


def _cast_first(reader: Reader, x: Known) -> Known:
    """torch sums in the result's dtype, and so do we."""
    return x if dtype_of(x) == reader.dtype else elementwise(reader, cast(operand(0), reader.dtype), x)


def _all(x: Known, dims: int | Sequence[int] | None) -> list[int]:
    if dims is None or isinstance(dims, (list, tuple)) and not dims:
        return list(range(len(shape_of(x))))
    return [dims] if isinstance(dims, int) else list(dims)


@rule("aten.sum.dim_IntList", "aten.sum.default")
def sum_(reader: Reader, x: Known, dims: Sequence[int] | None = None, keep: bool = False, **_: object) -> Value:
    return reduce_dims(reader, _cast_first(reader, x), _all(x, dims), keep, "sum")


@rule("aten.mean.dim", "aten.mean.default")
def mean(reader: Reader, x: Known, dims: Sequence[int] | None = None, keep: bool = False, **_: object) -> Value:
    return reduce_dims(reader, _cast_first(reader, x), _all(x, dims), keep, "mean")


@rule("aten.prod.default", "aten.prod.dim_int")
def prod(reader: Reader, x: Known, dim: int | None = None, keep: bool = False, **_: object) -> Value:
    return reduce_dims(reader, _cast_first(reader, x), _all(x, dim), keep, "prod")


@rule("aten.amax.default", "aten.max.default")
def amax(reader: Reader, x: Known, dims: Sequence[int] | None = None, keep: bool = False) -> Value:
    return reduce_dims(reader, x, _all(x, dims), keep, "max")


@rule("aten.amin.default", "aten.min.default")
def amin(reader: Reader, x: Known, dims: Sequence[int] | None = None, keep: bool = False) -> Value:
    return reduce_dims(reader, x, _all(x, dims), keep, "min")


@rule("aten.any.default", "aten.any.dim", "aten.any.dims")
def any_(reader: Reader, x: Known, dims: int | Sequence[int] | None = None, keep: bool = False) -> object:
    return reduce_dims(reader, x, _all(x, dims), keep, "any") if dtype_of(x) == "bool" else NotImplemented


@rule("aten.all.default", "aten.all.dim", "aten.all.dims")
def all_(reader: Reader, x: Known, dims: int | Sequence[int] | None = None, keep: bool = False) -> object:
    return reduce_dims(reader, x, _all(x, dims), keep, "all") if dtype_of(x) == "bool" else NotImplemented


@rule("aten.logsumexp.default")
def logsumexp(reader: Reader, x: Known, dims: Sequence[int], keep: bool = False) -> Value:
    return reduce_dims(reader, _cast_first(reader, x), dims, keep, "logsumexp")


def softmax_over(reader: Reader, x: Known, dim: int) -> Value | Formula:
    """`exp(x - max x) / sum exp(x - max x)` along `dim`."""
    top = reduce_dims(reader, x, [dim], True, "max")
    weight = elementwise(reader, call("exp", operand(0) - operand(1)), x, top)
    total = reduce_dims(reader, weight, [dim], True, "sum")
    return elementwise(reader, operand(0) / operand(1), weight, total)


@rule("aten.softmax.int", "aten._softmax.default")
def softmax(reader: Reader, x: Known, dim: int, *_: object) -> Value | Formula:
    return softmax_over(reader, _cast_first(reader, x), dim)


@rule("aten.log_softmax.int", "aten._log_softmax.default")
def log_softmax(reader: Reader, x: Known, dim: int, *_: object) -> Value | Formula:
    """`x - logsumexp x` along `dim`."""
    x = _cast_first(reader, x)
    return elementwise(reader, operand(0) - operand(1), x, reduce_dims(reader, x, [dim], True, "logsumexp"))


def _normalise(reader: Reader, x: Known, dims: list[int], eps: float, centre: bool) -> Value | Formula:
    if centre:
        x = elementwise(reader, operand(0) - operand(1), x, reduce_dims(reader, x, dims, True, "mean"))
    square = reduce_dims(reader, x, dims, True, "mean", operand(0) * operand(0))
    return elementwise(reader, operand(0) * call("rsqrt", operand(1) + const(eps)), x, square)


def _affine(reader: Reader, x: Value | Formula, weight: Known | None, bias: Known | None) -> Value | Formula:
    if weight is not None:
        x = elementwise(reader, operand(0) * operand(1), x, weight)
    return x if bias is None else elementwise(reader, operand(0) + operand(1), x, bias)


@rule("aten.layer_norm.default")
def layer_norm(
    reader: Reader,
    x: Known,
    shape: Sequence[int],
    weight: Known | None = None,
    bias: Known | None = None,
    eps: float = 1e-5,
    *_: object,
) -> Value | Formula:
    """`(x - mean x) / sqrt(mean (x - mean x)^2 + eps) * weight + bias` over the last dimensions."""
    dims = list(range(-len(shape), 0))
    return _affine(reader, _normalise(reader, x, dims, eps, centre=True), weight, bias)


@rule("aten.rms_norm.default")
def rms_norm(
    reader: Reader, x: Known, shape: Sequence[int], weight: Known | None = None, eps: float | None = None
) -> object:
    """`x / sqrt(mean x^2 + eps) * weight` over the last dimensions."""
    if eps is None:
        return NotImplemented
    return _affine(reader, _normalise(reader, x, list(range(-len(shape), 0)), eps, centre=False), weight, None)


@rule("aten.batch_norm.default")
def batch_norm(
    reader: Reader,
    x: Known,
    weight: Known | None,
    bias: Known | None,
    mean: Known | None,
    variance: Known | None,
    training: bool,
    momentum: float,
    eps: float,
    *_: object,
) -> Value | Formula:
    """`(x - mean) / sqrt(variance + eps) * weight + bias` along dimension 1, with the running statistics."""
    if training or mean is None or variance is None:
        raise reader.error("batch norm that updates its running statistics is not captured: call model.eval()")
    shape = (-1, *(1 for _ in shape_of(x)[2:]))
    along = [None if part is None else _unsqueezed(reader, part, len(shape) - 1) for part in (weight, bias)]
    centred = elementwise(reader, operand(0) - operand(1), x, _unsqueezed(reader, mean, len(shape) - 1))
    scale = call("rsqrt", operand(1) + const(eps))
    scaled = elementwise(reader, operand(0) * scale, centred, _unsqueezed(reader, variance, len(shape) - 1))
    return _affine(reader, scaled, *along)


def _unsqueezed(reader: Reader, x: Known, times: int) -> Value:
    value = reader.value(x)
    for _ in range(times):
        value = insert(value, value.ndim)
    return value


@rule("aten.cross_entropy_loss.default")
def cross_entropy(
    reader: Reader,
    x: Known,
    target: Known,
    weight: Known | None = None,
    reduction: int = 1,
    ignore_index: int = -100,
    smoothing: float = 0.0,
) -> object:
    """`logsumexp x - x[target]`, averaged over the targets that are not `ignore_index` (reduction 1) or summed (2)."""
    if weight is not None or smoothing or dtype_of(target) == dtype_of(x):
        return NotImplemented
    classes = min(1, len(shape_of(x)) - 1)
    total = reduce_dims(reader, x, [classes], False, "logsumexp")
    loss = elementwise(reader, operand(0) - operand(1), total, _picked(reader, x, target, classes))
    counted = call("ne", operand(1), const(ignore_index))
    kept = elementwise(reader, call("where", counted, operand(0), const(0.0)), loss, target)
    everywhere = range(len(shape_of(target)))
    if reduction == 0:
        return kept
    summed = reduce_dims(reader, kept, everywhere, False, "sum")
    if reduction == 2:
        return summed
    number = call("ne", operand(0), const(ignore_index))
    count = reduce_dims(reader, target, everywhere, False, "sum", cast(number, reader.dtype))
    return elementwise(reader, operand(0) / operand(1), summed, count)


def _picked(reader: Reader, x: Known, target: Known, dim: int) -> Value:
    """`x` at the index along `dim` that `target` gives; 0 where it gives none."""
    value, chosen = reader.value(x), reader.value(target)
    labels = reader.builder.variables(value.shape)
    rest = tuple(label for k, label in enumerate(labels) if k != dim)
    join = call("where", call("eq", operand(1), variable_index(labels[dim][0])), operand(0), const(0.0))
    return reader.builder.einsum([(value, labels), (chosen, rest)], rest, join, "sum", reader.origin)
