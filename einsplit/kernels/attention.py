"""Attention as one kernel, and the kernel of its gradients; in numpy.

    attention            b h i [e], b g j [e], b g j [d], masks -> b h i [d], b h i
    attention_values     b h i [e], b g j [e], b g j [d], masks, b h i -> b h i [d]; sum j
    attention_gradient   b h i [e], b g j [e], b g j [d], masks, b h i, b h i [d], b h i [d]
                             -> b h i [e]; sum j,    b g j [e]; sum i,    b g j [d]; sum i,    each mask; sum the rest

Queries of head h meet the keys and values of head `h // (h's size // g's size)`. With `x0 = sum over e of q k`, and the
masks as x1, x2 ..., the attribute `score` is the expression of what stands under the softmax, -inf where a query does
not look at a key:

    s_ij = score(x0, x1 ...)        z_i = log sum over j of exp(s_ij)        p_ij = exp(s_ij - z_i)
    o_id = sum over j of p_ij v_jd

p is computed as the softmax over the keys at hand times `exp(z' - z)`, with z' their own z: so nothing is lost where
scores are so large that m + log l is m, as long as a query's keys are not cut. A query that looks at no key has
z = -inf, p = 0 and o = 0. Where there is an attribute `factor`, an expression of the same operands, weights are
multiplied by it after the softmax (dropout): o_id = sum over j of p_ij factor_ij v_jd.

**Online softmax.** Devices that cut the keys j hold partial results whose state is (z, o): z = m + log l with the
running maximum m and sum l, o the weighted sum by l. Two states combine to

    z = log(exp(z1) + exp(z2))        o = exp(z1 - z) o1 + exp(z2 - z) o2

So z is aggregated first, by logsumexp, and each device's `exp(z1 - z) o1` is then an addend of o like any other
(`attention_values`, given z): it may stay one until a later node sums it. Source: Milakov and Gimelshein 2018, arXiv
1805.02867; Dao et al. 2022, arXiv 2205.14135 (the same state in one pass over blocks).

**Gradients.** `attention_gradient` also reads z, o, and the adjoint do of o; its `slopes` are the expressions of the
score's derivatives, by the number of an operand.

    delta_i = sum over d of do_id o_id
    dp_ij = factor_ij sum over d of do_id v_jd        ds_ij = p_ij (dp_ij - delta_i)
    dx0 = ds score'(x0)        dq = dx0 k        dk = dx0^T q        dv = (p factor)^T do        dmask = ds score'(mask)

A mask's is summed over what the mask does not have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from einsplit.dtypes import DType, dtype_name, wide
from einsplit.graph import Kernel, Label, dims_shape
from einsplit.kernels.rows import Attributes, Reference
from einsplit.monoid import Array
from einsplit.scalar import NUMPY, Expr, call, cast, const, evaluate, num_operations, operand, parse_join

T = TypeVar("T")
Numbers = NDArray[np.float64]

QUERY, KEY, VALUE, MASKS = 0, 1, 2, 3  # operands: those from MASKS on are masks, as many as there are
VALUES, LOGSUM = 0, 1  # the results of `attention`; those of `attention_gradient` are numbered as its operands
NUM_GIVEN = {"attention": 0, "attention_values": 1, "attention_gradient": 3}  # operands behind the masks


@dataclass(frozen=True, slots=True)
class Parts(Generic[T]):
    """The operands of one of the kernels; `given` are z, or z, o and do."""

    query: T
    key: T
    value: T
    masks: tuple[T, ...]
    given: tuple[T, ...]


def parts_of(kernel: str, operands: Sequence[T]) -> Parts[T]:
    """What each operand is."""
    end = len(operands) - NUM_GIVEN[kernel]
    query, key, value = operands[:MASKS]
    return Parts(query, key, value, tuple(operands[MASKS:end]), tuple(operands[end:]))


@dataclass(frozen=True, slots=True)
class Work:
    """Scalar operations of an attention, by its attributes and by how many scores, features and values it has."""

    attributes: Attributes
    num_masks: int
    num_scores: int
    features: int
    values: int

    @classmethod
    def of(cls, attributes: Attributes, shapes: Sequence[Sequence[int]], num_masks: int) -> Work:
        """`shapes` are those of query, key and value."""
        query, key, value = shapes
        return cls(attributes, num_masks, query[0] * query[1] * query[2] * key[2], query[3], value[3])

    def scores(self) -> int:
        """Of all scores and their weights, which every result needs: the difference from z, its exp, the sum."""
        each = 2 * self.features + self._each(self.attributes["score"]) + 3
        factor = self.attributes.get("factor")
        return self.num_scores * (each + (self._each(factor) + 1 if factor is not None else 0))

    def output(self) -> int:
        """Of the weighted sum of values."""
        return 2 * self.num_scores * self.values

    def gradient(self, number: int) -> tuple[int, int]:
        """Of that result of `attention_gradient` alone; and of them, those that another result's call does as well."""
        if number == VALUE:
            return self.scores() + 2 * self.num_scores * self.values, self.scores()
        shared = self.scores() + self.num_scores * (2 * self.values + 3)
        slope = self.num_scores * self._each(slopes(self.attributes)[str(operand_of(number))])
        if number >= MASKS:
            return shared + slope + self.num_scores, shared
        return shared + slope + 2 * self.num_scores * self.features, shared + slope

    def _each(self, text: object) -> int:
        return num_operations(parse_join(str(text), 1 + self.num_masks))


