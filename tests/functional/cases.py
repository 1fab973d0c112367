"""Random calls of every function, and what torch makes of the same operands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as torch_functional

from einsplit import functional as F
from einsplit.builder import Builder
from einsplit.builder.views import Value
from einsplit.einsum import einsum
from einsplit.graph import Graph

Arrays = list[np.ndarray]


@dataclass(frozen=True, slots=True)
class Call:
    """`ours` of the operands, whichever kind they are, is `theirs` of tensors. Results are one value or a tuple."""

    ours: Callable[..., object]
    theirs: Callable[..., object]
    operands: Arrays

    @property
    def wrt(self) -> list[str]:
        """The operands that have a gradient."""
        return [f"x{k}" for k, array in enumerate(self.operands) if array.dtype.kind == "f"]

    def tensors(self) -> list[Tensor]:
        return [torch.from_numpy(array.copy()) for array in self.operands]


def results(found: object) -> list[object]:
    return list(found) if isinstance(found, tuple) else [found]


def weights(shape: tuple[int, ...]) -> np.ndarray:
    """What a result is multiplied by before it is summed up to a loss."""
    return np.cos(np.arange(np.prod(shape, dtype=int))).reshape(shape)


def graph_of(call: Call) -> tuple[Graph, dict[str, np.ndarray]]:
    """The call on symbolic values, and its feeds: outputs `y0` ..., and `loss` from those that are real numbers."""
    builder, feeds = Builder(), {f"x{k}": array for k, array in enumerate(call.operands)}
    values = [builder.input(name, array.shape, array.dtype.name) for name, array in feeds.items()]
    found = [value for value in results(call.ours(*values)) if isinstance(value, Value)]
    losses = []
    for k, value in enumerate(found):
        if value.dtype == "float64":
            feeds[f"w{k}"] = weights(value.shape)
            losses.append(einsum("..., ... -> ", value, builder.input(f"w{k}", value.shape, "float64")))
    (loss,) = losses
    return builder.build({**{f"y{k}": value for k, value in enumerate(found)}, "loss": loss}), feeds


def torch_gradients(function: Callable[..., object], call: Call) -> list[np.ndarray]:
    """Of the loss that `graph_of` has, by torch."""
    operands = [x.requires_grad_() if x.is_floating_point() else x for x in call.tensors()]
    real = [y for y in results(function(*operands)) if isinstance(y, Tensor) and y.is_floating_point()]
    loss = torch.stack([(y * torch.from_numpy(weights(tuple(y.shape)))).sum() for y in real]).sum()
    wrt = [x for x in operands if x.requires_grad]
    found = torch.autograd.grad(loss, wrt, allow_unused=True)
    return [torch.zeros_like(x).numpy() if y is None else y.numpy() for x, y in zip(wrt, found, strict=True)]


# -------------------------------------------------------------------------------------------------- operands


def normal(random: Random, *shape: int) -> np.ndarray:
    return np.random.default_rng(random.randint(0, 2**31)).normal(size=shape)


def integers(random: Random, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    return np.random.default_rng(random.randint(0, 2**31)).integers(low, high, shape)


def some(random: Random, num: int, most: int = 4) -> tuple[int, ...]:
    return tuple(random.randint(1, most) for _ in range(num))


def leading(random: Random) -> tuple[int, ...]:
    return some(random, random.randint(0, 2))


# ----------------------------------------------------------------------------------------------------- calls


def softmax(random: Random) -> Call:
    x = normal(random, *leading(random), random.randint(1, 6)) * random.choice((1, 300))
    return Call(F.softmax, lambda t: torch.softmax(t, -1), [x])


def log_softmax(random: Random) -> Call:
    return Call(F.log_softmax, lambda t: torch.log_softmax(t, -1), softmax(random).operands)


def cross_entropy(random: Random) -> Call:
    shape, classes, reduction = leading(random), random.randint(1, 6), random.choice(("mean", "sum", "none"))
    ignored = random.choice((-100, 0, classes - 1))
    targets = integers(random, shape, 0, classes)
    if random.random() < 0.5:
        targets = np.where(integers(random, shape, 0, 3) == 0, ignored, targets)

    def theirs(scores: Tensor, targets: Tensor) -> Tensor:
        flat = scores.reshape(-1, classes), targets.reshape(-1)
        found = torch_functional.cross_entropy(*flat, ignore_index=ignored, reduction=reduction)
        return found.reshape(targets.shape) if reduction == "none" else found

    def ours(scores: Value, targets: Value) -> Value:
        return F.cross_entropy(scores, targets, ignore_index=ignored, reduction=reduction)

    return Call(ours, theirs, [normal(random, *shape, classes), targets])


def embedding(random: Random) -> Call:
    rows, width = some(random, 2, 5)
    ids = integers(random, leading(random), 0, rows)
    return Call(F.embedding, torch_functional.embedding, [ids, normal(random, rows, width)])


def rms_norm(random: Random) -> Call:
    shape, width, eps = leading(random), random.randint(1, 6), random.choice((1e-6, 0.1))
    operands = [normal(random, *shape, width), normal(random, width)][: random.randint(1, 2)]

    def theirs(x: Tensor, weight: Tensor | None = None) -> Tensor:
        return torch_functional.rms_norm(x, [width], weight, eps)

    return Call(lambda *xs: F.rms_norm(*xs, eps=eps), theirs, operands)


def layer_norm(random: Random) -> Call:
    shape, width, eps = leading(random), random.randint(2, 6), random.choice((1e-5, 0.1))
    operands = [normal(random, *shape, width), normal(random, width), normal(random, width)][: random.randint(1, 3)]

    def theirs(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        return torch_functional.layer_norm(x, [width], weight, bias, eps)

    return Call(lambda *xs: F.layer_norm(*xs, eps=eps), theirs, operands)


def attention(random: Random) -> Call:
    shape = leading(random)
    groups, heads, i, j, d, e = some(random, 6)
    query, key = normal(random, *shape, groups * heads, i, d), normal(random, *shape, groups, j, d)
    operands = [query, key, normal(random, *shape, groups, j, e)]
    causal, scale = random.random() < 0.5, random.choice((None, 0.7))
    if random.random() < 0.6:
        before = (*shape, groups * heads)
        of_mask = (*before[random.randint(0, len(before)) :], i, j)
        operands.append(random.choice((normal(random, *of_mask), integers(random, of_mask, 0, 3) > 0)))

    def ours(query: Value, key: Value, value: Value, mask: Value | None = None) -> Value:
        return F.attention(query, key, value, mask=mask, causal=causal, scale=scale)

    def theirs(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:  # torch takes a mask or is_causal, not both
            mask = torch.ones(i, j, dtype=torch.bool)
        if causal:
            early = torch.ones(i, j, dtype=torch.bool).tril()
            mask = mask & early if mask.dtype == torch.bool else torch.where(early, mask, -inf)
        attend = torch_functional.scaled_dot_product_attention
        return attend(query, key, value, mask, scale=scale, enable_gqa=True)

    return Call(ours, theirs, operands)


def rotary_embedding(random: Random) -> Call:
    length, half, base = random.randint(1, 5), random.randint(1, 4), random.choice((10000.0, 50.0))
    interleaved = random.random() < 0.5
    operands = [normal(random, *leading(random), length, 2 * half)]
    if random.random() < 0.5:
        operands.append(integers(random, (length,), 0, 40))

    def ours(x: Value, positions: Value | None = None) -> Value:
        return F.rotary_embedding(x, positions, base=base, interleaved=interleaved)

    def theirs(x: Tensor, positions: Tensor | None = None) -> Tensor:
        """As complex numbers, which share nothing with the sum over a rotation matrix."""
        at = torch.arange(length) if positions is None else positions
        angles = at[:, None] * base ** (-torch.arange(half, dtype=torch.float64) / half)
        pairs = x.unflatten(-1, (half, 2)) if interleaved else x.unflatten(-1, (2, half)).transpose(-1, -2)
        turned = torch.view_as_complex(pairs.contiguous()) * torch.polar(torch.ones_like(angles), angles)
        real = torch.view_as_real(turned)
        return (real if interleaved else real.transpose(-1, -2)).flatten(-2)

    return Call(ours, theirs, operands)


def convolution(random: Random) -> Call:
    num = random.choice((1, 2, 2, 3))
    groups, into, out = some(random, 3, 3)
    window, stride, padding, dilation = ([random.randint(low, high) for _ in range(num)]
                                         for low, high in ((1, 3), (1, 3), (0, 2), (1, 2)))  # fmt: skip
    lengths = [
        max(1, (n - 1) * by + 1 - 2 * around) + random.randint(0, 3)
        for n, by, around in zip(window, dilation, padding, strict=True)
    ]
    operands = [
        normal(random, random.randint(1, 2), groups * into, *lengths),
        normal(random, groups * out, into, *window),
        normal(random, groups * out),
    ][: random.randint(2, 3)]
    options = {"stride": tuple(stride), "padding": tuple(padding), "dilation": tuple(dilation), "groups": groups}
    convolve = (torch_functional.conv1d, torch_functional.conv2d, torch_functional.conv3d)[num - 1]
    return Call(lambda *xs: F.convolution(*xs, **options), lambda *xs: convolve(*xs, **options), operands)


def max_pool(random: Random) -> Call:
    num = random.choice((1, 2, 2, 3))
    window = [random.randint(1, 3) for _ in range(num)]
    padding = [random.randint(0, n // 2) for n in window]  # torch takes no more
    dilation = [random.randint(1, 2) for _ in range(num)]
    stride = random.choice((None, [random.randint(1, 3) for _ in range(num)]))
    lengths = [(n - 1) * by + 1 + random.randint(0, 3) for n, by in zip(window, dilation, strict=True)]
    pool = (torch_functional.max_pool1d, torch_functional.max_pool2d, torch_functional.max_pool3d)[num - 1]
    options = {"stride": stride, "padding": tuple(padding), "dilation": tuple(dilation)}
    x = normal(random, *some(random, 2, 2), *lengths)
    return Call(lambda t: F.max_pool(t, window, **options), lambda t: pool(t, window, **options), [x])


def all_pairs_distances(random: Random) -> Call:
    shape, p = leading(random), random.choice((1, 2, 2, inf))
    i, j, d = some(random, 3)
    x, y = normal(random, *shape, i, d), normal(random, *shape, j, d)
    if p == 2:
        x[..., :1, :] = y[..., :1, :]  # a distance of 0, whose slope is infinite but for the convention

    def theirs(x: Tensor, y: Tensor) -> Tensor:
        # The shortcut by a matrix multiplication is inexact near 0.
        return torch.cdist(x, y, p, compute_mode="donot_use_mm_for_euclid_dist")

    return Call(lambda a, b: F.all_pairs_distances(a, b, p=p), theirs, [x, y])


def k_nearest(random: Random) -> Call:
    i, j, d = some(random, 3, 5)
    k = random.randint(1, j)

    def theirs(queries: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        found = (queries[:, None] - points).norm(dim=-1).sort(dim=-1)
        return found.values[:, :k], found.indices[:, :k]

    operands = [normal(random, i, d), normal(random, j, d)]
    return Call(lambda queries, points: F.k_nearest(queries, points, k), theirs, operands)


def viterbi_step(random: Random) -> Call:
    shape, states, others = leading(random), *some(random, 2, 5)
    operands = [normal(random, *shape, states), normal(random, states, others), normal(random, *shape, others)]

    def theirs(scores: Tensor, transitions: Tensor, emissions: Tensor) -> tuple[Tensor, Tensor]:
        best = (scores[..., None] + transitions).max(dim=-2)
        return best.values + emissions, best.indices

    return Call(F.viterbi_step, theirs, operands)


def matrix_chain(random: Random) -> Call:
    sizes = some(random, random.randint(2, 6))
    operands = [normal(random, *pair) for pair in pairwise(sizes)]

    def theirs(*matrices: Tensor) -> Tensor:
        return torch.linalg.multi_dot(matrices) if len(matrices) > 1 else matrices[0]

    return Call(F.matrix_chain, theirs, operands)


def mttkrp(random: Random) -> Call:
    sizes, rank = some(random, random.randint(2, 4)), random.randint(1, 4)
    mode = random.randrange(-len(sizes), len(sizes))

    def theirs(tensor: Tensor, *factors: Tensor) -> Tensor:
        """Kolda and Bader's definition: the unfolded tensor times a Khatri-Rao product that is made."""
        kept = mode % len(sizes)
        product = torch.ones(1, rank, dtype=tensor.dtype)
        for k, factor in enumerate(factors):
            if k != kept:
                product = (product[:, None] * factor).flatten(0, 1)
        return tensor.movedim(kept, 0).flatten(1) @ product

    operands = [normal(random, *sizes), *(normal(random, size, rank) for size in sizes)]
    return Call(lambda tensor, *factors: F.mttkrp(tensor, factors, mode), theirs, operands)


CASES: dict[str, Callable[[Random], Call]] = {
    make.__name__: make
    for make in (
        softmax, log_softmax, cross_entropy, embedding, rms_norm, layer_norm, attention, rotary_embedding,
        convolution, max_pool, all_pairs_distances, k_nearest, viterbi_step, matrix_chain, mttkrp,
    )
}  # fmt: skip
