"""SGD, Adam and AdamW move the weights as torch's own do, with every setting that they have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import einsplit
from einsplit.optim import SGD, Adam, AdamW
from tests.training.loops import batches, in_torch, net, square_loss, trains_alike

SETTINGS: list[tuple[type, type, dict[str, Any]]] = [
    (SGD, torch.optim.SGD, {"lr": 0.1}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.1}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    (Adam, torch.optim.Adam, {"lr": 0.01}),
    (Adam, torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}),
    (AdamW, torch.optim.AdamW, {"lr": 0.01}),
    (AdamW, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.0}),
    (AdamW, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.5, "betas": (0.0, 0.99)}),
]


@pytest.mark.parametrize(
    "ours, theirs, settings", SETTINGS, ids=[f"{k}-{row[0].__name__}" for k, row in enumerate(SETTINGS)]
)
def test_an_optimizer_moves_the_weights_as_torchs_own(ours: type, theirs: type, settings: dict[str, Any]) -> None:
    trains_alike(net(), square_loss, ours(**settings), lambda p: theirs(p, **settings), batches())


@pytest.mark.parametrize(
    "theirs, settings", [row[1:] for row in SETTINGS], ids=[f"{k}-{row[1].__name__}" for k, row in enumerate(SETTINGS)]
)
def test_torchs_own_optimizer_is_read(theirs: type, settings: dict[str, Any]) -> None:
    model = net()
    trains_alike(
        model, square_loss, theirs(model.parameters(), **settings), lambda p: theirs(p, **settings), batches(), 1
    )


@pytest.mark.parametrize("norm", [1e-3, 0.5, 1e6])
def test_gradients_are_clipped_by_the_norm_of_all(norm: float) -> None:
    trains_alike(
        net(), square_loss, SGD(lr=0.3), lambda p: torch.optim.SGD(p, lr=0.3), batches(4, 4, 4), clip_norm=norm
    )


def test_defaults_are_torchs() -> None:
    for ours, theirs in ((SGD, torch.optim.SGD), (Adam, torch.optim.Adam), (AdamW, torch.optim.AdamW)):
        trains_alike(net(), square_loss, ours(), theirs, batches(4, 4))


def test_a_scheduler_of_torch_sets_the_rate_of_every_step() -> None:
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    given = batches()
    found = []
    with (
        pytest.warns(UserWarning, match="lr_scheduler.step"),  # which counts the optimizer's own steps
        einsplit.train_step(model, square_loss, optimizer, devices=2) as step,
    ):
        for batch in given:
            found.append(step(*batch).item())
            scheduler.step()
        weights = step.state_dict()
    own = net()
    theirs = torch.optim.AdamW(own.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(theirs, step_size=2, gamma=0.1)
    losses = []
    for batch in given:
        loss = square_loss(own, *batch)
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        schedule.step()
        losses.append(loss.item())
    torch.testing.assert_close(found, losses, rtol=1e-9, atol=1e-12)
    for name, tensor in own.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-9, atol=1e-12)


def test_a_schedule_is_a_function_of_the_number_of_the_step() -> None:
    asked: list[int] = []

    def rate(step: int) -> float:
        asked.append(step)
        return 0.1 / step

    model, given = net(), batches(4, 4, 4)
    rates = iter((0.1, 0.05, 0.1 / 3))

    class Scheduled(torch.optim.SGD):
        def step(self) -> None:
            self.param_groups[0]["lr"] = next(rates)
            super().step()

    losses, _ = in_torch(model, square_loss, Scheduled, given)
    with einsplit.train_step(model, square_loss, SGD(lr=rate), devices=2) as step:
        assert [step(*batch).item() for batch in given] == pytest.approx(losses, rel=1e-9)
    assert asked == [1, 2, 3]


def test_groups_have_their_own_settings_and_rates() -> None:
    def grouped(model: nn.Module) -> torch.optim.Optimizer:
        first, second = dict(model.named_parameters()), {}
        for name in ("first.bias", "second.bias", "scale"):
            second[name] = first.pop(name)
        return torch.optim.AdamW(
            [{"params": first.values(), "weight_decay": 0.3}, {"params": second.values(), "lr": 0.001}], lr=0.02
        )

    model, own, given = net(), net(), batches()
    theirs = grouped(own)
    for batch in given:
        theirs.zero_grad()
        square_loss(own, *batch).backward()
        theirs.step()
    with einsplit.train_step(model, square_loss, grouped(model), devices=2) as step:
        for batch in given:
            step(*batch)
        weights = step.state_dict()
    for name, tensor in own.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-9, atol=1e-12)


def test_what_the_optimizer_was_not_given_stays() -> None:
    model = net()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with einsplit.train_step(model, square_loss, torch.optim.SGD(model.first.parameters(), lr=0.1), devices=2) as step:
        step(*batches()[0])
        after = step.state_dict()
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert moved == {"first.weight", "first.bias"}


def test_what_no_gradient_reaches_does_not_decay() -> None:
    """As in torch, where its gradient is None; where it is 0, the weight decays."""

    def partly(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        first = model.first(x).detach()  # reached by nothing
        steps = torch.where(model.scale > 0, 1.0, 2.0)  # only compared
        return (model.second(first) * steps + 0 * model.second.bias - y).square().mean()

    settings = {"lr": 0.1, "weight_decay": 0.5}
    trains_alike(net(), partly, AdamW(**settings), lambda p: torch.optim.AdamW(p, **settings), batches(4, 4))


def test_a_gradient_of_zero_is_a_gradient() -> None:
    def flat(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return (model(x) - y).square().mean() + model.scale.floor().sum() + model.first.bias.round().sum()

    def only_flat(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return (model.second(x[:, :1].expand(-1, 8)) * model.scale.floor() - y).square().mean()

    for loss in (flat, only_flat):
        trains_alike(
            net(),
            loss,
            AdamW(lr=0.1, weight_decay=0.5),
            lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.5),
            batches(4),
        )
