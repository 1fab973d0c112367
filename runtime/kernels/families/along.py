"""Kernels that order, choose or add up along one dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from einsplit.kernels.rows import Attributes, number
from einsplit.runtime.kernels.families.rows import Declared, Run, Wanted, shape_of

INDEX_BYTES = 8  # of an element of what torch gives as indices


def _gather(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Sequence[Tensor]:
    source, indices = operands
    return [source.gather(number(attributes, "dim"), indices.to(torch.int64))]


def _scatter(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Sequence[Tensor]:
    """Zeros, and the first operand added at the indices that the second gives along a dimension."""
    shape = shape_of(wanted)
    source, indices = operands
    return [source.new_zeros(shape).scatter_add_(number(attributes, "dim"), indices.to(torch.int64), source)]


def _ordered(tensor: Tensor, dim: int, descending: bool) -> tuple[Tensor, Tensor]:
    """Sorted along `dim`, equal elements in their own order, and the indices: stable, so the same everywhere."""
    values, order = torch.sort(tensor, dim=dim, descending=descending, stable=True)
    return values, order


def _top_k(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Mapping[int, Tensor]:
    shape = shape_of(wanted)
    dim = number(attributes, "dim")
    results = _ordered(operands[0], dim, bool(attributes["largest"]))
    # Copies: a view would keep everything that was put in order.
    return {k: results[k].narrow(dim, 0, shape[dim]).clone(memory_format=torch.contiguous_format) for k in wanted}


def _sort(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Sequence[Tensor]:
    return _ordered(operands[0], number(attributes, "dim"), bool(attributes["descending"]))


def _all_ordered(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> int:
    """Every element with its index."""
    return operands[0].numel() * (operands[0].element_size() + INDEX_BYTES)


def _cumsum(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Sequence[Tensor]:
    return [torch.cumsum(operands[0], number(attributes, "dim"))]


KERNELS: dict[str, Run] = {
    "gather": _gather,
    "scatter": _scatter,
    "top_k": _top_k,
    "sort": _sort,
    "cumsum": _cumsum,
}

DECLARED: dict[str, Declared] = {"top_k": _all_ordered, "sort": _all_ordered}
