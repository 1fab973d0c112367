"""Positions that look at each other: attention, and the rotation that tells it how far apart they are."""

from __future__ import annotations

from math import sqrt

from einsplit.einsum import einsum
from einsplit.functional.operands import X, dtype_of, refuse_shape, shape_of, wide_of

_SCORES = "... (g r) i d, ... g j d -> ... (g r) i j"
_VALUES = "... (g r) i j, ... g j e -> ... (g r) i e"


def attention(
    query: X, key: X, value: X, *, mask: X | None = None, causal: bool = False, scale: float | None = None
) -> X:
    """`o_ie = sum over j of p_ij value_je`, with `p_ij = softmax over j of (scale sum over d of query_id key_jd)`.

    Shapes: `query` `... (g r) i d`: g groups of r heads each; `key` `... g j d` and `value` `... g j e`: one head for
    each group (r = 1: ordinary attention; g = 1: multi-query); the result `... (g r) i e`. `scale` is 1 / sqrt(d)
    unless given. `causal`: position i looks at j <= i. `mask` `i j`, with any of the dimensions before them: of
    booleans, True where i looks at j; of numbers, added to the scaled scores. A position that looks at none gets zeros.

    The softmax is divided by its sum last, when j is gone. What is made is O(i j): the notation has no online softmax.
    Source: Vaswani et al. 2017 (arXiv 1706.03762); groups: Ainslie et al. 2023 (arXiv 2305.13245).
    """
    if len(shape_of(query)) < 3:
        refuse_shape(_SCORES, 0, f"the query has shape {shape_of(query)}.", "It has heads, positions and features.")
    factor = 1 / sqrt(max(shape_of(query)[-1], 1)) if scale is None else float(scale)
    scores = einsum(_SCORES, query, key)
    seen = f"where(index(i) >= index(j), x * {factor}, -inf)" if causal else f"x * {factor}"
    scores = einsum("... i j -> ... i j", scores, join=seen)
    if mask is not None:
        masked = "where(y, x, -inf)" if dtype_of(mask) == "bool" else "x + y"
        scores = einsum("... i j, ... i j -> ... i j", scores, mask, join=masked)
    most = einsum("... j -> ...", scores, agg="max")
    # Where all is masked the maximum is -inf, and -inf - -inf would be NaN.
    finite = einsum("... -> ...", most, join="stop_gradient(where(x == -inf, 0, x))")
    powers = einsum("... j, ... -> ... j", scores, finite, join="exp(x - y)")
    total = einsum("... j -> ...", powers)
    return einsum("... e, ... -> ... e", einsum(_VALUES, powers, value), total, join="x / where(y == 0, 1, y)")


def rotary_embedding(x: X, positions: X | None = None, *, base: float = 10000.0, interleaved: bool = False) -> X:
    """`(y_0d, y_1d) = (x_0d cos a - x_1d sin a, x_0d sin a + x_1d cos a)`, `a = position base^(-d / D)`, d below D.

    Shapes: `x` `... s (2 d)`: halves (Llama), or `... s (d 2)`: neighbours (GPT-J), if `interleaved`; the result is
    like it. `positions` `s`, numbers or integers; 0, 1 ... along s unless given. The rotation is the sum over g of a
    matrix `[h g]` of 2 x 2 that is written by label indices; nothing is sliced, so a device that holds whole pairs
    rotates them alone. Angles are computed in float32, those of float64 in float64.
    Source: Su et al. 2021 (arXiv 2104.09864).
    """
    pair, turned = ("(d g)", "(d h)") if interleaved else ("(g d)", "(h d)")
    text = f"... s {pair} -> ... s {turned}" if positions is None else f"... s {pair}, s -> ... s {turned}"
    if len(shape_of(x)) < 2:
        refuse_shape(text, 0, f"x has shape {shape_of(x)}.", "It has positions and features.")
    wide, half = wide_of(x), max(shape_of(x)[-1] // 2, 1)
    position = f"cast({'index(s)' if positions is None else 'y'}, {wide})"
    angle = f"{position} * {float(base)} ** (index(d) * {-1 / half})"
    matrix = f"where(index(h) == index(g), cos({angle}), where(index(h) < index(g), -sin({angle}), sin({angle})))"
    join = f"cast(cast(x, {wide}) * {matrix}, {dtype_of(x)})"
    if positions is None:
        return einsum(text, x, join=join, g=2, h=2)
    return einsum(text, x, positions, join=join, g=2, h=2)
