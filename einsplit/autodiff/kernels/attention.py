"""Gradients of attention: one call gives those of all its operands; `einsplit.kernels.attention` says which.

Gradients of these are found on the spelled out graph (`einsplit.passes.spell_attention`).
"""

from __future__ import annotations

import msgspec

from einsplit.autodiff.kernels.call import Call, Rule, value
from einsplit.dtypes import kind, wide
from einsplit.graph import Kernel, Label
from einsplit.kernels.attention import KEY, MASKS, QUERY, VALUE, VALUES, Work, logsum_of
from einsplit.notation.dims import flat
from einsplit.scalar import adjoints, cast, const, parse_join, to_text

_NAMES = {QUERY: "query", KEY: "key", VALUE: "value"}


def _attention(call: Call, k: int) -> int:
    node, draft = call.node, call.draft
    assert node.output == VALUES, "of z alone nothing is differentiated: attention is spelled out before"
    given = [call.given(at) for at in range(len(node.operands))]
    attributes = _attributes(call)
    logsum = value(draft.add(logsum_of(node, draft.sizes)), node.dims[:-1])
    operands = [*given, logsum, value(call.at, node.dims), call.bar]
    found = call.apply("attention_gradient", attributes, operands, node.reads[k], dtype=_dtype(call, k))
    shapes = [call.shape(node.reads[at]) for at in (QUERY, KEY, VALUE)]
    operations, shared = Work.of(attributes, shapes, len(node.operands) - MASKS).gradient(k)
    draft.nodes[found] = msgspec.structs.replace(
        draft.nodes[found],
        name=f"{call.origin.name}.{_NAMES.get(k, 'mask')}",
        output=k,
        zeroed=_summed_somewhere(call),
        operations=operations,
        shared=shared,
    )
    return found


def _attributes(call: Call) -> dict[str, object]:
    """Those of the node, with the derivatives of its score by x0 and by each mask of real numbers."""
    score = str(call.attributes["score"])
    dtypes = [wide(call.node.dtype), *(_dtype(call, k) for k in range(MASKS, len(call.node.operands)))]
    smooth = [k for k, dtype in enumerate(dtypes) if kind(dtype) == "float"]
    found = adjoints(parse_join(score, len(dtypes)), dtypes, cast(const(1.0), dtypes[0]), smooth)
    return {**call.attributes, "slopes": {str(k): to_text(found.get(k, const(0.0))) for k in smooth}}


def _dtype(call: Call, k: int) -> str:
    return call.draft.nodes[call.node.operands[k].node].dtype


def _summed_somewhere(call: Call) -> tuple[Label, ...]:
    """The labels that some result sums: what not both queries and keys have, and what some mask does not have."""
    node: Kernel = call.node
    read = [set(flat(node.reads[k])) for k in (QUERY, KEY)]
    read += [set(flat(dims)) for k, dims in enumerate(node.reads) if k >= MASKS and kind(_dtype(call, k)) == "float"]
    free = dict.fromkeys(flat((*node.reads[QUERY], *node.reads[KEY])))
    return tuple(label for label in free if label not in node.brackets and not all(label in labels for labels in read))


RULES: dict[str, Rule] = {"attention": _attention}
