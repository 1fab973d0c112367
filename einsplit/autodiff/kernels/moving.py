"""Gradients of kernels that move elements: each moves them back."""

from __future__ import annotations

from einsplit.autodiff.kernels.call import Call, Rule


def _reshape(call: Call, k: int) -> int:
    return call.apply("reshape", {}, [call.bar], call.node.reads[k])


def _slice(call: Call, k: int) -> int:
    return call.apply("place", call.attributes, [call.bar], call.node.reads[k])


def _place(call: Call, k: int) -> int:
    return call.apply("slice", call.attributes, [call.bar], call.node.reads[k])


def _cat(call: Call, k: int) -> int:
    dim = call.number("dim")
    start = sum(call.shape(dims)[dim] for dims in call.node.reads[:k])
    attributes: dict[str, object] = {"dim": dim, "start": start, "step": 1}
    return call.apply("slice", attributes, [call.bar], call.node.reads[k])


RULES: dict[str, Rule] = {"reshape": _reshape, "slice": _slice, "place": _place, "cat": _cat}
