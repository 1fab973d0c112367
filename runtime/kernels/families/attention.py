"""Attention and its gradients on one shard: by torch's fused kernel, else all keys for a stretch of queries at a time.

`einsplit.kernels.attention` says what they mean. Scores are computed in float32 at least, and never stand in memory for
more queries than a stretch; nothing of them is kept for the gradients, which compute them again. Inside, heads that
read the same keys stand side by side: queries `b g r i e`, keys `b g j e`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from einsplit.kernels.attention import (
    KEY,
    LOGSUM,
    MASKS,
    QUERY,
    VALUE,
    VALUES,
    Parts,
    no_index,
    operand_of,
    parts_of,
    slopes,
)
from einsplit.kernels.rows import Attributes
from einsplit.runtime.kernels.families.fused_attention import fused_attention
from einsplit.runtime.kernels.families.rows import Declared, Run, Wanted
from einsplit.runtime.kernels.scalars import TORCH
from einsplit.scalar import evaluate, parse_join
from einsplit.solver.program import limits
from einsplit.torch_dtypes import torch_dtype_name

# Of the scores of a stretch, how many times as many elements stand in memory at once.
FORWARD_SCORES, GRADIENT_SCORES = 8, 12


def _attention(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> dict[int, Tensor]:
    """(o, z)."""
    of = parts_of("attention", operands)
    return _attended(attributes, of, VALUES in wanted)


def _values(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> dict[int, Tensor]:
    """Addends of o, of the keys at hand, with z that of all keys."""
    of = parts_of("attention_values", operands)
    found, (logsum,) = _attended(attributes, of, with_values=True), of.given
    own, output = found[LOGSUM], found[VALUES]
    return {VALUES: (output * _anew(own, logsum).unsqueeze(-1)).to(output.dtype)}


def _attended(attributes: Attributes, of: Parts[Tensor], with_values: bool) -> dict[int, Tensor]:
    """z, and o if it is wanted, of the keys at hand."""
    fused = fused_attention(attributes, of)
    if fused is not None:
        return dict(zip((VALUES, LOGSUM), fused.forward(), strict=True))
    scored, values = _Scored(attributes, of), _wide(of.value)
    outputs, logsums = [], []
    for rows in scored.stretches():
        products = scored.products(rows)
        weights, logsum = _softmax(scored.expression("score", products, rows))
        logsums.append(logsum)
        if with_values:
            outputs.append(_times(weights * scored.factor(products, rows), values))
    found = {LOGSUM: torch.cat(logsums, -1).reshape(of.query.shape[:-1])}
    if with_values:
        shape = (*of.query.shape[:-1], of.value.shape[-1])
        found[VALUES] = torch.cat(outputs, -2).reshape(shape).to(of.value.dtype)
    return found


def _gradient(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> dict[int, Tensor]:
    """(dq, dk, dv, and those of masks)."""
    of = parts_of("attention_gradient", operands)
    fused = fused_attention(attributes, of) if max(wanted) <= VALUE else None
    if fused is not None:
        return dict(enumerate(fused.gradient(*of.given)))
    scored, values = _Scored(attributes, of), _wide(of.value)
    logsum, output, adjoint = (_grouped(x, of.key) for x in of.given)
    adjoint = _wide(adjoint)
    delta = (adjoint * _wide(output)).sum(-1)
    of_query: list[Tensor] = []
    found = {KEY: torch.zeros_like(scored.key), VALUE: torch.zeros_like(values)}
    of_masks = {number: torch.zeros_like(_wide(scored.masks[number - MASKS])) for number in wanted if number >= MASKS}
    for rows in scored.stretches():
        products = scored.products(rows)
        weights, own = _softmax(scored.expression("score", products, rows))
        weights = weights * _anew(own, logsum[..., rows]).unsqueeze(-1)
        factor = scored.factor(products, rows)
        here = adjoint[..., rows, :]
        found[VALUE] += _summed(weights * factor, here)
        of_weights = _times(here, values.transpose(-1, -2)) * factor
        of_scores = weights * (of_weights - delta[..., rows, None])
        of_products = scored.sloped(of_scores, weights, "0", products, rows)
        of_query.append(_times(of_products, scored.key))
        found[KEY] += _summed(of_products, scored.query[..., rows, :])
        for number, total in of_masks.items():
            by = scored.sloped(of_scores, weights, str(operand_of(number)), products, rows)
            part = total if total.shape[-2] == 1 else total[..., rows, :]
            part += by.sum_to_size(part.shape)
    found[QUERY] = torch.cat(of_query, -2).reshape(of.query.shape)
    found |= {number: total.reshape(wanted[number]) for number, total in of_masks.items()}
    return {number: found[number].to(operands[number].dtype) for number in wanted}


class _Scored:
    """Queries, the keys that they look at, and masks; of size 1 where those are the same along a dimension."""

    def __init__(self, attributes: Attributes, of: Parts[Tensor]) -> None:
        self._attributes = attributes
        self._slopes = slopes(attributes) if "slopes" in attributes else {}
        self.query, self.key = _grouped(_wide(of.query), of.key), _wide(of.key)
        self.masks = [mask.unsqueeze(2) if mask.shape[1] == 1 else _grouped(mask, of.key) for mask in of.masks]

    def stretches(self) -> Iterator[slice]:
        """Queries whose scores stand in memory at the same time."""
        size = self.query.shape[-2]
        others = self.query[..., 0, 0].numel() * self.key.shape[-2]
        width = max(1, limits.MAX_SCORES // max(1, others))
        return (slice(at, min(at + width, size)) for at in range(0, size, width))

    def products(self, rows: slice) -> Tensor:
        """`x0`."""
        return _times(self.query[..., rows, :], self.key.transpose(-1, -2))

    def factor(self, products: Tensor, rows: slice) -> Tensor | float:
        """What weights are multiplied by."""
        return self.expression("factor", products, rows) if "factor" in self._attributes else 1.0

    def sloped(self, of_scores: Tensor, weights: Tensor, operand: str, products: Tensor, rows: slice) -> Tensor:
        """The adjoint of an operand of the score, for each query and key."""
        slope = self._evaluated(self._slopes[operand], products, rows)
        # Where nothing is looked at the slope may be anything: 0 times it is 0.
        return of_scores * slope.masked_fill(weights == 0, 0)

    def expression(self, name: str, products: Tensor, rows: slice) -> Tensor:
        """The score, or the factor, of each query and key."""
        return self._evaluated(str(self._attributes[name]), products, rows)

    def _evaluated(self, text: str, products: Tensor, rows: slice) -> Tensor:
        masks = [mask if mask.shape[-2] == 1 else mask[..., rows, :] for mask in self.masks]
        operands = [products, *masks]
        dtypes = [torch_dtype_name(tensor.dtype) for tensor in operands]
        found = evaluate(parse_join(text, len(operands)), operands, dtypes, no_index, TORCH)
        return found.expand(products.shape)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _grouped(tensor: Tensor, key: Tensor) -> Tensor:
    """`b (g r) ...` as `b g r ...`, with as many groups as the keys have heads."""
    groups = key.shape[1]
    return tensor.reshape(tensor.shape[0], groups, tensor.shape[1] // groups, *tensor.shape[2:])


def _times(left: Tensor, right: Tensor) -> Tensor:
    """`b g r i x, b g x y -> b g r i y`: one matrix for all heads of a group."""
    found = left.reshape(*left.shape[:2], -1, left.shape[-1]) @ right
    return found.reshape(*left.shape[:-1], right.shape[-1])


def _summed(left: Tensor, right: Tensor) -> Tensor:
    """`b g r i x, b g r i y -> b g x y`."""
    flat = (tensor.reshape(*tensor.shape[:2], -1, tensor.shape[-1]) for tensor in (left, right))
    return next(flat).transpose(-1, -2) @ next(flat)


def _softmax(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Weights over the keys at hand, and their z; where a query looks at none of them, 0 and -inf."""
    most = scores.amax(-1, keepdim=True)
    most = most.masked_fill(most == -torch.inf, 0)
    powers = torch.exp(scores - most)
    total = powers.sum(-1, keepdim=True)
    return powers / total.masked_fill(total == 0, 1), (most + torch.log(total)).squeeze(-1)


