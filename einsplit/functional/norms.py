"""Norms of the last dimension: layer_norm, rms_norm."""

from __future__ import annotations

from einsplit.einsum import einsum
from einsplit.functional.operands import X


def rms_norm(x: X, weight: X | None = None, *, eps: float = 1e-6) -> X:
    """`y_k = weight_k x_k / sqrt(mean over j of x_j^2 + eps)`.

    Shapes: `x` `... k`, `weight` `k`; the result is like `x`. Source: Zhang and Sennrich 2019 (arXiv 1910.07467).
    """
    square = einsum("... k -> ...", x, join="x * x", agg="mean")
    if weight is None:
        return einsum("... k, ... -> ... k", x, square, join=f"x * rsqrt(y + {eps})")
    return einsum("... k, ..., k -> ... k", x, square, weight, join=f"x * rsqrt(y + {eps}) * z")


def layer_norm(x: X, weight: X | None = None, bias: X | None = None, *, eps: float = 1e-5) -> X:
    """`y_k = weight_k c_k / sqrt(mean over j of c_j^2 + eps) + bias_k`, where `c_k = x_k - mean over j of x_j`.

    Shapes: `x` `... k`, `weight` and `bias` `k`; the result is like `x`. The variance is that of all elements (not
    one less). Source: Ba, Kiros and Hinton 2016 (arXiv 1607.06450).
    """
    centre = einsum("... k -> ...", x, agg="mean")
    centred = einsum("... k, ... -> ... k", x, centre, join="x - y")
    y = rms_norm(centred, weight, eps=eps)
    return y if bias is None else einsum("... k, k -> ... k", y, bias, join="x + y")