def slopes(attributes: Attributes) -> Mapping[str, str]:
    """The derivatives of the score, by the number of the operand in it."""
    return msgspec.convert(attributes["slopes"], dict[str, str])


def operand_of(number: int) -> int:
    """Which operand of the score the adjoint of an operand of the kernel goes through: x0, or its own as a mask."""
    return 0 if number < MASKS else number - MASKS + 1


def logsum_of(node: Kernel, sizes: Mapping[Label, int]) -> Kernel:
    """z, as the other result of the call of which `node` is o."""
    attributes = msgspec.json.decode(node.attributes, type=dict[str, object])
    shapes = [dims_shape(node.reads[k], sizes) for k in (QUERY, KEY, VALUE)]
    return msgspec.structs.replace(
        node,
        name=f"{node.name}.logsum",
        dims=node.dims[:-1],
        output=LOGSUM,
        agg="logsumexp",
        dtype=wide(node.dtype),
        operations=Work.of(attributes, shapes, len(node.operands) - MASKS).scores(),
    )


@dataclass(frozen=True, slots=True)
class Completion:
    """A kernel that is a result of another one's call, completed by operands that the call does not have."""

    call: str  # the kernel that is called
    num_given: int  # operands behind those of the call
    join: Callable[[DType], Expr]  # of the call's own result in that dtype, its other result, and what is given


def weighted_anew(dtype: DType) -> Expr:
    """`o' exp(z' - z)`, of o', z' and z; where there is no key at hand, 0."""
    weight = call("where", call("eq", operand(1), const(-math.inf)), const(0.0), call("exp", operand(1) - operand(2)))
    return cast(cast(operand(0), wide(dtype)) * weight, dtype) if wide(dtype) != dtype else operand(0) * weight


COMPLETIONS = {"attention_values": Completion("attention", 1, weighted_anew)}


# ------------------------------------------------------------------------------- the meaning, in numpy