def _anew(own: Tensor, logsum: Tensor) -> Tensor:
    """What weights over the keys at hand are worth among all: `exp(z' - z)`."""
    return torch.exp(own - logsum.masked_fill(own == -torch.inf, 0))


def _forward_declared(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> int:
    return _workspace(operands, FORWARD_SCORES)


def _gradient_declared(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> int:
    return _workspace(operands, GRADIENT_SCORES)


def _workspace(operands: Sequence[Tensor], num_scores: int) -> int:
    """Bytes that a call needs at most: of a stretch's scores so many at a time, and all operands twice, wide.

    Once as they are read, in float32 at least or with keys repeated for each query's head, and once for results that
    are put together from stretches.
    """
    query, key, value = operands[:MASKS]
    heads, num_queries, num_keys = query.shape[0] * query.shape[1], query.shape[2], key.shape[2]
    rows = heads * num_keys  # scores of one query of each head
    stretch = rows * min(num_queries, max(1, limits.MAX_SCORES // max(1, rows)))
    wide = torch.promote_types(query.dtype, torch.float32).itemsize
    return wide * (num_scores * stretch + 2 * heads * (num_queries + num_keys) * (query.shape[3] + value.shape[3]))


DECLARED: dict[str, Declared] = {
    "attention": _forward_declared,
    "attention_values": _forward_declared,
    "attention_gradient": _gradient_declared,
}
KERNELS: dict[str, Run] = {
    "attention": _attention,
    "attention_values": _values,
    "attention_gradient": _gradient,
}
