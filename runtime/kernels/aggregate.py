"""Aggregations in torch: of a tensor over its last dimensions, and of partial results in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from einsplit.monoid import monoid
from einsplit.torch_dtypes import torch_dtype_name

Reduce = Callable[[Tensor, list[int], torch.dtype], Tensor]  # (tensor, dimensions, dtype of the result)

COMBINE: dict[str, Callable[..., Tensor]] = {  # (left, right, out=where to)
    "sum": torch.add,
    "prod": torch.mul,
    "max": torch.maximum,
    "min": torch.minimum,
    "any": torch.logical_or,
    "all": torch.logical_and,
    "logsumexp": torch.logaddexp,
}


def combine(agg: str, parts: Sequence[Tensor], whole: Tensor) -> Tensor:
    """The parts combined from first to last, in `whole`, which may be the first of them."""
    if len(parts) == 1:
        return whole.copy_(parts[0])
    COMBINE[agg](parts[0], parts[1], out=whole)
    for part in parts[2:]:
        COMBINE[agg](whole, part, out=whole)
    return whole


def reduce(agg: str, tensor: Tensor, dims: list[int], dtype: torch.dtype) -> Tensor:
    """The tensor aggregated over `dims`, in `dtype`; over a dimension without elements, the identity."""
    return REDUCE[agg](tensor, dims, dtype) if dims else tensor.to(dtype)


def _prod(tensor: Tensor, dims: list[int], dtype: torch.dtype) -> Tensor:
    for dim in sorted(dims, reverse=True):
        tensor = torch.prod(tensor, dim, dtype=dtype)
    return tensor


def _extreme(agg: str, take: Callable[[Tensor, list[int]], Tensor]) -> Reduce:
    def apply(tensor: Tensor, dims: list[int], dtype: torch.dtype) -> Tensor:
        if all(tensor.shape[dim] for dim in dims):
            return take(tensor, dims)
        unit = monoid(agg).identity(torch_dtype_name(dtype))  # torch has no largest one of none
        return tensor.new_full([n for dim, n in enumerate(tensor.shape) if dim not in dims], unit, dtype=dtype)

    return apply


REDUCE: dict[str, Reduce] = {
    "sum": lambda tensor, dims, dtype: torch.sum(tensor, dims, dtype=dtype),
    "prod": _prod,
    "max": _extreme("max", torch.amax),
    "min": _extreme("min", torch.amin),
    "any": lambda tensor, dims, dtype: torch.any(tensor, dims),
    "all": lambda tensor, dims, dtype: torch.all(tensor, dims),
    "logsumexp": lambda tensor, dims, dtype: torch.logsumexp(tensor, dims).to(dtype),
}
