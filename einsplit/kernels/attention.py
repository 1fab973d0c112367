"""Attention as one kernel, and the kernel of its gradients; in numpy.

    attention            b h i [e], b g j [e], b g j [d], masks -> b h i [d], b h i
    attention_values     b h i [e], b g j [e], b g j [d], masks, b h i -> b h i [d]; sum j
    attention_gradient   b h i [e], b g j [e], b g j [d], masks, b h i, b h i [d], b h i [d]
                             -> b h i [e]; sum j,    b g j [e]; sum i,    b g j [d]; sum i

Queries of head h meet the keys and values of head `h // (h's size // g's size)`. With `x0 = sum over e of q k`, and the
masks as x1, x2 ..., the attribute `score` is the expression of what stands under the softmax, -inf where a query does
not look at a key:

    s_ij = score(x0, x1 ...)        z_i = log sum over j of exp(s_ij)        p_ij = exp(s_ij - z_i)
    o_id = sum over j of p_ij v_jd

A query that looks at no key has z = -inf, p = 0 and o = 0.

**Online softmax.** Devices that cut the keys j hold partial results whose state is (z, o): z = m + log l with the
running maximum m and sum l, o the weighted sum by l. Two states combine to

    z = log(exp(z1) + exp(z2))        o = exp(z1 - z) o1 + exp(z2 - z) o2

So z is aggregated first, by logsumexp, and each device's `exp(z1 - z) o1` is then an addend of o like any other
(`attention_values`, given z): it may stay one until a later node sums it. Source: Milakov and Gimelshein 2018, arXiv
1805.02867; Dao et al. 2022, arXiv 2205.14135 (the same state in one pass over blocks).

**Gradients.** `attention_gradient` also reads z, o, and the adjoint do of o:

    delta_i = sum over d of do_id o_id
    dp_ij = sum over d of do_id v_jd        dx0_ij = p_ij (dp_ij - delta_i) score'(x0)
    dq = dx0 k        dk = dx0^T q        dv = p^T do

The attribute `slope` is the expression of score'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from einsplit.dtypes import dtype_name, wide
from einsplit.graph import Kernel, Label, dims_shape
from einsplit.kernels.rows import Attributes, Reference
from einsplit.monoid import Array
from einsplit.scalar import NUMPY, evaluate, num_operations, parse_join

Numbers = NDArray[np.float64]

QUERY, KEY, VALUE = 0, 1, 2
MASKS = 3  # the first operand that is a mask, if there is any

VALUES, LOGSUM = 0, 1  # the results of `attention`
OF_QUERY, OF_KEY, OF_VALUE = 0, 1, 2  # those of `attention_gradient`


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of an attention: batch elements, heads of queries, queries, keys, features of keys and of values."""

    batch: int
    heads: int
    queries: int
    keys: int
    features: int
    values: int

    @property
    def scores(self) -> int:
        return self.batch * self.heads * self.queries * self.keys


def sizes_of(query: Sequence[int], key: Sequence[int], value: Sequence[int]) -> Sizes:
    """The sizes of an attention whose operands have these shapes."""
    return Sizes(query[0], query[1], query[2], key[2], query[3], value[3])


def score_operations(sizes: Sizes, score: str, num_masks: int) -> int:
    """Scalar operations of all scores and of their weights: what every result needs."""
    each = num_operations(parse_join(score, 1 + num_masks)) + 3  # the difference, its exp, the sum
    return sizes.scores * (2 * sizes.features + each)


def value_operations(sizes: Sizes) -> int:
    """Scalar operations of the weighted sum of values."""
    return 2 * sizes.scores * sizes.values


def gradient_operations(sizes: Sizes, slope: str, num_masks: int) -> tuple[int, tuple[int, int, int]]:
    """Scalar operations besides those of the scores: of dx0, and of dq, dk and dv."""
    each = num_operations(parse_join(slope, 1 + num_masks)) + 3
    by_features, by_values = 2 * sizes.scores * sizes.features, 2 * sizes.scores * sizes.values
    return by_values + each * sizes.scores, (by_features, by_features, by_values)


