"""Gradients of attention: one call gives those of queries, keys and values; `einsplit.kernels.attention` says which.

Gradients of these are found on the spelled out graph (`einsplit.passes.spell_attention`).
"""

from __future__ import annotations

import msgspec

from einsplit.autodiff.kernels.call import Call, Rule, value
from einsplit.dtypes import wide
from einsplit.errors import GradientError
from einsplit.graph import Kernel, Label
from einsplit.kernels.attention import (
    KEY,
    MASKS,
    OF_KEY,
    OF_QUERY,
    OF_VALUE,
    QUERY,
    VALUE,
    gradient_operations,
    logsum_of,
    score_operations,
    sizes_of,
)
from einsplit.notation.dims import flat
from einsplit.scalar import adjoints, cast, const, parse_join, to_text

_RESULTS = {QUERY: OF_QUERY, KEY: OF_KEY, VALUE: OF_VALUE}


def _attention(call: Call, k: int) -> int:
    node, draft = call.node, call.draft
    if k not in _RESULTS:
        raise GradientError(f"{node.name}: a mask of attention has no gradient.", "Detach it.", node.source)
    given = [call.given(at) for at in range(len(node.operands))]
    score = str(call.attributes["score"])
    dtypes = [wide(node.dtype), *(draft.nodes[row.node].dtype for row, _ in given[MASKS:])]
    slope = adjoints(parse_join(score, len(dtypes)), dtypes, cast(const(1.0), dtypes[0]), [0])
    attributes: dict[str, object] = {"score": score, "slope": to_text(slope.get(0, const(0.0)))}
    logsum = value(draft.add(logsum_of(node, draft.sizes)), node.dims[:-1])
    operands = [*given, logsum, value(call.at, node.dims), call.bar]
    operations, shared = _operations(call, attributes)[_RESULTS[k]]
    found = call.apply("attention_gradient", attributes, operands, node.reads[k])
    draft.nodes[found] = msgspec.structs.replace(
        draft.nodes[found],
        output=_RESULTS[k],
        zeroed=_apart(node),
        operations=operations,
        shared=shared,
    )
    return found


def _apart(node: Kernel) -> tuple[Label, ...]:
    """The labels of queries or keys that not both have: some result sums over each."""
    query, key = flat(node.reads[QUERY]), flat(node.reads[KEY])
    return tuple(label for label in (*query, *key) if (label in query) != (label in key))


def _operations(call: Call, attributes: dict[str, object]) -> dict[int, tuple[int, int]]:
    """By result: its scalar operations alone, and those of them that the call does for each of its results."""
    sizes = sizes_of(*(call.shape(call.node.reads[k]) for k in (QUERY, KEY, VALUE)))
    num_masks = len(call.node.operands) - MASKS
    score = score_operations(sizes, str(attributes["score"]), num_masks)
    products, own = gradient_operations(sizes, str(attributes["slope"]), num_masks)
    return {
        OF_QUERY: (score + products + own[OF_QUERY], score + products),
        OF_KEY: (score + products + own[OF_KEY], score + products),
        OF_VALUE: (score + own[OF_VALUE], score),
    }


def _spelled(call: Call, k: int) -> int:
    raise AssertionError(f"{call.node.kernel} is differentiated as the einsums that it stands for")


RULES: dict[str, Rule] = {"attention": _attention, "attention_values": _spelled, "attention_gradient": _spelled}
