"""Gradients of kernels that order, choose or add up along one dimension."""

from __future__ import annotations

import msgspec

from einsplit.autodiff.kernels.call import Call, Rule, value


def _ordered(call: Call, k: int) -> int:
    """Every element back to where it came from: the kernel's own second result says where."""
    order = call.draft.add(msgspec.structs.replace(call.node, output=1, dtype="int64"))
    operands = [call.bar, value(order, call.node.dims)]
    return call.apply("scatter", {"dim": call.number("dim")}, operands, call.node.reads[k])


def _scatter(call: Call, k: int) -> int | None:
    attributes: dict[str, object] = {"dim": call.number("dim")}
    return call.apply("gather", attributes, [call.bar, call.given(1)], call.node.reads[0]) if k == 0 else None


def _gather(call: Call, k: int) -> int | None:
    attributes: dict[str, object] = {"dim": call.number("dim")}
    return call.apply("scatter", attributes, [call.bar, call.given(1)], call.node.reads[0]) if k == 0 else None


def _cumsum(call: Call, k: int) -> int:
    """The sum of what follows: a cumulative sum from behind."""
    dim, dims = call.number("dim"), call.node.dims
    backwards: dict[str, object] = {"dim": dim, "start": call.shape(dims)[dim] - 1, "step": -1}
    turned = call.apply("slice", backwards, [call.bar], dims)
    summed = call.apply("cumsum", {"dim": dim}, [value(turned, dims)], dims)
    return call.apply("slice", backwards, [value(summed, dims)], call.node.reads[k])


RULES: dict[str, Rule] = {
    "top_k": _ordered,
    "sort": _ordered,
    "scatter": _scatter,
    "gather": _gather,
    "cumsum": _cumsum,
}
