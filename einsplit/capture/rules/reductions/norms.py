"""Normalisations, composed of means, variances and a join."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch

from einsplit.builder.views import Value, insert
from einsplit.capture.dtypes import dtype_name
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import (
    dtype_of,
    elementwise,
    in_dtype,
    refuse_mixed,
    shape_of,
    widened,
)
from einsplit.capture.reader import Known, Reader, rule
from einsplit.capture.rules.reductions.reduce import centred, mean_over, mean_square
from einsplit.dtypes import wide
from einsplit.scalar import Expr, call, cast, const, operand
from einsplit.torch_dtypes import torch_dtype

Part = Known | None  # of what an operator may be called without


def normalised(
    reader: Reader, x: Known, dims: Sequence[int], eps: float, centre: bool, weight: Known | None, bias: Known | None
) -> Value | Formula:
    """`(x - mean x) / sqrt(mean (x - mean x)^2 + eps) * weight + bias`; without `centre`, mean x is left out."""
    if centre:
        x = centred(reader, x, mean_over(reader, x, dims))
    scale = call("rsqrt", operand(1) + const(eps))
    return affine(reader, widened(0, dtype_of(x)) * scale, x, mean_square(reader, x, dims), weight, bias)


def affine(reader: Reader, expr: Expr, x: Known, y: Known, weight: Known | None, bias: Known | None) -> Value | Formula:
    """`expr(x, y) * weight + bias` in the dtype of the result."""
    operands = [x, y]
    if weight is not None:
        expr = expr * widened(len(operands), dtype_of(weight))
        operands.append(weight)
    if bias is not None:
        expr = expr + widened(len(operands), dtype_of(bias))
        operands.append(bias)
    return elementwise(reader, cast(expr, reader.dtype), *operands)


def _refuse_mixed(reader: Reader, x: Known, *parameters: Known | None) -> None:
    """Raise CaptureError unless all have the dtype of x or, of half precision, the parameters that of torch's sums."""
    if any(part is not None and dtype_of(part) != wide(dtype_of(x)) for part in parameters):
        refuse_mixed(reader, x, *parameters)


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
    """Mean and variance over the last dimensions, as many as `shape` has."""
    _refuse_mixed(reader, x, weight, bias)
    return normalised(reader, x, range(-len(shape), 0), eps, True, weight, bias)


@rule("aten.rms_norm.default")
def rms_norm(
    reader: Reader, x: Known, shape: Sequence[int], weight: Known | None = None, eps: float | None = None
) -> Value | Formula:
    """`x / sqrt(mean x^2 + eps) * weight` over the last dimensions."""
    least = torch.finfo(torch_dtype(wide(dtype_of(x)))).eps if eps is None else eps
    return normalised(reader, x, range(-len(shape), 0), least, False, weight, None)


