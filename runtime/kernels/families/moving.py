"""Kernels that move elements and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from einsplit.kernels.rows import Attributes, number
from einsplit.runtime.kernels.families.rows import Run, Wanted, shape_of


def _reshape(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Sequence[Tensor]:
    shape = shape_of(wanted)
    return [operands[0].reshape(shape)]


def _slice(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Sequence[Tensor]:
    shape = shape_of(wanted)
    dim = number(attributes, "dim")
    return [operands[0].index_select(dim, _held(attributes, shape[dim]))]


def _place(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Sequence[Tensor]:
    """Zeros, and the operand at start, start + step, ... along a dimension."""
    shape = shape_of(wanted)
    dim = number(attributes, "dim")
    held = _held(attributes, operands[0].shape[dim])
    return [operands[0].new_zeros(shape).index_copy_(dim, held, operands[0])]


def _held(attributes: Attributes, length: int) -> Tensor:
    return torch.arange(length) * number(attributes, "step") + number(attributes, "start")


def _cat(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Sequence[Tensor]:
    return [torch.cat(list(operands), number(attributes, "dim"))]


KERNELS: dict[str, Run] = {"reshape": _reshape, "slice": _slice, "place": _place, "cat": _cat}
