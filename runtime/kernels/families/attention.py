"""Attention and its gradients on one shard: by torch's fused kernel, else all keys for a stretch of queries at a time.

`einsplit.kernels.attention` says what they mean. Scores are computed in float32 at least, and never stand in memory for
more queries than a stretch; nothing of them is kept for the gradients, which compute them again. Inside, heads that
read the same keys stand side by side: queries `b g r i e`, keys `b g j e`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from einsplit.kernels.attention import LOGSUM, OF_KEY, OF_QUERY, OF_VALUE, VALUES
from einsplit.kernels.rows import Attributes
from einsplit.runtime.kernels.families.fused_attention import fused_attention
from einsplit.runtime.kernels.families.rows import RunSeveral
from einsplit.runtime.kernels.scalars import TORCH
from einsplit.scalar import evaluate, parse_join
from einsplit.torch_dtypes import torch_dtype_name

MAX_SCORES = 1 << 22  # that stand in memory at once


def _attention(attributes: Attributes, operands: Sequence[Tensor], wanted: Sequence[int]) -> Sequence[Tensor]:
    """(o, z)."""
    query, key, value, *masks = operands
    fused = fused_attention(attributes, query, key, value, masks)
    found = _attended(attributes, operands, VALUES in wanted) if fused is None else fused.forward()
    return [found[number] for number in wanted]


def _attended(attributes: Attributes, operands: Sequence[Tensor], with_values: bool) -> tuple[Tensor, Tensor]:
    """(o, z), z alone made for both where that is all that is wanted."""
    query, key, value, *masks = operands
    scored, values = _Scored.of(attributes, query, key, masks), _wide(value)
    outputs, logsums = [], []
    for rows in scored.stretches():
        scores = scored.scores(rows)
        logsums.append(torch.logsumexp(scores, -1))
        if with_values:
            outputs.append(_times(_weights(scores, logsums[-1]), values))
    logsum = torch.cat(logsums, -1).reshape(query.shape[:-1])
    if not with_values:
        return logsum, logsum
    return torch.cat(outputs, -2).reshape(*query.shape[:-1], value.shape[-1]).to(value.dtype), logsum


def _values(attributes: Attributes, operands: Sequence[Tensor], wanted: Sequence[int]) -> Sequence[Tensor]:
    """Addends of o, of the keys at hand, with z that of all keys."""
    *given, logsum = operands
    output, own = _attention(attributes, given, (VALUES, LOGSUM))
    weight = torch.exp(own - logsum.masked_fill(own == -torch.inf, 0))  # 0 where there is no key at hand
    return [(output * weight.unsqueeze(-1)).to(output.dtype)]


def _gradient(attributes: Attributes, operands: Sequence[Tensor], wanted: Sequence[int]) -> Sequence[Tensor]:
    """(dq, dk, dv)."""
    query, key, value, *masks, logsum, output, adjoint = operands
    fused = fused_attention(attributes, query, key, value, masks)
    if fused is not None:
        every = fused.gradient(logsum, output, adjoint)
        return [every[number] for number in wanted]
    scored, values = _Scored.of(attributes, query, key, masks), _wide(value)
    delta = (_wide(adjoint) * _wide(output)).sum(-1)
    logsums, deltas, adjoints = _grouped(logsum, key), _grouped(delta, key), _grouped(_wide(adjoint), key)
    of_query: list[Tensor] = []
    of_key, of_value = torch.zeros_like(scored.key), torch.zeros_like(values)
    for rows in scored.stretches():
        products = scored.products(rows)
        weights = _weights(scored.expression("score", products, rows), logsums[..., rows])
        here = adjoints[..., rows, :]
        of_value += _summed(weights, here)
        of_weights = _times(here, values.transpose(-1, -2))
        slope = scored.expression("slope", products, rows)
        # Where nothing is looked at the slope may be anything: 0 times it is 0.
        of_products = weights * (of_weights - deltas[..., rows, None]) * slope.masked_fill(weights == 0, 0)
        of_query.append(_times(of_products, scored.key))
        of_key += _summed(of_products, scored.query[..., rows, :])
    found = {OF_QUERY: torch.cat(of_query, -2).reshape(query.shape), OF_KEY: of_key, OF_VALUE: of_value}
    return [found[number].to(value.dtype) for number in wanted]


@dataclass(frozen=True, slots=True)
class _Scored:
    """Queries, and the keys that they look at."""

    attributes: Attributes
    query: Tensor  # b g r i e
    key: Tensor  # b g j e
    masks: tuple[Tensor, ...]  # b g r i j, of size 1 where they are the same along a dimension

    @classmethod
    def of(cls, attributes: Attributes, query: Tensor, key: Tensor, masks: Sequence[Tensor]) -> _Scored:
        every = (mask.unsqueeze(2) if mask.shape[1] == 1 else _grouped(mask, key) for mask in masks)
        return cls(attributes, _grouped(_wide(query), key), _wide(key), tuple(every))

    def stretches(self) -> Iterator[slice]:
        """Queries whose scores stand in memory at the same time."""
        size = self.query.shape[-2]
        others = self.query[..., 0, 0].numel() * self.key.shape[-2]
        width = max(1, MAX_SCORES // max(1, others))
        return (slice(at, min(at + width, size)) for at in range(0, size, width))

    def products(self, rows: slice) -> Tensor:
        """`x0`."""
        return _times(self.query[..., rows, :], self.key.transpose(-1, -2))

    def scores(self, rows: slice) -> Tensor:
        return self.expression("score", self.products(rows), rows)

    def expression(self, name: str, products: Tensor, rows: slice) -> Tensor:
        """The score, or its slope, of each query and key."""
        masks = [mask if mask.shape[-2] == 1 else mask[..., rows, :] for mask in self.masks]
        operands = [products, *masks]
        expr = parse_join(str(self.attributes[name]), len(operands))
        dtypes = [torch_dtype_name(tensor.dtype) for tensor in operands]
        return evaluate(expr, operands, dtypes, _no_index, TORCH).expand(products.shape)


def _no_index(label: str) -> Tensor:
    raise AssertionError(f"an index along {label} in a score: positions are operands")


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


def _weights(scores: Tensor, logsum: Tensor) -> Tensor:
    """`p`; where a query looks at no key all scores are -inf, and p is 0."""
    finite = logsum.masked_fill(logsum == -torch.inf, 0)
    return torch.exp(scores - finite.unsqueeze(-1))


KERNELS: dict[str, RunSeveral] = {
    "attention": _attention,
    "attention_values": _values,
    "attention_gradient": _gradient,
}
