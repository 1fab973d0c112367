"""Scaled dot-product attention: one kernel, cut by batch, heads, queries and keys (an online softmax)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from math import prod

from einsplit.builder.settle import VariableDims
from einsplit.builder.views import Value, expand, insert
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import broadcast, dtype_of, shape_of
from einsplit.capture.reader import Known, Reader, rule
from einsplit.capture.rules.elementwise.random import uniform
from einsplit.capture.rules.products.attention_masks import KEYS, Masks, leading_as_one
from einsplit.capture.rules.products.spelled_attention import spelled_attention
from einsplit.dtypes import kind, wide
from einsplit.kernels.attention import Work
from einsplit.scalar import Expr, call, cast, const, index, operand, simplify, substitute, to_text


@rule("aten.scaled_dot_product_attention.default")
def attention(
    reader: Reader,
    query: Known,
    key: Known,
    value: Known,
    attn_mask: Known | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    """`softmax(query key^T * scale + mask) value` over the last two dimensions.

    A query that looks at no key gives 0, as in torch. Source: the reference code in the documentation of
    torch.nn.functional.scaled_dot_product_attention.
    """
    factor = 1 / math.sqrt(max(shape_of(query)[-1], 1)) if scale is None else scale
    operands = (query, key, value)
    is_real = kind(dtype_of(query)) == "float" and len({dtype_of(x) for x in operands}) == 1
    scores = (*shape_of(query)[:-1], shape_of(key)[-2])
    is_broader = attn_mask is not None and broadcast(scores, shape_of(attn_mask)) != scores
    is_uneven = enable_gqa and shape_of(key)[-3] != shape_of(value)[-3]
    if not is_real or is_broader or is_uneven or not all(prod(shape_of(x)) for x in operands):
        return spelled_attention(reader, query, key, value, attn_mask, dropout_p, is_causal, factor, enable_gqa)
    of = _operands(reader, reader.value(query), reader.value(key), reader.value(value), enable_gqa)
    masks = Masks(reader, of.batch, of.dims, of.shape)
    attributes = {"score": to_text(_score(masks, factor, attn_mask, is_causal, wide(dtype_of(query))))}
    if dropout_p:
        attributes["factor"] = to_text(_kept(masks, dropout_p))
    found = _kernel(reader, of, masks, attributes)
    return reader.builder.reshape(found, reader.shape, reader.origin("heads"))


def _score(masks: Masks, factor: float, mask: Known | None, is_causal: bool, dtype: str) -> Expr:
    """What stands under the softmax, of the product of query and key and of the masks.

    The first mask says which keys there are: where a device holds padding, there is none.
    """
    looks = masks.along(KEYS, const(True), "keys")
    score = operand(0) * const(factor)
    if is_causal:
        looks = call(
            "and", looks, masks.expression(Formula(masks.shape[-2:], call("ge", index("0"), index("1")), "bool"))
        )
    if mask is not None and dtype_of(mask) == "bool":
        looks = call("and", looks, masks.expression(mask))
    elif mask is not None:
        score = score + cast(masks.expression(mask), dtype)
    return simplify(call("where", looks, score, const(-math.inf)))


def _kept(masks: Masks, share: float) -> Expr:
    """What dropout multiplies weights by: the same for an element under every plan."""
    if share >= 1:
        return const(0.0)
    shape = (*masks.batch, *masks.shape[1:])
    drawn, seed, place = uniform(masks.reader, shape, 1)
    drawn = substitute(drawn, {1: masks.expression(seed), 2: masks.expression(place)}, {})
    return simplify(call("where", call("ge", drawn, const(share)), const(1 / (1 - share)), const(0.0)))


@dataclass(frozen=True, slots=True)
class _Operands:
    """`b (g r) i e, b g j e, b g j d`: a head of keys and values for r heads of queries; b is any number of them."""

    values: tuple[Value, Value, Value]
    reads: tuple[VariableDims, VariableDims, VariableDims]
    batch: tuple[int, ...]  # its size along each dimension
    dims: VariableDims  # of the scores: batch, heads, queries, keys
    shape: tuple[int, ...]


def _operands(reader: Reader, query: Value, key: Value, value: Value, is_grouped: bool) -> _Operands:
    """All leading dimensions in one; without heads there is one."""
    query, key, value = (insert(x, 0) if x.ndim == 2 else x for x in (query, key, value))
    batch = broadcast(*(x.shape[:-3] for x in (query, key, value)))
    if is_grouped:
        repeats = query.shape[-3] // key.shape[-3]
    else:
        repeats, key, value = _unrepeated(key, value)
    groups = max(key.shape[-3], value.shape[-3], -(-query.shape[-3] // repeats))  # any of them may be one for all
    query = leading_as_one(expand(query, (*batch, groups * repeats, *query.shape[-2:])))
    key, value = (leading_as_one(expand(x, (*batch, groups, *x.shape[-2:]))) for x in (key, value))
    new = reader.builder.variable
    b, g, r = new(prod(batch)), new(groups), new(repeats)
    (i, e), (j, d) = map(new, query.shape[-2:]), map(new, value.shape[-2:])
    reads = ((b,), (g, r), (i,), (e,)), ((b,), (g,), (j,), (e,)), ((b,), (g,), (j,), (d,))
    shape = (prod(batch), groups * repeats, query.shape[-2], key.shape[-2])
    return _Operands((query, key, value), reads, batch, ((b,), (g, r), (i,), (j,)), shape)


def _unrepeated(key: Value, value: Value) -> tuple[int, Value, Value]:
    """How often each head of keys and values stands in a row for others, and what they are without that."""
    last = [x.dims[-3][-1] if x.dims[-3] else None for x in (key, value)]
    sizes = {factor.size for factor in last if factor is not None and not factor.carried}
    if len(sizes) != 1 or any(factor is None or factor.carried for factor in last):
        return 1, key, value
    key, value = (replace(x, dims=(*x.dims[:-3], x.dims[-3][:-1], *x.dims[-2:])) for x in (key, value))
    return sizes.pop(), key, value


def _kernel(reader: Reader, of: _Operands, masks: Masks, attributes: dict[str, str]) -> Value:
    """The kernel node's value."""
    value, num_masks = of.values[2], len(masks.read)
    work = Work.of(attributes, [x.shape for x in of.values], num_masks)
    return reader.builder.kernel(
        "attention",
        [*zip(of.values, of.reads, strict=True), *masks.read],
        [((*of.dims[:KEYS], of.reads[2][-1]), value.dtype)],
        reader.origin(),
        brackets=frozenset((*of.reads[0][-1], *of.reads[2][-1], *(of.dims[KEYS] if masks.may_be_huge else ()))),
        attributes=attributes,
        summed=frozenset(() if masks.may_be_huge else of.dims[KEYS]),
        agg="softmax",
        operations=work.scores() + work.output(),
    )[0]
