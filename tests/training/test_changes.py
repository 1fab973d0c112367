"""What changes between steps: functions in the batch, tensors that the loss reads, frozen parameters, settings."""

import pytest
import torch
from torch import nn

import einsplit
from einsplit.errors import EinsplitError, PlanError

X = torch.ones(2, 3)


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def test_a_function_in_the_batch_is_the_one_that_is_given(layer):
    """Each is another object, and may lie where an earlier one lay."""
    with einsplit.train_step(layer, lambda m, x, f: f(m(x)).sum(), einsplit.optim.SGD(lr=0.0), devices=1) as step:
        for factor in (2, 3, 4, 5, 6):
            expected = factor * layer(X).sum().item()
            assert step(X, lambda y, k=factor: k * y).item() == pytest.approx(expected)


def test_a_tensor_that_the_loss_reads_and_somebody_changes_is_read_anew(layer):
    weight = torch.ones(1)
    with einsplit.train_step(layer, lambda m, x: (m(x) * weight).sum(), einsplit.optim.SGD(lr=0.0), devices=2) as step:
        first = step(X).item()
        weight.mul_(3)
        assert step(X).item() == pytest.approx(3 * first)


def test_a_parameter_that_is_frozen_stays_where_it_got_to_and_goes_on_when_it_is_released(layer):
    with einsplit.train_step(layer, lambda m, x: m(x).sum(), einsplit.optim.SGD(lr=0.1), devices=2) as step:
        start = layer.weight.detach().clone()
        for trained, expected in ((True, 1), (False, 1), (False, 1), (True, 2)):
            layer.weight.requires_grad_(trained)
            step(X)
            torch.testing.assert_close(step.state_dict()["weight"], start - 0.2 * expected)


def test_a_schedule_of_anything_but_the_learning_rate_is_refused(layer):
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    with einsplit.train_step(layer, lambda m, x: m(x).sum(), optimizer, devices=1) as step:
        step(X)
        optimizer.param_groups[0]["lr"] = 0.2
        step(X)
        optimizer.param_groups[0]["momentum"] = 0.5
        with pytest.raises(EinsplitError, match=r"^the optimizer's settings have changed: SGD\(lr=0.0, momentum=0.9"):
            step(X)


def test_a_machine_beside_a_plan_for_another_is_refused(layer):
    step = einsplit.train_step(layer, lambda m, x: m(x).sum(), einsplit.optim.SGD(), devices=2)
    with pytest.raises(PlanError, match=r"^the plan is for machine 'cpu-2', which is not the machine given"):
        einsplit.train_step(layer, lambda m, x: m(x).sum(), einsplit.optim.SGD(), plan=step.plan(X), machine="cpu-4")
