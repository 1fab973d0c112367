"""Small tensors for the tables of operators, the same in every run."""

from __future__ import annotations

import torch

_numbers = torch.Generator().manual_seed(0)


def real(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normal numbers."""
    return torch.randn(shape, generator=_numbers, dtype=torch.float64).to(dtype)


def positive(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Numbers between 0.5 and 1.5."""
    return (torch.rand(shape, generator=_numbers, dtype=torch.float64) + 0.5).to(dtype)


def whole(*shape: int, low: int = -5, high: int = 6, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    """Integers from low to high - 1."""
    return torch.randint(low, high, shape, generator=_numbers).to(dtype)


def truth(*shape: int) -> torch.Tensor:
    """Booleans."""
    return torch.rand(shape, generator=_numbers) < 0.5


ODD = (0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf"), float("nan"), 1e-30, 3e38, 0.5)


def odd(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Zeros of both signs, infinities, NaN, the smallest and the largest."""
    return torch.tensor(ODD, dtype=dtype)
