"""Training in plain torch, and by train_step, side by side."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

import einsplit

Batch = tuple[Tensor, ...]
Loss = Callable[..., Tensor]


class Net(nn.Module):
    """Two layers, and a scale of its own for every result."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.second = nn.Linear(8, 5)
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x))) * self.scale


def net() -> Net:
    torch.manual_seed(0)
    return Net().double()


def batches(*rows: int) -> list[Batch]:
    """Inputs and targets: a batch for each number of rows."""
    numbers = torch.Generator().manual_seed(1)
    return [
        tuple(torch.randn(n, wide, generator=numbers, dtype=torch.float64) for wide in (6, 5)) for n in rows or [4] * 6
    ]


def square_loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return (model(x) - y).square().mean()


def in_torch(
    model: nn.Module,
    loss: Loss,
    optimizer: Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer],
    given: Sequence[Batch],
    clip_norm: float | None = None,
) -> tuple[list[float], Mapping[str, Tensor]]:
    """The losses, and the weights after the last step, of a copy of the model."""
    own = copy.deepcopy(model)
    made = optimizer([parameter for parameter in own.parameters() if parameter.requires_grad])
    losses = []
    for batch in given:
        made.zero_grad()
        value = loss(own, *batch)
        value.backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(own.parameters(), clip_norm)
        made.step()
        losses.append(value.item())
    return losses, own.state_dict()


def trains_alike(
    model: nn.Module,
    loss: Loss,
    ours: object,
    theirs: Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer],
    given: Sequence[Batch],
    devices: int = 2,
    clip_norm: float | None = None,
) -> None:
    """Assert that losses and weights are those of plain torch."""
    losses, weights = in_torch(model, loss, theirs, given, clip_norm)
    with einsplit.train_step(model, loss, ours, devices=devices, clip_norm=clip_norm) as step:
        found = [step(*batch).item() for batch in given]
        state = step.state_dict()
    torch.testing.assert_close(found, losses, rtol=1e-9, atol=1e-12)
    assert state.keys() == weights.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-9, atol=1e-12)
