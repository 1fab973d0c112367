"""Attention by torch's own fused kernel, where the score is of a form that it knows.

    score = where(test, x0 * scale + shift, -inf)        test and shift: of masks alone; there may be no shift

Scores never stand in memory; of a causal mask, what it blocks is not computed either.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from einsplit.kernels.attention import Parts, no_index
from einsplit.kernels.rows import Attributes
from einsplit.runtime.kernels.scalars import TORCH
from einsplit.runtime.torch_private import flash_attention, flash_attention_gradient
from einsplit.scalar import Expr, evaluate, operands_of, parse_join
from einsplit.solver.program import limits
from einsplit.torch_dtypes import torch_dtype_name


@dataclass(frozen=True, slots=True)
class _Form:
    test: Expr
    scale: float
    shift: Expr | None


@lru_cache(maxsize=256)
def _form(score: str, num_masks: int) -> _Form | None:
    """The score in the fused kernel's terms, where it has that form."""
    expr = parse_join(score, 1 + num_masks)
    if expr.op != "where" or 0 in operands_of(expr.args[0]) or _number(expr.args[2]) != -math.inf:
        return None
    test, core, _ = expr.args
    sides = core.args if core.op == "add" else (core,)
    products = [side for side in sides if 0 in operands_of(side)]
    shifts = [side for side in sides if 0 not in operands_of(side)]
    scale = _scale(products[0]) if len(products) == 1 else None
    return None if scale is None else _Form(test, scale, shifts[0] if shifts else None)


def _scale(product: Expr) -> float | None:
    """Of `x0 * scale`."""
    if product.op == "operand":
        return 1.0
    if product.op != "mul" or sum(arg.op == "operand" for arg in product.args) != 1:
        return None
    return next((_number(arg) for arg in product.args if arg.op != "operand"), None)


def _number(expr: Expr) -> float | None:
    """The constant that it is."""
    while expr.op == "cast":
        (expr,) = expr.args
    return float(expr.value) if expr.op == "const" and expr.value is not None else None


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of queries: the mask that is added to its scores, and which of its queries look at no key."""

    rows: slice
    mask: Tensor | None = None
    blind: Tensor | None = None
    is_causal: bool = False


class FusedAttention:
    """Queries, keys and values of one shard, for torch's kernel."""

    def __init__(self, form: _Form, of: Parts[Tensor]) -> None:
        self._scale = form.scale
        self._query = of.query
        self._repeats = of.query.shape[1] // of.key.shape[1]
        self._key, self._value = (
            x.repeat_interleave(self._repeats, 1) if self._repeats > 1 else x for x in (of.key, of.value)
        )
        self._form, self._masks, self._of_key = form, of.masks, of.key

    def _pieces(self) -> Iterator[_Piece]:
        # One at a time: their masks together are as large as the scores of one head.
        return _pieces(self._form, self._query, self._of_key, self._masks)

    def forward(self) -> tuple[Tensor, Tensor]:
        """(o, z)."""
        outputs, logsums = [], []
        for piece in self._pieces():
            query = self._query[:, :, piece.rows]
            output, logsum = flash_attention(query, self._key, self._value, piece.mask, piece.is_causal, self._scale)
            outputs.append(output)
            logsums.append(logsum if piece.blind is None else logsum.masked_fill(piece.blind, -torch.inf))
        return torch.cat(outputs, 2), torch.cat(logsums, 2)

    def gradient(self, logsum: Tensor, output: Tensor, adjoint: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(dq, dk, dv)."""
        logsum = logsum.masked_fill(logsum == -torch.inf, 0)
        of_query: list[Tensor] = []
        of_key = of_value = None
        for piece in self._pieces():
            query, o, do = (x[:, :, piece.rows] for x in (self._query, output, adjoint))
            operands = (query, self._key, self._value)
            given = (do, operands, o, logsum[:, :, piece.rows], piece.mask, piece.is_causal, self._scale)
            dq, dk, dv = flash_attention_gradient(*given)
            of_query.append(dq)
            of_key, of_value = (dk, dv) if of_key is None or of_value is None else (of_key + dk, of_value + dv)
        assert of_key is not None and of_value is not None
        return torch.cat(of_query, 2), self._summed(of_key), self._summed(of_value)

    def _summed(self, found: Tensor) -> Tensor:
        """The sum over heads that read the same keys."""
        groups = found.shape[1] // self._repeats
        return found.reshape(found.shape[0], groups, self._repeats, *found.shape[2:]).sum(2)


def fused_attention(attributes: Attributes, of: Parts[Tensor]) -> FusedAttention | None:
    """The shard for torch's kernel; None where that does not know the score, a factor, the shapes or the device."""
    knows = of.query.device.type == "cpu" and of.query.shape[-1] == of.value.shape[-1] and "factor" not in attributes
    form = _form(str(attributes["score"]), len(of.masks)) if knows else None
    return FusedAttention(form, of) if form is not None else None


def _pieces(form: _Form, query: Tensor, key: Tensor, masks: Sequence[Tensor]) -> Iterator[_Piece]:
    """All queries at once where the mask is causal or nothing; else stretches whose masks fit into memory.

    That costs up to three passes over one i x j of truth values; the kernel makes b x h times as many scores.
    """
    num_queries, num_keys = query.shape[2], key.shape[2]
    others = max((mask.shape[0] for mask in masks), default=1) * max((mask.shape[1] for mask in masks), default=1)
    width = max(1, limits.MAX_SCORES // (num_keys * others))
    stretches = [slice(at, min(at + width, num_queries)) for at in range(0, num_queries, width)]
    if form.shift is None and num_queries == num_keys and others == 1:
        keys = torch.arange(num_keys)
        tests = ((rows, _tested(form.test, query, masks, rows)) for rows in stretches)
        if all(torch.equal(_every(test, rows, num_keys), keys <= keys[rows, None]) for rows, test in tests):
            yield _Piece(slice(0, num_queries), is_causal=True)
            return
    if form.shift is None and all(bool(_tested(form.test, query, masks, rows).all()) for rows in stretches):
        yield _Piece(slice(0, num_queries))
        return
    for rows in stretches:
        test = _tested(form.test, query, masks, rows)
        shift = query.new_zeros(()) if form.shift is None else _tested(form.shift, query, masks, rows).to(query.dtype)
        mask = torch.where(test, shift, -torch.inf)
        yield _Piece(rows, mask, (mask == -torch.inf).all(-1))


def _every(test: Tensor, rows: slice, num_keys: int) -> Tensor:
    """The test of one batch element and one head, an element for each query and key."""
    return test.expand(1, 1, rows.stop - rows.start, num_keys)[0, 0]


def _tested(expr: Expr, query: Tensor, masks: Sequence[Tensor], rows: slice) -> Tensor:
    """An expression of the masks, for some of the queries."""
    here = [mask if mask.shape[2] == 1 else mask[:, :, rows] for mask in masks]
    operands = [torch.zeros((1, 1, 1, 1), dtype=torch.promote_types(query.dtype, torch.float32)), *here]
    dtypes = [torch_dtype_name(tensor.dtype) for tensor in operands]
    found = evaluate(expr, operands, dtypes, no_index, TORCH)
    return found.reshape((1,) * (4 - found.ndim) + found.shape)