def _attention(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """(o, z)."""
    of = _Scored(attributes, "attention", operands)
    return [of.output(of.logsum).astype(operands[VALUE].dtype), of.logsum]


def _values(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """Addends of o, of the keys at hand."""
    of = _Scored(attributes, "attention_values", operands)
    return [of.output(of.given[0]).astype(operands[VALUE].dtype)]


def _gradient(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """(dq, dk, dv, and of every mask that has a slope its adjoint; of others zeros)."""
    of = _Scored(attributes, "attention_gradient", operands)
    logsum, output, adjoint = of.given
    weights = of.weights(logsum)
    of_weights = of.factor() * np.einsum("bhid,bhjd->bhij", adjoint, of.repeated(of.value))
    delta = np.einsum("bhid,bhid->bhi", adjoint, output)
    of_scores = weights * (of_weights - delta[..., None])
    # Where nothing is looked at a slope may be anything: 0 times it is 0.
    by = {k: np.where(weights == 0, 0, of_scores * of.expression(text)) for k, text in slopes(attributes).items()}
    found = [
        np.einsum("bhij,bhje->bhie", by["0"], of.repeated(of.key)),
        of.summed(np.einsum("bhij,bhie->bhje", by["0"], of.query)),
        of.summed(np.einsum("bhij,bhid->bhjd", weights * of.factor(), adjoint)),
        *(_reduced(by.get(str(k), np.zeros_like(weights)), mask.shape) for k, mask in enumerate(of.masks, 1)),
    ]
    return [array.astype(like.dtype) for array, like in zip(found, operands, strict=False)]


class _Scored:
    """The operands of one of the kernels, sums in float64."""

    def __init__(self, attributes: Attributes, kernel: str, operands: Sequence[Array]) -> None:
        of = parts_of(kernel, operands)
        self._attributes = attributes
        self.query, self.key, self.value = (x.astype(np.float64) for x in (of.query, of.key, of.value))
        self.given = [x.astype(np.float64) for x in of.given]
        self.masks = of.masks
        self._products: Numbers = np.einsum("bhie,bhje->bhij", self.query, self.repeated(self.key))
        scores = self.expression(str(attributes["score"]))
        most = np.max(scores, axis=-1, initial=-np.inf)
        most = np.where(most == -np.inf, 0, most)
        powers = np.exp(scores - most[..., None])
        total = powers.sum(-1)
        with np.errstate(divide="ignore"):
            self.logsum: Numbers = np.log(total) + most  # z of the keys at hand
        self._weights: Numbers = powers / np.where(total == 0, 1, total)[..., None]

    def factor(self) -> Numbers:
        return self.expression(str(self._attributes.get("factor", 1.0)))

    def weights(self, logsum: Numbers) -> Numbers:
        """`p`, given z: that of the keys at hand, weighted anew; where a query looks at no key, 0."""
        anew = np.exp(self.logsum - np.where(self.logsum == -np.inf, 0, logsum))
        found: Numbers = self._weights * anew[..., None]
        return found

    def output(self, logsum: Numbers) -> Numbers:
        weights = self.weights(logsum) * self.factor()
        found: Numbers = np.einsum("bhij,bhjd->bhid", weights, self.repeated(self.value))
        return found

    def expression(self, text: str) -> Numbers:
        """An expression of the products and the masks, for each query and key."""
        operands: list[Array] = [self._products, *self.masks]
        expr = parse_join(text, len(operands))
        found = evaluate(expr, operands, [dtype_name(array.dtype) for array in operands], no_index, NUMPY)
        return np.broadcast_to(found.astype(np.float64), self._products.shape)

    def repeated(self, key: Numbers) -> Numbers:
        """Keys or values for every head of the queries."""
        return np.repeat(key, self.query.shape[1] // key.shape[1], axis=1)

    def summed(self, found: Numbers) -> Numbers:
        """The sum over heads that read the same keys."""
        batch, heads, *rest = found.shape
        groups = self.key.shape[1]
        total: Numbers = found.reshape(batch, groups, heads // groups, *rest).sum(2)
        return total


def no_index(label: str) -> NoReturn:
    raise AssertionError(f"an index along {label} in an expression of attention: positions are masks")


def _reduced(found: Numbers, shape: Sequence[int]) -> Numbers:
    """The sum over what a mask does not have."""
    gone = tuple(k for k, size in enumerate(shape) if size == 1)
    total: Numbers = found.sum(gone, keepdims=True)
    return total


REFERENCES: dict[str, Reference] = {
    "attention": _attention,
    "attention_values": _values,
    "attention_gradient": _gradient,
}
