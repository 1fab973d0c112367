"""The scalar operators of a join in torch: the same keys as numpy's table, the same meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from einsplit.scalar import random_bits
from einsplit.torch_dtypes import torch_dtype


def _const(value: bool | int | float, dtype: str) -> Tensor:
    # By way of int64, so that a large integer is rounded to a float once and not twice.
    return torch.tensor(
        value, dtype=torch.int64 if type(value) is int else torch.float64 if type(value) is float else None
    ).to(torch_dtype(dtype))


def _integer_safe(divide: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """Integers divided by 0 give 0, as in the notation's meaning; torch raises, and padding must not."""

    def apply(x: Tensor, y: Tensor) -> Tensor:
        if y.is_floating_point():
            return divide(x, y)
        zero = y == 0
        return torch.where(
            zero, torch.zeros((), dtype=y.dtype), divide(x, torch.where(zero, torch.ones((), dtype=y.dtype), y))
        )

    return apply


def _pow(base: Tensor, exponent: Tensor) -> Tensor:
    if base.is_floating_point() or base.is_complex():
        return torch.pow(base, exponent)
    one = torch.ones((), dtype=base.dtype)
    sign = torch.where(exponent % 2 == 0, one, base)
    inverse = torch.where((base == 1) | (base == -1), sign, one * 0)
    return torch.where(exponent >= 0, torch.pow(base, exponent.clamp(min=0)), inverse)


def _random(*integers: Tensor) -> Tensor:
    return (random_bits(*integers) >> 8).to(torch.float32) * 2.0**-24


TORCH: Mapping[str, Callable[..., Tensor]] = {
    "const": _const,
    "cast": lambda x, dtype: x.to(torch_dtype(dtype)),
    "or": torch.logical_or,
    "and": torch.logical_and,
    "not": torch.logical_not,
    "eq": torch.eq,
    "ne": torch.ne,
    "lt": torch.lt,
    "le": torch.le,
    "gt": torch.gt,
    "ge": torch.ge,
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "floordiv": _integer_safe(torch.floor_divide),
    "mod": _integer_safe(torch.remainder),
    "neg": torch.neg,
    "pow": _pow,
    "abs": torch.abs,
    "floor": torch.floor,
    "max": torch.maximum,
    "min": torch.minimum,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "stop_gradient": Tensor.detach,
    "where": torch.where,
    "random": _random,
}
