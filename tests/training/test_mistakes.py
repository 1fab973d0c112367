"""What train_step says of what it cannot train."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import einsplit
from einsplit.errors import EinsplitError, GradientError
from einsplit.optim import SGD, Adam, AdamW
from tests.training.loops import batches, net, square_loss

(BATCH,) = batches(4)


def said(call: Callable[[], object], kind: type[EinsplitError] = EinsplitError) -> str:
    with pytest.raises(EinsplitError) as caught:
        call()
    assert type(caught.value) is kind
    return str(caught.value)


def step_with(
    loss: Callable[..., object] = square_loss, optimizer: object = None, model: nn.Module | None = None
) -> Callable[[], object]:
    model = net() if model is None else model
    step = einsplit.train_step(model, loss, SGD() if optimizer is None else optimizer, devices=1)
    return lambda: step(*BATCH)


LOSSES: list[tuple[Callable[..., object], type[EinsplitError], str]] = [
    (
        lambda model, x, y: (model(x) - y).square(),
        GradientError,
        "output 'loss' has shape (4, 5), and one number is differentiated.\n  Sum it.",
    ),
    (
        lambda model, x, y: (square_loss(model, x, y), model(x)),
        EinsplitError,
        "the loss returns a tuple instead of a tensor\n  Return one number.",
    ),
    (
        lambda model, x, y: {"loss": square_loss(model, x, y)},
        EinsplitError,
        "the loss returns a dict instead of a tensor\n  Return one number.",
    ),
    (
        lambda model, x, y: square_loss(model, x, y).argmin(),
        GradientError,
        "output 'loss' is int64.\n  Real numbers have gradients: cast it.",
    ),
    (
        lambda model, x, y: square_loss(model, x, y).detach(),
        EinsplitError,
        "there is nothing to train: no gradient reaches a parameter\n"
        "  Call model.requires_grad_(), or give the optimizer the parameters of this model.",
    ),
    (
        lambda model, x, y: (x[:, :5] - y).square().mean(),
        EinsplitError,
        "there is nothing to train: no gradient reaches a parameter\n"
        "  Call model.requires_grad_(), or give the optimizer the parameters of this model.",
    ),
]


@pytest.mark.parametrize("loss, kind, message", LOSSES, ids=["shape", "tuple", "dict", "integer", "detached", "other"])
def test_a_loss_that_is_no_loss(loss: Callable[..., object], kind: type[EinsplitError], message: str) -> None:
    assert said(step_with(loss), kind) == message


def test_nothing_to_train() -> None:
    advice = "\n  Call model.requires_grad_(), or give the optimizer the parameters of this model."
    message = f"there is nothing to train: no gradient reaches a parameter{advice}"
    assert said(step_with(model=net().requires_grad_(False))) == message
    assert said(step_with(optimizer=torch.optim.SGD(net().parameters()))) == message


def used(model: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam(model.parameters())
    square_loss(model, *BATCH).backward()
    optimizer.step()
    return optimizer


OPTIMIZERS: list[tuple[Callable[[nn.Module], object], str]] = [
    (lambda model: "adam", "optimizer is str\n  Give an einsplit.optim.SGD, Adam or AdamW, or one of torch.optim."),
    (
        lambda model: torch.optim.Adam,
        "optimizer is the class Adam\n  Give an einsplit.optim.SGD, Adam or AdamW, or one of torch.optim.",
    ),
    (
        lambda model: torch.optim.Adagrad(model.parameters()),
        "torch.optim.Adagrad has no rule here\n  Known: torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW.",
    ),
    (
        lambda model: torch.optim.AdamW(model.parameters(), amsgrad=True),
        "amsgrad=True of AdamW has no rule here\n  Leave it out.",
    ),
    (
        lambda model: torch.optim.SGD(model.parameters(), maximize=True),
        "maximize=True of SGD has no rule here\n  Leave it out.",
    ),
    (used, "the optimizer has made steps already, and its moments would be lost\n  Give one that has made none."),
]


@pytest.mark.parametrize("make, message", OPTIMIZERS, ids=["text", "class", "unknown", "amsgrad", "maximize", "used"])
def test_an_optimizer_without_a_rule(make: Callable[[nn.Module], object], message: str) -> None:
    model = net()
    assert said(step_with(optimizer=make(model), model=model)) == message


SETTINGS: list[tuple[Callable[[], object], str]] = [
    (lambda: SGD(lr=-1.0), "lr=-1.0: it must be at least 0"),
    (lambda: SGD(lr=float("nan")), "lr=nan: it must be at least 0"),
    (lambda: SGD(momentum=-0.5), "momentum=-0.5: it must be at least 0"),
    (lambda: SGD(weight_decay=-0.5), "weight_decay=-0.5: it must be at least 0"),
    (lambda: SGD(nesterov=True), "nesterov needs a momentum and no dampening\n  Set momentum=0.9, dampening=0.0."),
    (lambda: Adam(betas=(0.9, 1.0)), "betas=(0.9, 1.0): it must be two from [0, 1)"),
    (lambda: AdamW(eps=-1e-8), "eps=-1e-08: it must be at least 0"),
    (lambda: AdamW(weight_decay=-1.0), "weight_decay=-1.0: it must be at least 0"),
    (
        lambda: einsplit.train_step(net, square_loss, SGD(), devices=1),
        "the model is function\n  Give a torch.nn.Module.",
    ),
    (
        lambda: einsplit.train_step(net(), 3, SGD(), devices=1),
        "the loss is int\n  Give a function loss(model, *batch).",
    ),
    (
        lambda: einsplit.train_step(net(), square_loss, SGD(), devices=1, clip_norm=0.0),
        "clip_norm=0.0: it must be positive\n  Leave it out to clip nothing.",
    ),
]


@pytest.mark.parametrize("make, message", SETTINGS, ids=[message.split("\n")[0] for _, message in SETTINGS])
def test_settings_that_make_no_sense(make: Callable[[], object], message: str) -> None:
    assert said(make) == message


def test_two_parameters_in_one_memory_are_refused() -> None:
    """torch's optimizer moves each by its own gradient; here they would be one."""
    model = net()
    model.third = nn.Linear(8, 5).double()
    model.third.weight = nn.Parameter(model.second.weight.data)

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return (model.second(model.first(x)) * model.third(model.first(x)) - y).square().mean()

    assert said(step_with(loss, model=model)) == (
        "'second.weight' and 'third.weight' are two parameters in the same memory\n"
        "  Tie them by making them one: model.third.weight = model.second.weight."
    )
