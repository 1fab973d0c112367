"""Random programs of captured operators equal torch; and the table of rules fits torch's own signatures."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from math import prod
from random import Random

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from einsplit.capture.reader import RULES
from tests.capture.driver import check

import_module("einsplit.eager")  # registers einsplit's own operator, which has a rule too

Operator = Callable[[Tensor], Tensor]
SIZES = (1, 2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Pipeline:
    """Operators one after the other, the result of each the argument of the next."""

    steps: tuple[tuple[str, Operator], ...]

    def __call__(self, x: Tensor) -> Tensor:
        for _, step in self.steps:
            x = step(x)
        return x

    def __repr__(self) -> str:
        return " -> ".join(name for name, _ in self.steps)


def pipeline(random: Random, shape: tuple[int, ...], count: int) -> Pipeline:
    steps = []
    probe = torch.empty(shape, dtype=torch.float64, device="meta")
    while len(steps) < count:
        name, step = random.choice(MAKERS)(random, tuple(probe.shape))
        after = step(probe)
        if 0 < after.numel() <= 600 and after.ndim <= 5:
            probe = after
            steps.append((name, step))
    return Pipeline(tuple(steps))


def _dim(random: Random, shape: tuple[int, ...]) -> int:
    return random.randrange(-len(shape), len(shape)) if shape else 0


def _pointwise(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    name = random.choice(("tanh", "sigmoid", "relu", "sin", "neg", "abs", "square"))
    return name, getattr(torch, name)


def _scaled(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    low = random.uniform(-1, 0)
    return f"clamp({low:.2f}) * 0.7", lambda x: x.clamp(min=low) * 0.7


def _broadcast(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    keep = [random.random() < 0.5 for _ in shape]
    drop = random.randint(0, len(shape))
    own = tuple(n if k else 1 for n, k in zip(shape, keep, strict=True))[drop:]
    return f"+ arange({own})", lambda x: x + torch.arange(prod(own), device=x.device).reshape(own) * 0.1


def _reduce(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    name, dim, keep = random.choice(("sum", "mean", "amax", "logsumexp")), _dim(random, shape), random.random() < 0.5
    if not shape:
        return _pointwise(random, shape)
    return f"{name}({dim}, {keep})", lambda x: getattr(torch, name)(x, dim, keepdim=keep)


def _softmax(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    dim = _dim(random, shape)
    return f"softmax({dim})", lambda x: x.softmax(dim)


def _matmul(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    if len(shape) < 2:
        return _scaled(random, shape)
    return "x @ x.mT", lambda x: x @ x.mT


def _norm(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    dims = random.randint(1, len(shape)) if shape else 0
    return f"layer_norm({dims})", lambda x: F.layer_norm(x, shape[len(shape) - dims :]) if dims else x * 2


def _permute(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    order = random.sample(range(len(shape)), len(shape))
    return f"permute{tuple(order)}", lambda x: x.permute(order)


def _reshape(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    left, sizes = prod(shape), []
    while left > 1 and len(sizes) < 3 and random.random() < 0.8:
        sizes.append(random.choice([n for n in range(1, left + 1) if left % n == 0]))
        left //= sizes[-1]
    sizes.append(left)
    return f"reshape{tuple(sizes)}", lambda x: x.reshape(sizes)


def _unsqueeze(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    dim, size = random.randrange(len(shape) + 1), random.choice((1, 2, 3))
    wide = (*shape[:dim], size, *shape[dim:])
    return f"unsqueeze({dim}).expand{wide}", lambda x: x.unsqueeze(dim).expand(wide)


def _slice(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    if not shape:
        return _scaled(random, shape)
    dim = random.randrange(len(shape))
    start = random.randrange(shape[dim])
    stop, step = random.randint(start + 1, shape[dim]), random.choice((1, 1, 1, 2))
    index = (*(slice(None) for _ in range(dim)), slice(start, stop, step))
    return f"[{dim}: {start}:{stop}:{step}]", lambda x: x[index]


def _halves(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    even = [k for k, n in enumerate(shape) if n % 2 == 0]
    if not even:
        return _scaled(random, shape)
    dim, half = random.choice(even), 0
    half = shape[dim] // 2
    return f"rotate({dim})", lambda x: torch.cat((-x.narrow(dim, half, half), x.narrow(dim, 0, half)), dim)


def _cat(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    if not shape:
        return "stack", lambda x: torch.stack((x, x * 2))
    dim = random.randrange(len(shape))
    return f"cat({dim})", lambda x: torch.cat((x, x.narrow(dim, 0, 1), x * 2), dim)


def _select(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    if not shape:
        return _scaled(random, shape)
    dim = random.randrange(len(shape))
    at = random.randrange(-shape[dim], shape[dim])
    return f"select({dim}, {at})", lambda x: x.select(dim, at)


def _masked(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    if len(shape) < 2:
        return _scaled(random, shape)
    return "triu", lambda x: x.masked_fill(torch.ones(shape[-2:], device=x.device).tril() == 0, -1.5)


def _written(random: Random, shape: tuple[int, ...]) -> tuple[str, Operator]:
    def step(x: Tensor) -> Tensor:
        y = x * 0.5
        if shape:
            y[..., 0] += 1
        return y.add_(0.1)

    return "write in place", step


MAKERS = (
    *(_pointwise, _scaled, _broadcast, _reduce, _softmax, _matmul, _norm, _permute, _reshape, _reshape),
    *(_unsqueeze, _slice, _halves, _cat, _select, _masked, _written),
)


@settings(max_examples=80)
@given(st.randoms(use_true_random=False), st.lists(st.sampled_from(SIZES), max_size=4), st.integers(3, 6))
def test_random_programs_equal_torch_whole_and_cut(random: Random, shape: list[int], count: int) -> None:
    while prod(shape) > 200:
        shape = shape[1:]
    function = pipeline(random, tuple(shape), count)
    numbers = torch.Generator().manual_seed(random.randrange(2**31))
    x = torch.randn(shape, generator=numbers, dtype=torch.float64)
    check(function, x, meshes=((2, 2),), random_seeds=(random.randrange(2**31),), tolerance=1e-9)


@pytest.mark.parametrize("target", RULES)
def test_a_rule_takes_whatever_torch_passes_to_its_operator(target: str) -> None:
    space, name, overload = target.split(".")
    arguments = getattr(getattr(getattr(torch.ops, space), name), overload)._schema.arguments
    positional = [None for argument in arguments if not argument.kwarg_only]
    named = {argument.name: None for argument in arguments if argument.kwarg_only}
    inspect.signature(RULES[target]).bind(None, *positional, **named)
