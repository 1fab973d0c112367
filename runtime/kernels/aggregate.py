"""Aggregations in torch: of a tensor over its last dimensions, and of partial results in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from einsplit.monoid import monoid

COMBINE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": torch.add,
    "prod": torch.mul,
    "max": torch.maximum,
    "min": torch.minimum,
    "any": torch.logical_or,
    "all": torch.logical_and,
    "logsumexp": torch.logaddexp,
}


def combine(agg: str, parts: Sequence[Tensor]) -> Tensor:
    """The parts combined from first to last."""
    whole = parts[0]
    for part in parts[1:]:
        whole = COMBINE[agg](whole, part)
    return whole


def reduce(agg: str, tensor: Tensor, dims: list[int], dtype: torch.dtype) -> Tensor:
    """The tensor aggregated over `dims`, in `dtype`; over a dimension without elements, the identity."""
    if not dims:
        return tensor.to(dtype)
    if agg == "sum":
        return torch.sum(tensor, dims, dtype=dtype)
    if agg == "logsumexp":
        return torch.logsumexp(tensor, dims).to(dtype)
    if agg == "any":
        return torch.any(tensor, dims)
    if agg == "all":
        return torch.all(tensor, dims)
    if agg == "prod":
        for dim in sorted(dims, reverse=True):
            tensor = torch.prod(tensor, dim, dtype=dtype)
        return tensor
    if not all(tensor.shape[dim] for dim in dims):  # torch has no largest one of none
        unit = monoid(agg).identity(str(dtype).removeprefix("torch."))
        return tensor.new_full([n for dim, n in enumerate(tensor.shape) if dim not in dims], unit, dtype=dtype)
    return (torch.amax if agg == "max" else torch.amin)(tensor, dims)