def logsum_of(node: Kernel, sizes: Mapping[Label, int]) -> Kernel:
    """z, as the other result of the call of which `node` is o."""
    own = sizes_of(*(dims_shape(node.reads[k], sizes) for k in (QUERY, KEY, VALUE)))
    score = str(msgspec.json.decode(node.attributes, type=dict[str, object])["score"])
    return msgspec.structs.replace(
        node,
        name=f"{node.name}.logsum",
        dims=node.dims[:-1],
        output=LOGSUM,
        agg="logsumexp",
        dtype=wide(node.dtype),
        operations=score_operations(own, score, len(node.operands) - MASKS),
    )


def _attention(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """(o, z)."""
    query, key, value = _numbers(operands[:MASKS])
    score = _expression(attributes["score"], _products(query, key), operands[MASKS:])
    most = np.max(score, axis=-1, initial=-np.inf)
    finite = np.where(most == -np.inf, 0, most)
    with np.errstate(divide="ignore"):
        logsum = np.log(np.exp(score - finite[..., None]).sum(-1)) + finite
    found = np.einsum("bhij,bhjd->bhid", _weights(score, logsum), _repeated(value, query))
    return [found.astype(operands[VALUE].dtype), logsum]


def _values(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """Addends of o, of the keys at hand."""
    query, key, value, logsum = _numbers([*operands[:MASKS], operands[-1]])
    score = _expression(attributes["score"], _products(query, key), operands[MASKS:-1])
    found = np.einsum("bhij,bhjd->bhid", _weights(score, logsum), _repeated(value, query))
    return [found.astype(operands[VALUE].dtype)]


def _gradient(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """(dq, dk, dv)."""
    query, key, value, logsum, output, adjoint = _numbers([*operands[:MASKS], *operands[-3:]])
    products, masks = _products(query, key), operands[MASKS:-3]
    weights = _weights(_expression(attributes["score"], products, masks), logsum)
    slope = _expression(attributes["slope"], products, masks)
    of_weights = np.einsum("bhid,bhjd->bhij", adjoint, _repeated(value, query))
    delta = np.einsum("bhid,bhid->bhi", adjoint, output)
    # Where nothing is looked at the slope may be anything: 0 times it is 0.
    of_products = np.where(weights == 0, 0, weights * (of_weights - delta[..., None]) * slope)
    found = (
        np.einsum("bhij,bhje->bhie", of_products, _repeated(key, query)),
        _summed(np.einsum("bhij,bhie->bhje", of_products, query), key),
        _summed(np.einsum("bhij,bhid->bhjd", weights, adjoint), value),
    )
    return [array.astype(like.dtype) for array, like in zip(found, operands, strict=False)]


def _numbers(arrays: Sequence[Array]) -> list[Numbers]:
    """What is summed is in float64."""
    return [array.astype(np.float64) for array in arrays]


def _products(query: Numbers, key: Numbers) -> Numbers:
    """`x0`."""
    found: Numbers = np.einsum("bhie,bhje->bhij", query, _repeated(key, query))
    return found


def _expression(text: object, products: Numbers, masks: Sequence[Array]) -> Numbers:
    """The score, or its slope, for each query and key."""
    operands: list[Array] = [products, *masks]
    expr = parse_join(str(text), len(operands))
    found = evaluate(expr, operands, [dtype_name(array.dtype) for array in operands], _no_index, NUMPY)
    return np.broadcast_to(found.astype(np.float64), products.shape)


def _no_index(label: str) -> Array:
    raise AssertionError(f"an index along {label} in a score: positions are operands")


def _weights(score: Numbers, logsum: Numbers) -> Numbers:
    """`p`; where a query looks at no key all scores are -inf, and p is 0."""
    found: Numbers = np.exp(score - np.where(logsum == -np.inf, 0, logsum)[..., None])
    return found


def _repeated(key: Numbers, query: Numbers) -> Numbers:
    """Keys or values for every head of the queries."""
    return np.repeat(key, query.shape[1] // key.shape[1], axis=1)


def _summed(found: Numbers, like: Numbers) -> Numbers:
    """The sum over heads that read the same keys."""
    batch, heads, *rest = found.shape
    groups = like.shape[1]
    total: Numbers = found.reshape(batch, groups, heads // groups, *rest).sum(2)
    return total


REFERENCES: dict[str, Reference] = {
    "attention": _attention,
    "attention_values": _values,
    "attention_gradient": _gradient,
}
