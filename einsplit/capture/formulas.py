"""Tensors known while tracing: folded by torch, and written as a formula of their indices where they are one.

A causal mask is folded to a matrix of booleans; the matrix is then recognised as `index(i) >= index(j)`, so that no
device holds, reads or cuts it. Every recognition is checked element by element; what is no formula stays a constant
input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from einsplit.capture.dtypes import dtype_name
from einsplit.scalar import Expr, call, cast, const, index


@dataclass(frozen=True, slots=True)
class Formula:
    """A tensor whose element is `expr`; `index("k")` in it is the index along dimension k."""

    shape: tuple[int, ...]
    expr: Expr
    dtype: str


def varying_dims(tensor: torch.Tensor) -> list[int]:
    """The dimensions along which the tensor is not the same everywhere."""
    kept = []
    for k in range(tensor.ndim):
        if tensor.shape[k] > 1 and not same_elements(tensor, tensor.narrow(k, 0, 1).expand_as(tensor)):
            kept.append(k)
    return kept


def recognise(tensor: torch.Tensor) -> Formula | None:
    """The tensor as a formula: constant, affine in one index, or two values chosen by a band of indices."""
    if tensor.numel() == 0 or tensor.is_complex() or tensor.dtype.itemsize > 8:
        return None
    dims = varying_dims(tensor)
    core = tensor[tuple(slice(None) if k in dims else 0 for k in range(tensor.ndim))]
    expr: Expr | None = None
    if not dims:
        expr = _literal(core, tensor.dtype)
    elif len(dims) == 1:
        expr = _affine(core, str(dims[0]))
        expr = _band(core, core, index(str(dims[0])), 0) if expr is None else expr
    elif len(dims) == 2:
        expr = _band_2d(core, str(dims[0]), str(dims[1]))
    return None if expr is None else Formula(tuple(tensor.shape), expr, dtype_name(tensor.dtype))


def same_elements(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Equal to the bit's meaning: NaN equals NaN, 0.0 differs from -0.0."""
    if not left.is_floating_point():
        return bool(torch.equal(left, right))
    both = (left == right) & (torch.signbit(left) == torch.signbit(right)) | left.isnan() & right.isnan()
    return bool(both.all())


def _literal(element: torch.Tensor, dtype: torch.dtype) -> Expr:
    return cast(const(element.item()), dtype_name(dtype))


def _affine(row: torch.Tensor, dim: str) -> Expr | None:
    if row.dtype == torch.bool or row.numel() < 2:
        return None
    start, step = row[0].item(), row[1].item() - row[0].item()
    if not (math.isfinite(start) and math.isfinite(step)) or int(start) != start or int(step) != step:
        return None
    steps = torch.arange(row.numel(), dtype=torch.int64, device=row.device) * int(step) + int(start)
    if not same_elements(steps.to(row.dtype), row):
        return None
    expr: Expr = index(dim)
    expr = expr * const(int(step)) if step != 1 else expr
    expr = expr + const(int(start)) if start else expr
    return cast(expr, dtype_name(row.dtype))


def _two_values(core: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    values = torch.unique(core)
    return (values[0], values[1]) if values.numel() == 2 and not values.isnan().any() else None


def _band_2d(core: torch.Tensor, row: str, column: str) -> Expr | None:
    """Two values that depend on column - row alone, one of them on one run of differences."""
    if not same_elements(core[1:, 1:], core[:-1, :-1]):
        return None
    by_difference = torch.cat([core[1:, 0].flip(0), core[0]])
    return _band(core, by_difference, index(column) - index(row), 1 - core.shape[0])


def _band(core: torch.Tensor, profile: torch.Tensor, position: Expr, first: int) -> Expr | None:
    values = _two_values(core)
    if values is None:
        return None
    for inside, outside in (values[::-1], values):
        hits = torch.nonzero(profile == inside).flatten()
        low, high = int(hits[0]), int(hits[-1])
        band = torch.full_like(profile, outside.item())
        band[low : high + 1] = inside
        if not same_elements(band, profile):
            continue
        tests: list[Expr] = []
        if low > 0:
            tests.append(call("ge", position, const(low + first)))
        if high < profile.numel() - 1:
            tests.append(call("le", position, const(high + first)))
        test = tests[0] if len(tests) == 1 else call("and", tests[0], tests[1])
        if core.dtype == torch.bool and bool(inside):
            return test
        if core.dtype == torch.bool:
            return call("not", test)
        return call("where", test, _literal(inside, core.dtype), _literal(outside, core.dtype))
    return None
