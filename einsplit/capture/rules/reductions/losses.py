"""Losses: a join of each element, averaged or summed."""

from __future__ import annotations

from einsplit.builder import variable_index
from einsplit.builder.views import Value
from einsplit.capture.joins import (
    at_key,
    dtype_of,
    elementwise,
    in_dtype,
    pointwise,
    reduce_dims,
    shape_of,
    widened,
)
from einsplit.capture.reader import Known, Reader, rule
from einsplit.dtypes import kind, wide
from einsplit.scalar import Expr, call, cast, const, operand


@rule("aten.mse_loss.default", "aten.l1_loss.default")
def distance(reader: Reader, x: Known, y: Known, reduction: int = 1) -> object:
    """`(x - y)^2` or `|x - y|` of each element, their mean (reduction 1), or their sum (2)."""

    def apart(a: Expr, b: Expr) -> Expr:
        return call("abs", a - b) if "l1" in reader.target else (a - b) * (a - b)

    if reduction == 0 or dtype_of(x) != dtype_of(y):
        return pointwise(reader, apart, x, y, dtype=reader.dtype) if reduction == 0 else NotImplemented
    each = elementwise(reader, apart(widened(0, dtype_of(x)), widened(1, dtype_of(y))), x, y, part="each")
    total = reduce_dims(reader, each, range(len(each.shape)), False, "mean" if reduction == 1 else "sum")
    return in_dtype(reader, total, reader.dtype)


@rule("aten.cross_entropy_loss.default", "aten.nll_loss_nd.default")
def class_loss(
    reader: Reader,
    x: Known,
    target: Known,
    weight: Known | None = None,
    reduction: int = 1,
    ignore_index: int = -100,
    smoothing: float = 0.0,
) -> object:
    """Of cross entropy `logsumexp x - x[target]`, of nll_loss `-x[target]`, where the target is not `ignore_index`.

    Of each target (reduction 0), averaged over those that count (1), or summed (2).
    """
    if weight is not None or smoothing or kind(dtype_of(target)) == "float":
        return NotImplemented
    classes = min(1, len(shape_of(x)) - 1)
    own = dtype_of(x)
    totals: list[Known] = []
    if "cross_entropy" in reader.target:
        totals.append(reduce_dims(reader, x, [classes], False, "logsumexp", widened(0, own), part="logsumexp"))
    taken = widened(len(totals), own)
    lost = operand(0) - taken if totals else -taken
    counted = call("ne", operand(len(totals) + 1), const(ignore_index))
    each = call("where", counted, lost, cast(const(0.0), wide(own)))
    loss = elementwise(reader, each, *totals, _picked(reader, x, target, classes), target, part="loss")
    return _averaged(reader, loss, target, reduction, ignore_index)


def _averaged(reader: Reader, loss: Known, target: Known, reduction: int, ignore_index: int) -> object:
    """The loss of each target as `reduction` wants it, in the dtype of the result."""
    everywhere = range(len(shape_of(target)))
    if reduction == 0:
        return in_dtype(reader, loss, reader.dtype)
    summed = reduce_dims(reader, loss, everywhere, False, "sum", part="sum")
    if reduction == 2:
        return in_dtype(reader, summed, reader.dtype)
    number = cast(call("ne", operand(0), const(ignore_index)), dtype_of(summed))
    count = reduce_dims(reader, target, everywhere, False, "sum", number, part="count")
    return elementwise(reader, cast(operand(0) / operand(1), reader.dtype), summed, count)


def _picked(reader: Reader, x: Known, target: Known, dim: int) -> Value:
    """`x` at the index along `dim` that `target` gives; 0 where it gives none."""
    value, chosen = reader.value(x), reader.value(target)
    labels = reader.builder.variables(value.shape)
    rest = tuple(label for k, label in enumerate(labels) if k != dim)
    zero = cast(const(0.0), value.dtype)
    join = at_key(operand(1), variable_index(labels[dim][0]), operand(0), zero)
    return reader.builder.einsum([(value, labels), (chosen, rest)], rest, join, "sum", reader.origin("picked"))
