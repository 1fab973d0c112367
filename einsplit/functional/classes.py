"""Scores of classes, and rows of tables: softmax, log_softmax, cross_entropy, embedding."""

from __future__ import annotations

from typing import Literal

from einsplit.einsum import einsum
from einsplit.errors import NotationError, advice
from einsplit.functional.operands import X, check_integers, dtype_of

Reduction = Literal["mean", "sum", "none"]


def softmax(x: X) -> X:
    """`y_k = exp(x_k - m) / sum over j of exp(x_j - m)`, where `m = max over j of x_j`: positive, and of sum 1.

    Shapes: `x` `... k`; the result is like it. m keeps exp from overflowing; the quotient does not depend on it, so it
    is a constant to whoever differentiates. A row whose every element is -inf is NaN, as in torch.
    """
    most = einsum("... k -> ...", x, agg="max")
    powers = einsum("... k, ... -> ... k", x, most, join="exp(x - stop_gradient(y))")
    total = einsum("... k -> ...", powers)
    return einsum("... k, ... -> ... k", powers, total, join="x / y")


def log_softmax(x: X) -> X:
    """`y_k = (x_k - m) - log (sum over j of exp(x_j - m))`, where `m = max over j of x_j`: the logarithm of softmax.

    Shapes: `x` `... k`; the result is like it. Far more exact than the logarithm taken afterwards.
    """
    most = einsum("... k -> ...", x, agg="max")
    below = einsum("... k, ... -> ... k", x, most, join="x - stop_gradient(y)")
    total = einsum("... k -> ...", below, agg="logsumexp")
    return einsum("... k, ... -> ... k", below, total, join="x - y")


def cross_entropy(scores: X, targets: X, *, ignore_index: int = -100, reduction: Reduction = "mean") -> X:
    """`- sum over v of [targets = v] log_softmax(scores)_v`, where the target is not `ignore_index`, else 0.

    Shapes: `scores` `... v`, the last dimension being that of the classes; `targets` `...`, integers. The result has
    the shape of the targets ("none"), or is one number: their sum ("sum"), or the sum over the number of targets that
    are not `ignore_index` ("mean"; NaN where none is). A target that is no class and not `ignore_index` counts as 0.
    Raises DtypeError for targets that are no integers, NotationError for an unknown reduction.
    """
    if reduction not in ("mean", "sum", "none"):
        raise NotationError(f"unknown reduction {reduction!r}.", advice(reduction, ("mean", "sum", "none")))
    check_integers("..., ... v -> ...", 0, targets, "targets")
    taken = einsum("..., ... v -> ...", targets, log_softmax(scores), join="where(x == index(v), y, 0)")
    each = einsum("..., ... -> ...", targets, taken, join=f"where(x != {ignore_index}, -y, 0)")
    if reduction == "none":
        return each
    total = einsum("... -> ", each)
    if reduction == "sum":
        return total
    number = einsum("... -> ", targets, join=f"cast(x != {ignore_index}, {dtype_of(scores)})")
    return einsum(", -> ", total, number, join="x / y")


def embedding(ids: X, table: X) -> X:
    """`y_d = sum over v of [ids = v] table_vd`: row `ids` of the table.

    Shapes: `ids` `...`, integers; `table` `v d`; the result `... d`. An id that is no row, negative ones among them,
    gives zeros. Cut along v, every device looks up in its part of the table and what they find is added (vocabulary
    parallelism). Raises DtypeError for ids that are no integers.
    """
    text = "..., v d -> ... d"
    check_integers(text, 0, ids, "ids")
    return einsum(text, ids, table, join="where(x == index(v), y, 0)")