@rule("aten.group_norm.default")
def group_norm(
    reader: Reader,
    x: Known,
    groups: int,
    weight: Known | None = None,
    bias: Known | None = None,
    eps: float = 1e-5,
    *_: object,
) -> Value:
    """Mean and variance over each group of channels (dimension 1) and everything behind."""
    _refuse_mixed(reader, x, weight, bias)
    batch, channels, *rest = shape_of(x)
    origin = reader.origin("groups")
    grouped = reader.builder.reshape(reader.value(x), (batch, groups, channels // groups, *rest), origin)
    along = [_trailing(reader, part, (groups, channels // groups), len(rest)) for part in (weight, bias)]
    found = normalised(reader, grouped, range(2, grouped.ndim), eps, True, *along)
    return reader.builder.reshape(reader.value(found), reader.shape, origin)


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
    """`(x - mean) / sqrt(variance + eps) * weight + bias` along dimension 1: the batch's own if `training`."""
    ndim = len(shape_of(x))
    parts = (weight, bias, mean, variance)
    _refuse_mixed(reader, x, *parts)
    scale, shift, kept_mean, kept_variance = (_trailing(reader, p, shape_of(p), ndim - 2) for p in parts)
    if training or kept_mean is None or kept_variance is None:
        return normalised(reader, x, [0, *range(2, ndim)], eps, True, scale, shift)
    spread = call("rsqrt", widened(1, dtype_of(kept_variance)) + const(eps))
    return affine(reader, operand(0) * spread, centred(reader, x, kept_mean), kept_variance, scale, shift)


@rule("aten._native_batch_norm_legit_functional.default")
def kept_batch_norm(
    reader: Reader,
    x: Known,
    weight: Known | None,
    bias: Known | None,
    mean: Known,
    variance: Known,
    training: bool,
    momentum: float,
    eps: float,
) -> object:
    """Batch norm; mean and 1 / sqrt(variance + eps) of the batch; the running mean and variance that follow.

    running = (1 - momentum) running + momentum own        (own variance: over n - 1)
    """
    if not training:
        return NotImplemented
    _refuse_mixed(reader, x, weight, bias, mean, variance)
    ndim = len(shape_of(x))
    along = [0, *range(2, ndim)]
    count = prod(shape_of(x)[k] for k in along)
    centre = mean_over(reader, x, along, keep=False)
    wide_centre = _trailing(reader, centre, centre.shape, ndim - 2)
    assert wide_centre is not None
    apart = centred(reader, x, wide_centre)
    spread = mean_square(reader, apart, along, keep=False)
    scale, shift, wide_spread = (_trailing(reader, p, shape_of(p), ndim - 2) for p in (weight, bias, spread))
    assert wide_spread is not None
    normal = affine(reader, operand(0) * call("rsqrt", operand(1) + const(eps)), apart, wide_spread, scale, shift)
    unbiased = operand(1) * const(count / max(count - 1, 1))
    kept = []
    for running, value, now in ((mean, centre, operand(1)), (variance, spread, unbiased)):
        # Of half precision, computed in float32 and rounded once, as torch does.
        before = widened(0, dtype_of(running))
        following = before * const(1 - momentum) + call("stop_gradient", now) * const(momentum)
        kept.append(elementwise(reader, cast(following, dtype_of(running)), running, value, part="running"))
    results = [normal, centre, elementwise(reader, call("rsqrt", operand(0) + const(eps)), spread), *kept]
    wanted = [dtype_name(meta.dtype) for meta in reader.metas]
    return [in_dtype(reader, part, dtype) for part, dtype in zip(results, wanted, strict=True)]


@rule("aten._native_batch_norm_legit_no_training.default")
def settled_batch_norm(
    reader: Reader, x: Known, weight: Part, bias: Part, mean: Known, variance: Known, momentum: float, eps: float
) -> object:
    """Batch norm by the running statistics, and what it was done with.

    On CPUs torch gives tensors without elements for that; on the meta device they have some, as on other devices.
    """
    normal = batch_norm(reader, x, weight, bias, mean, variance, False, momentum, eps)
    if any(meta.numel() for meta in reader.metas[1:]):
        spread = call("rsqrt", widened(0, dtype_of(variance)) + const(eps))
        used = [mean, elementwise(reader, spread, variance)]
        dtypes = [dtype_name(meta.dtype) for meta in reader.metas[1:]]
        return [normal, *(in_dtype(reader, part, dtype) for part, dtype in zip(used, dtypes, strict=True))]
    rest = [
        Formula(tuple(meta.shape), cast(const(0.0), dtype_name(meta.dtype)), dtype_name(meta.dtype))
        for meta in reader.metas[1:]
    ]
    return [normal, *rest]


def _trailing(reader: Reader, x: Known | None, shape: Sequence[int], times: int) -> Value | None:
    """The tensor, if there is one, in `shape`, with that many dimensions of size 1 behind."""
    if x is None:
        return None
    value = reader.builder.reshape(reader.value(x), shape, reader.origin("groups"))
    for _ in range(times):
        value = insert(value, value.ndim)
    return value
