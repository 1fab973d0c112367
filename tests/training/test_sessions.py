"""What stays between steps: weights and moments, over batches of other shapes, pauses, failures; and what is one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import einsplit
from einsplit.errors import RunError
from einsplit.optim import SGD, Adam, AdamW
from tests.training.loops import batches, in_torch, net, square_loss, trains_alike

DATA = (3.0, -1.0, 4.0, 1.5, -9.0, 2.6)


def test_a_batch_of_another_shape_takes_over_the_state() -> None:
    trains_alike(net(), square_loss, Adam(lr=0.05), lambda p: torch.optim.Adam(p, lr=0.05), batches(4, 4, 7, 7, 4, 3))


def test_constants_of_one_shape_are_not_those_of_another() -> None:
    def weighted(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        own = torch.tensor(DATA[: len(x)] if len(x) != 4 else DATA[2:], dtype=torch.float64)
        return ((model(x) - y).square() * own[:, None]).mean()

    trains_alike(net(), weighted, SGD(lr=0.01), lambda p: torch.optim.SGD(p, lr=0.01), batches(4, 6, 3, 4))


def test_training_goes_on_after_close() -> None:
    model, given = net(), batches()
    losses, weights = in_torch(model, square_loss, lambda p: torch.optim.Adam(p, lr=0.05), given)
    step = einsplit.train_step(model, square_loss, Adam(lr=0.05), devices=2)
    found = [step(*batch).item() for batch in given[:3]]
    step.close()
    step.close()
    between = step.state_dict()
    between["scale"].zero_()  # a copy
    found += [step(*batch).item() for batch in given[3:]]
    torch.testing.assert_close(found, losses, rtol=1e-9, atol=1e-12)
    step.close()
    for name, tensor in step.state_dict().items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-9, atol=1e-12)
    assert step.num_steps == 6 and repr(step) == "<train step of Net on cpu-2, local, 6 made>"


def test_the_state_loads_into_the_model() -> None:
    model, given = net(), batches()
    _, weights = in_torch(model, square_loss, lambda p: torch.optim.SGD(p, lr=0.1), given)
    before = copy.deepcopy(model.state_dict())
    with einsplit.train_step(model, square_loss, SGD(lr=0.1), devices=2) as step:
        for batch in given:
            step(*batch)
        for name, tensor in model.state_dict().items():  # the model itself stays as it is
            assert torch.equal(tensor, before[name])
        model.load_state_dict(step.state_dict())
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, weights[name], rtol=1e-9, atol=1e-12)


def test_before_the_first_step_the_state_is_the_models() -> None:
    model = net()
    step = einsplit.train_step(model, square_loss, SGD(), devices=2)
    state = step.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[name], tensor) and state[name].data_ptr() != tensor.data_ptr()


def test_tied_weights_stay_one() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 6)
            self.head = nn.Linear(6, 9, bias=False)
            self.head.weight = self.table.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(torch.tanh(self.table(ids)))

    def loss(model: nn.Module, ids: Tensor, following: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(ids).flatten(0, 1), following.flatten())

    torch.manual_seed(0)
    model = Tied().double()
    rows = torch.randint(9, (3, 4, 6))
    given = [(row[:, :-1], row[:, 1:]) for row in rows]
    trains_alike(model, loss, AdamW(lr=0.05), lambda p: torch.optim.AdamW(p, lr=0.05), given)
    step = einsplit.train_step(model, loss, AdamW(), devices=2)
    parameters = [name for name in step.graph(*given[0]).inputs if "optimizer" not in name and "weight" in name]
    assert parameters == ["table.weight"]


def test_frozen_weights_stay() -> None:
    model = net()
    model.first.requires_grad_(False)
    settings = {"lr": 0.1, "weight_decay": 0.5}
    trains_alike(model, square_loss, AdamW(**settings), lambda p: torch.optim.AdamW(p, **settings), batches(4, 4))


def test_unused_weights_stay() -> None:
    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return model.first(x).square().mean()

    settings = {"lr": 0.1, "weight_decay": 0.5}
    trains_alike(net(), loss, AdamW(**settings), lambda p: torch.optim.AdamW(p, **settings), batches(4, 4))


def test_state_that_was_lost_is_not_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that fails leaves the devices in the middle of something. What was saved earlier is older than they."""
    model, (batch, *_) = net(), batches()
    step = einsplit.train_step(model, square_loss, SGD(lr=0.1), devices=2)
    step(*batch)
    step.close()
    step(*batch)
    session = step.session(*batch)
    monkeypatch.setattr(session, "_step_blocks", lambda blocks, doing: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        step(*batch)
    message = "the state was lost with the devices that failed\n  Make a new train step."
    for ask in (lambda: step(*batch), step.state_dict):
        with pytest.raises(RunError) as caught:
            ask()
        assert str(caught.value) == message
    step.close()


def test_a_first_step_that_fails_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (batch, *_) = net(), batches()
    losses, _ = in_torch(model, square_loss, torch.optim.SGD, [batch])
    with einsplit.train_step(model, square_loss, SGD(), devices=2) as step:
        monkeypatch.setattr(step.session(*batch), "_step_blocks", lambda blocks, doing: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            step(*batch)
        assert step(*batch).item() == pytest.approx(losses[0], rel=1e-9)
