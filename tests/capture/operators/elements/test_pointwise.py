"""Every pointwise rule equals torch, whole and cut, in every dtype that torch takes and on its awkward arguments."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from tests.capture.driver import check, kernels
from tests.capture.tensors import odd, positive, real, truth, whole

f16, bf16, f64 = torch.float16, torch.bfloat16, torch.float64
Case = tuple[Callable[..., object], *tuple[object, ...]]

JOINS: dict[str, Case] = {
    # arithmetic: broadcasting, scalars on either side, alpha
    "add broadcasts a size of 1": (lambda x, y: x + y, real(4, 1), real(4, 6)),
    "add broadcasts missing leading dims": (lambda x, y: x + y, real(6), real(2, 4, 6)),
    "add broadcasts both ways": (lambda x, y: x + y, real(4, 1), real(1, 6)),
    "add of a 0-d tensor": (lambda x, y: x + y, real(4, 6), real()),
    "add of two 0-d tensors": (lambda x, y: x + y, real(), real()),
    "add with alpha": (lambda x, y: torch.add(x, y, alpha=2.5), real(4, 6), real(4, 6)),
    "add of a scalar with alpha": (lambda x: torch.add(x, 3, alpha=2), real(4, 6)),
    "add of integers with alpha": (lambda x, y: torch.add(x, y, alpha=3), whole(4, 6), whole(4, 6)),
    "add of booleans is or": (lambda x, y: x + y, truth(4, 6), truth(4, 6)),
    "add of a boolean and a number": (lambda x: x + 2, truth(4, 6)),
    "add of a boolean and a float": (lambda x: x + 0.5, truth(4, 6)),
    "add promotes int32 and int64": (lambda x, y: x + y, whole(4, dtype=torch.int32), whole(4)),
    "add promotes uint8 and int8": (lambda x, y: x + y, whole(4, low=0, dtype=torch.uint8), whole(4, dtype=torch.int8)),
    "add promotes int and float": (lambda x, y: x + y, whole(4, 6), real(4, 6)),
    "add promotes float16 and bfloat16": (lambda x, y: x + y, real(4, 6, dtype=f16), real(4, 6, dtype=bf16)),
    "add promotes float16 and float32": (lambda x, y: x + y, real(4, 6, dtype=f16), real(4, 6)),
    "add of a 0-d float64 does not promote": (lambda x, y: x + y, real(4, 6), real(dtype=f64)),
    "add of integers wraps around": (lambda x: x + 1000, whole(8, low=-128, high=127, dtype=torch.int8)),
    "sub with alpha": (lambda x, y: torch.sub(x, y, alpha=2), real(4, 6), real(4, 6)),
    "sub from a scalar": (lambda x: 1 - x, real(4, 6)),
    "sub from a scalar with alpha": (lambda x: torch.rsub(x, 2.0, alpha=3), real(4, 6)),
    "sub from a tensor, reversed": (lambda x, y: torch.rsub(x, y, alpha=2), real(4, 6), real(4, 6)),
    "sub of unsigned integers wraps around": (lambda x: x - 1, whole(8, low=0, high=9, dtype=torch.uint8)),
    "mul of a scalar on the left": (lambda x: 3 * x, real(4, 6)),
    "mul of booleans is and": (lambda x, y: x * y, truth(4, 6), truth(4, 6)),
    "mul of a boolean and a tensor": (lambda x, y: x * y, truth(4, 6), real(4, 6)),
    "mul of float16 by a scalar that float16 has not": (lambda x: x * 1e-8, real(4, 6, dtype=f16) * 1e4),
    "mul of a tensor by itself": (lambda x: x * x, real(4, 6)),
    "div of integers is float": (lambda x, y: x / y, whole(4, 6), whole(4, 6, low=1)),
    "div of a scalar": (lambda x: 2 / x, positive(4, 6)),
    "div of a boolean": (lambda x: x / 3, truth(4, 6)),
    "div by zero": (lambda x: x / 0.0, odd()),
    "div in half precision": (lambda x, y: x / y, real(4, 6, dtype=bf16), positive(4, 6, dtype=bf16)),
    "floor division of integers by negatives": (lambda x, y: x // y, whole(4, 6), -whole(4, 6, low=1)),
    "floor division by a negative scalar": (lambda x: x // -3, whole(4, 6)),
    "floor division of floats": (lambda x: x // 0.7, real(4, 6)),
    "remainder of integers by negatives": (lambda x, y: x % y, whole(4, 6), -whole(4, 6, low=1)),
    "remainder by a negative scalar": (lambda x: x % -3, whole(4, 6)),
    "remainder of floats": (lambda x: x % -0.75, real(4, 6)),
    "maximum": (torch.maximum, real(4, 6), real(4, 6)),
    "minimum of integers and floats": (torch.minimum, whole(4, 6), real(4, 6)),
    "maximum of booleans": (torch.maximum, truth(4, 6), truth(4, 6)),
    "maximum keeps NaN": (lambda x: torch.maximum(x, torch.zeros(())), odd()),
    "max of two": (lambda x, y: torch.max(x, y), real(4, 6), real(6)),
    "min of two": (lambda x, y: torch.min(x, y), real(4, 6), real(6)),
    # powers
    "square": (lambda x: x**2, real(4, 6)),
    "square of integers": (lambda x: x**2, whole(4, 6, dtype=torch.int32)),
    "cube of booleans": (lambda x: x**3, truth(4, 6)),
    "power of a float": (lambda x: x**2.5, positive(4, 6)),
    "power of a negative exponent": (lambda x: x**-1, positive(4, 6)),
    "power of one half": (lambda x: x**0.5, positive(4, 6)),
    "power of integers by a float": (lambda x: x**0.5, whole(4, 6, low=0)),
    "power of a scalar": (lambda x: 2**x, real(4, 6)),
    "power of a scalar by integers": (lambda x: 2**x, whole(4, 6, low=0)),
    "power of tensors": (lambda x, y: x**y, positive(4, 6), real(6)),
    "power of integers by integers": (lambda x, y: x**y, whole(4, 6), whole(4, 6, low=0)),
    "power zero": (lambda x: x**0, odd()),
    # comparisons and truth
    **{
        f"{name} of a tensor and a scalar": (lambda x, name=name: getattr(torch, name)(x, 1), whole(4, 6))
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
    },
    "comparison of integers with a float": (lambda x: x > 0.5, whole(4, 6)),
    "comparison of int8 with what it has not": (lambda x: x > 200, whole(8, low=-128, high=127, dtype=torch.int8)),
    "comparison of booleans": (lambda x, y: x == y, truth(4, 6), truth(4, 6)),
    "comparison of float16 with a scalar that it has not": (lambda x: x > 0.1, real(4, 6, dtype=f16)),
    "comparison of different dtypes": (lambda x, y: x <= y, whole(4, 6), real(4, 6, dtype=f16)),
    "and, or, not, xor": (lambda x, y: (x & y) | ~(x ^ y), truth(4, 6), truth(4, 6)),
    "logical and of numbers": (torch.logical_and, real(4, 6), whole(4, 6)),
    "logical or, xor, not": (
        lambda x, y: (torch.logical_or(x, y), torch.logical_xor(x, y), torch.logical_not(x)),
        whole(4, 6),
        truth(6),
    ),
    "and of a scalar": (lambda x: x & True, truth(4, 6)),
    "isnan": (torch.isnan, odd()),
    # choices
    "where": (torch.where, truth(4, 6), real(4, 6), real(6)),
    "where with scalars": (lambda c: (torch.where(c, 1.0, 0.0), torch.where(c, 1, 2)), truth(4, 6)),
    "where with a scalar and a tensor": (lambda c, x: torch.where(c, x, -1), truth(4, 6), real(4, 6)),
    "where with a tensor and a scalar of float16": (
        lambda c, x: torch.where(c, 0.5, x),
        truth(4, 6),
        real(6, dtype=f16),
    ),
    "where promotes": (torch.where, truth(4, 6), whole(4, 6), real(4, 6)),
    "masked_fill": (lambda x, m: x.masked_fill(m, float("-inf")), real(4, 6), truth(6)),
    "masked_fill of integers": (lambda x, m: x.masked_fill(m, 7), whole(4, 6), truth(4, 1)),
    "masked_fill by a tensor": (lambda x, m, y: x.masked_fill(m, y), real(4, 6), truth(4, 6), real()),
    "clamp": (lambda x: x.clamp(-0.5, 0.5), real(4, 6)),
    "clamp from below": (lambda x: x.clamp(min=0), whole(4, 6)),
    "clamp from above": (lambda x: x.clamp(max=0.5), odd()),
    "clamp of integers by floats": (lambda x: x.clamp(-1.5, 2.5), whole(4, 6)),
    "clamp with crossed bounds": (lambda x: x.clamp(1.0, -1.0), real(4, 6)),
    "clamp_min, clamp_max": (lambda x: torch.clamp_min(x, 0.0) + torch.clamp_max(x, 0.0), real(4, 6)),
    # functions
    **{
        name: (getattr(torch, name), positive(4, 6))
        for name in ("exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "erf", "sin", "cos", "reciprocal", "square")
    },
    **{f"{name} of integers": (getattr(torch, name), whole(4, 6, low=1)) for name in ("exp", "sqrt", "sigmoid")},
    "functions of odd numbers": (
        lambda x: tuple(getattr(torch, n)(x) for n in ("exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "abs", "neg")),
        odd(),
    ),
    "abs and neg of integers": (lambda x: x.abs() - (-x), whole(4, 6)),
    "activations": (
        lambda x: F.relu(x) + F.silu(x) + F.gelu(x) + F.gelu(x, approximate="tanh") + F.leaky_relu(x, 0.2),
        real(4, 6),
    ),
    "more activations": (lambda x: F.hardswish(x) + F.logsigmoid(x) + F.hardtanh(x) + F.relu6(x), real(4, 6) * 4),
    "rrelu at rest": (lambda x: F.rrelu(x) + F.rrelu(x, 0.3, 0.5, training=False), real(4, 6)),
    "rrelu in half precision": (F.rrelu, real(4, 6, dtype=bf16)),
    "activations in half precision": (lambda x: F.silu(x) + F.gelu(x), real(4, 6, dtype=bf16)),
    "relu of odd numbers": (F.relu, odd()),
    "prelu with one weight": (F.prelu, real(4, 6, 2), real(1)),
    "prelu with a weight a channel": (F.prelu, real(4, 6, 2), real(6)),
    # casts and constants
    "casts": (lambda x: (x.half(), x.bfloat16(), x.double(), x.int(), x.bool(), x.to(torch.uint8)), positive(4, 6) * 3),
    "casts of booleans": (lambda x: (x.float(), x.long(), x.half()), truth(4, 6)),
    "type_as": (lambda x, y: x.type_as(y), whole(4, 6), real(1)),
    "like another": (
        lambda x: x + torch.zeros_like(x) + torch.ones_like(x) + torch.full_like(x, 2.5) + x.new_full((6,), 3.0),
        real(4, 6),
    ),
    "new ones and zeros": (lambda x: x + x.new_ones(6) + x.new_zeros(4, 1), real(4, 6)),
    "constants made inside": (
        lambda x: x + torch.arange(6) * 2.5 + torch.tensor([1.0, 2.0, 4.0, 0.0, 1.0, 7.0]),
        real(4, 6),
    ),
    "a constant with infinities": (lambda x: x + torch.tensor([float("inf"), 0.0, 0.0]), real(2, 3)),
    "a constant with both zeros": (lambda x: x / torch.tensor([0.0, -0.0, 1.0]), positive(2, 3)),
    "identity": (lambda x: x, real(4, 6)),
    "detach, clone, contiguous": (lambda x: x.detach().clone().T.contiguous(), real(4, 6)),
    "idle dropout": (lambda x: F.dropout(x, 0.5, training=False) + F.dropout(x, 0.0), real(4, 6)),
}

# What torch calls pointwise and has no rule: a kernel whose every label can be cut.
KERNELS: dict[str, Case] = {
    "softplus": (F.softplus, real(4, 6)),
    "elu, selu, mish": (lambda x: F.elu(x) + F.selu(x) + F.mish(x), real(4, 6)),
    "round, ceil, trunc, sign": (
        lambda x: torch.round(x) + torch.ceil(x) + torch.trunc(x) + torch.sign(x),
        real(4, 6) * 3,
    ),
    "atan2 broadcasts": (torch.atan2, real(4, 1), real(6)),
    "lerp": (lambda x, y: torch.lerp(x, y, 0.3), real(4, 6), real(4, 6)),
    "addcmul": (lambda x, y, z: torch.addcmul(x, y, z, value=0.5), real(4, 6), real(4, 6), real(6)),
    "bits": (lambda x, y: (x & y) | (x ^ 3), whole(4, 6), whole(4, 6)),
    "shifts": (lambda x: (x << 2) >> 1, whole(4, 6)),
    "clamp by tensors": (lambda x, y: torch.clamp(x, min=y), real(4, 6), real(6)),
    "clamp by NaN": (lambda x: x.clamp(min=float("nan")), real(4, 6)),
    "division that truncates": (lambda x, y: torch.div(x, y, rounding_mode="trunc"), real(4, 6), positive(4, 6)),
    "division of integers that truncates": (
        lambda x, y: torch.div(x, y, rounding_mode="trunc"),
        whole(3, 5),
        -whole(3, 5, low=1),
    ),
    "fmod of integers": (lambda x, y: torch.fmod(x, y), whole(3, 5), -whole(3, 5, low=1)),
    "remainder of a scalar": (lambda x: torch.remainder(5, x), whole(3, 5, low=1)),
    "nan_to_num": (lambda x: torch.nan_to_num(x, nan=1.0), odd()),
    "isfinite, isinf": (lambda x: torch.isfinite(x) & ~torch.isinf(x), odd()),
    "complex": (lambda x, y: (torch.complex(x, y) * torch.complex(y, x)).abs(), real(4, 6), real(4, 6)),
    "complex by a complex number": (lambda x: x * (1 + 2j), real(4, 6)),
}


@pytest.mark.parametrize("name", JOINS)
def test_a_pointwise_operator_is_a_join_and_equals_torch(name: str) -> None:
    function, *args = JOINS[name]
    assert kernels(check(function, *args, meshes=((2, 2),), random_seeds=(0,))) == []


@pytest.mark.parametrize("name", KERNELS)
def test_a_pointwise_operator_without_a_rule_equals_torch(name: str) -> None:
    function, *args = KERNELS[name]
    assert set(kernels(check(function, *args, meshes=((2, 2),), random_seeds=(0,)))) == {"aten"}
