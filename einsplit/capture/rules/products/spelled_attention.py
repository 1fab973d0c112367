"""Attention spelled out in einsums: scores, mask, softmax, weighted sum. Every label of it can be cut.

For what the kernel does not do: dropout of weights, masks that may have gradients, tensors without elements.
"""

from __future__ import annotations

import math

import torch

from einsplit.builder.views import Value, expand, insert
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import contract, dtype_of, elementwise, pointwise, shape_of
from einsplit.capture.reader import Known, Reader
from einsplit.capture.rules.elementwise.random import dropped
from einsplit.capture.rules.reductions.reduce import softmax_over
from einsplit.scalar import call, cast, const, index, operand


def spelled_attention(
    reader: Reader,
    query: Known,
    key: Known,
    value: Known,
    attn_mask: Known | None,
    dropout_p: float,
    is_causal: bool,
    factor: float,
    enable_gqa: bool,
) -> Value:
    """`softmax(query key^T * factor + mask) value` over the last two dimensions."""
    if enable_gqa:
        heads = shape_of(query)[-3]
        key, value = (_repeat_heads(reader, part, heads) for part in (key, value))
    scaled = pointwise(reader, lambda a: a * const(factor), query, dtype=dtype_of(query))
    scores: Value | Formula = contract(reader, "...id,...jd->...ij", scaled, key, part="scores")
    if is_causal:
        earlier = Formula(tuple(scores.shape[-2:]), call("ge", index("0"), index("1")), "bool")
        scores = _masked(reader, scores, earlier)
    if attn_mask is not None:
        scores = _masked(reader, scores, attn_mask)
    # A row whose every key is masked attends to nothing; most masks are known, and have no such row.
    safe = attn_mask is not None and (is_causal or _may_block_rows(attn_mask))
    weights = softmax_over(reader, scores, -1, dtype_of(value), safe=safe)
    if dropout_p:
        weights = dropped(reader, weights, dropout_p)
    return contract(reader, "...ij,...jd->...id", weights, value, part="values")


def _masked(reader: Reader, scores: Value | Formula, mask: Known) -> Value | Formula:
    """-inf where a mask of booleans is false; a mask of numbers is added."""
    if dtype_of(mask) != "bool":
        return elementwise(reader, operand(1) + operand(0), mask, scores, part="masked")
    blocked = cast(const(-math.inf), scores.dtype)
    return elementwise(reader, call("where", operand(0), operand(1), blocked), mask, scores, part="masked")


def _may_block_rows(mask: Known) -> bool:
    """Whether the mask may leave a row without keys; torch's own causal mask leaves each the first."""
    if not isinstance(mask, torch.Tensor):
        return True
    is_open = mask if mask.dtype == torch.bool else mask > -math.inf
    return not bool(is_open.any(-1).all())


def _repeat_heads(reader: Reader, part: Known, heads: int) -> Value:
    """Each head `heads / own heads` times, as a view: `b k j d -> b (k g) j d`."""
    found = insert(reader.value(part), len(shape_of(part)) - 2)
    times = heads // shape_of(part)[-3]
    wide = expand(found, (*found.shape[:-3], times, *found.shape[-2:]))
    return reader.builder.reshape(wide, (*found.shape[:-4], heads, *found.shape[-2:]), reader.origin("heads"))
