"""Models written with plain torch: perceptron, convolutions, recurrence, recommender, torch's own transformer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Example:
    """A module and a call of it."""

    module: nn.Module
    args: tuple[object, ...]
    kwargs: dict[str, object]

    def to(self, dtype: torch.dtype) -> Example:
        """With weights and real inputs of that dtype."""
        args = tuple(_cast(value, dtype) for value in self.args)
        return Example(self.module.to(dtype), args, {name: _cast(value, dtype) for name, value in self.kwargs.items()})


def _cast(value: object, dtype: torch.dtype) -> object:
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def perceptron(real: bool) -> Example:
    wide, batch = (4096, 256) if real else (16, 3)
    layers = (nn.Linear(wide, 2 * wide), nn.ReLU(), nn.LayerNorm(2 * wide), nn.Linear(2 * wide, wide), nn.GELU())
    return Example(nn.Sequential(*layers, nn.Linear(wide, 10)), (torch.randn(batch, wide),), {})


def convolutions(real: bool) -> nn.Sequential:
    """Padding, strides, groups; normalised over batch and groups; both poolings."""
    wide = 128 if real else 8
    return nn.Sequential(
        nn.Conv2d(3, wide, 3, padding=1),
        nn.BatchNorm2d(wide),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(wide, wide, 3, stride=2, groups=2),
        nn.GroupNorm(2, wide),
        nn.SiLU(),
        nn.Conv2d(wide, 2 * wide, 3, padding="same", bias=False),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * wide, 5),
    )


def images(real: bool) -> tuple[Tensor]:
    size = 64 if real else 16
    return (torch.randn(8 if real else 4, 3, size, size),)


def convolutions_in_training(real: bool) -> Example:
    """Normalised by the batch's own statistics. That their running averages move is no part of this: none are kept."""
    model = convolutions(real)
    model[1] = nn.BatchNorm2d(128 if real else 8, track_running_stats=False)
    return Example(model.train(), images(real), {})


class Lstm(nn.Module):
    """A long short-term memory, written out step by step."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.of_input = nn.Linear(wide, 4 * wide)
        self.of_state = nn.Linear(wide, 4 * wide)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        state = memory = x.new_zeros(x.shape[0], x.shape[2])
        states = []
        for step in range(x.shape[1]):
            put, keep, new, shown = (self.of_input(x[:, step]) + self.of_state(state)).chunk(4, -1)
            memory = torch.sigmoid(keep) * memory + torch.sigmoid(put) * torch.tanh(new)
            state = torch.sigmoid(shown) * torch.tanh(memory)
            states.append(state)
        return torch.stack(states, 1), memory


class Recommender(nn.Module):
    """Embedding bags, a dense part, and the products of all pairs of them (DLRM, arXiv 1906.00091)."""

    def __init__(self, rows: int, wide: int, hidden: int) -> None:
        super().__init__()
        self.bags = nn.ModuleList(nn.EmbeddingBag(rows, wide, mode="sum") for _ in range(3))
        self.dense = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, wide), nn.ReLU())
        self.top = nn.Sequential(nn.Linear(wide + 6, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, dense: Tensor, categories: Tensor) -> Tensor:
        parts = [self.dense(dense), *(bag(categories[:, k]) for k, bag in enumerate(self.bags))]
        together = torch.stack(parts, 1)
        products = together @ together.transpose(1, 2)
        i, j = torch.tril_indices(4, 4, -1)
        return self.top(torch.cat([together[:, 0], products[:, i, j]], 1)).sigmoid()


def recommender(real: bool) -> Example:
    rows, wide, hidden, batch = (100_000, 64, 512, 512) if real else (20, 8, 6, 3)
    return Example(Recommender(rows, wide, hidden), (torch.randn(batch, 4), torch.randint(0, rows, (batch, 3, 5))), {})


def transformer(real: bool) -> Example:
    """torch's own, with a causal mask for the decoder."""
    wide, seq = (512, 64) if real else (32, 5)
    model = nn.Transformer(wide, 4, 1, 1, 4 * wide if real else 48, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(seq - 1)
    inputs = (torch.randn(2, seq, wide), torch.randn(2, seq - 1, wide))
    return Example(model.eval(), inputs, {"tgt_mask": mask, "tgt_is_causal": True})


class SelfAttention(nn.Module):
    """torch's own multi-head attention, of a sequence to itself; also returns the averaged weights."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(wide, 4, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.attention(x, x, x)
        return found


def attention(real: bool) -> Example:
    wide, seq = (512, 64) if real else (32, 5)
    return Example(SelfAttention(wide).eval(), (torch.randn(2, seq, wide),), {})


def lstm(real: bool) -> Example:
    wide, seq, batch = (512, 8, 32) if real else (8, 5, 2)
    return Example(Lstm(wide), (torch.randn(batch, seq, wide),), {})


PLAIN: dict[str, Callable[[bool], Example]] = {
    "perceptron": perceptron,
    "convolutions": lambda real: Example(convolutions(real).eval(), images(real), {}),
    "convolutions in training": convolutions_in_training,
    "LSTM of torch operators": lstm,
    "recommender": recommender,
    "torch.nn.Transformer": transformer,
    "torch.nn.MultiheadAttention": attention,
}
