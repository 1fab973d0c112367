"""Scaled dot-product attention: one kernel, cut by batch, heads, queries and keys (an online softmax)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from math import prod

from einsplit.builder import variable_index
from einsplit.builder.settle import VariableDims
from einsplit.builder.views import Value, expand, insert
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import broadcast, dtype_of, shape_of, shifted, wide
from einsplit.capture.reader import Known, Reader, rule
from einsplit.capture.rules.products.spelled_attention import spelled_attention
from einsplit.dtypes import kind
from einsplit.kernels.attention import score_operations, sizes_of, value_operations
from einsplit.scalar import Expr, call, cast, const, index, labels_of, operand, simplify, substitute, to_text

KEYS = 3  # of the dimensions of the scores


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
    is_plain = kind(dtype_of(query)) == "float" and len({dtype_of(x) for x in operands}) == 1 and not dropout_p
    has_elements = all(prod(shape_of(x)) for x in operands)
    is_smooth = isinstance(attn_mask, Value) and kind(attn_mask.dtype) == "float"  # it may have a gradient
    if not is_plain or is_smooth or not has_elements:
        return spelled_attention(reader, query, key, value, attn_mask, dropout_p, is_causal, factor, enable_gqa)
    made = _attention(reader, reader.value(query), reader.value(key), reader.value(value), enable_gqa)
    found = made.value(made.score(factor, attn_mask, is_causal))
    return reader.builder.reshape(found, reader.shape, reader.origin("heads"))


@dataclass(frozen=True, slots=True)
class _Attention:
    """`b (g r) i e, b g j e, b g j d -> b (g r) i d`: a head of keys and values for r heads of queries.

    b stands for any number of dimensions.
    """

    reader: Reader
    operands: tuple[Value, Value, Value]
    reads: tuple[VariableDims, VariableDims, VariableDims]
    batch: tuple[int, ...]  # its size along each dimension
    dims: VariableDims  # of the scores: batch, heads, queries, keys
    shape: tuple[int, ...]
    masks: list[tuple[Value, VariableDims]] = field(default_factory=list)

    def score(self, factor: float, mask: Known | None, is_causal: bool) -> Expr:
        """What stands under the softmax, of the product of query and key and of the masks that this appends.

        The first of them says which keys there are: where a device holds padding, there is none.
        """
        looks = self._along(KEYS, const(True), "keys")
        score = operand(0) * const(factor)
        if is_causal:
            earlier = Formula(self.shape[-2:], call("ge", index("0"), index("1")), "bool")
            looks = call("and", looks, self._mask(earlier))
        if mask is not None and dtype_of(mask) == "bool":
            looks = call("and", looks, self._mask(mask))
        elif mask is not None:
            score = score + cast(self._mask(mask), wide(self.operands[0].dtype))
        return simplify(call("where", looks, score, const(-math.inf)))

    def _mask(self, mask: Known) -> Expr:
        """The mask as an expression of operands: a formula of positions, or the tensor itself."""
        known = self.reader.formula(mask)
        if isinstance(known, Formula):
            moved, before = shifted(known, len(self.batch) + 3), len(self.batch) - 1
            dims = {name: int(name) - before for name in sorted(labels_of(moved))}
            if before < 1 or 0 not in (max(dim, 0) for dim in dims.values()):
                return substitute(moved, {}, {name: self._along(dim, None, "positions") for name, dim in dims.items()})
        whole = self.reader.value(known)
        if any(size != 1 for size in whole.shape[:-3]):
            whole = expand(whole, (*self.batch, *whole.shape[-3:]))
        whole = _four(whole)
        kept = zip(self.dims, whole.shape, strict=True)
        return self._appended(whole, tuple(dim if size != 1 else () for dim, size in kept))

    def _along(self, dim: int, join: Expr | None, part: str) -> Expr:
        """A vector along a dimension of the scores: of `join`, or of the positions."""
        variable = self.reader.builder.variable(self.shape[dim])
        join = variable_index(variable) if join is None else join
        vector = self.reader.builder.einsum([], ((variable,),), join, "sum", self.reader.origin(part))
        for k in range(len(self.dims) - 1):
            vector = insert(vector, 0 if k < dim else vector.ndim)
        return self._appended(vector, tuple(row if k == dim else () for k, row in enumerate(self.dims)))

    def _appended(self, mask: Value, dims: VariableDims) -> Expr:
        self.masks.append((mask, dims))
        return operand(len(self.masks))

    def value(self, score: Expr) -> Value:
        """The kernel node's value."""
        query, key, value = self.operands
        sizes, text = sizes_of(query.shape, key.shape, value.shape), to_text(score)
        features = (*self.reads[0][-1], *self.reads[2][-1])
        return self.reader.builder.kernel(
            "attention",
            [*zip(self.operands, self.reads, strict=True), *self.masks],
            [((*self.dims[:-1], self.reads[2][-1]), value.dtype)],
            self.reader.origin(),
            brackets=frozenset(features),
            attributes={"score": text},
            summed=frozenset(self.dims[KEYS]),
            agg="softmax",
            operations=score_operations(sizes, text, len(self.masks)) + value_operations(sizes),
        )[0]


def _attention(reader: Reader, query: Value, key: Value, value: Value, grouped: bool) -> _Attention:
    """Its operands with all leading dimensions in one; without heads there is one."""
    query, key, value = (insert(x, 0) if x.ndim == 2 else x for x in (query, key, value))
    batch = broadcast(*(x.shape[:-3] for x in (query, key, value)))
    if grouped:
        repeats = query.shape[-3] // key.shape[-3]
    else:
        repeats, key, value = _unrepeated(key, value)
    groups = max(-(-query.shape[-3] // repeats), key.shape[-3], value.shape[-3])
    query = _four(expand(query, (*batch, groups * repeats, *query.shape[-2:])))
    key, value = (_four(expand(x, (*batch, groups, *x.shape[-2:]))) for x in (key, value))
    new = reader.builder.variable
    all_, group, repeat = new(prod(batch)), new(groups), new(repeats)
    (i, e), (j, d) = map(new, query.shape[-2:]), map(new, value.shape[-2:])
    reads = ((all_,), (group, repeat), (i,), (e,)), ((all_,), (group,), (j,), (e,)), ((all_,), (group,), (j,), (d,))
    dims = (all_,), (group, repeat), (i,), (j,)
    shape = (prod(batch), groups * repeats, query.shape[-2], key.shape[-2])
    return _Attention(reader, (query, key, value), reads, batch, dims, shape)


def _four(x: Value) -> Value:
    """The value with its leading dimensions as one, there or not, before its last three."""
    for _ in range(3 - x.ndim):
        x = insert(x, 0)
    leading = tuple(factor for dim in x.dims[:-3] for factor in dim)
    return replace(x, dims=(leading, *x.dims[-3:]))


def _unrepeated(key: Value, value: Value) -> tuple[int, Value, Value]:
    """How often each head of keys and values stands in a row for others, and what they are without that."""
    last = [x.dims[-3][-1] if x.dims[-3] else None for x in (key, value)]
    sizes = {factor.size for factor in last if factor is not None and not factor.carried}
    if len(sizes) != 1 or any(factor is None or factor.carried for factor in last):
        return 1, key, value
    key, value = (replace(x, dims=(*x.dims[:-3], x.dims[-3][:-1], *x.dims[-2:])) for x in (key, value))
    return sizes.pop(), key, value
