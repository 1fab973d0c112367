"""Buffers, statistics and losses of unusual form: torch's numbers, or a refusal that says what to write instead."""

import copy

import pytest
import torch
from torch import nn

import einsplit
from einsplit.errors import CaptureError, EinsplitError

X = torch.linspace(-1, 2, 12, dtype=torch.float64).reshape(4, 3)


class Counting(nn.Module):
    """A linear layer, and a buffer that every call writes."""

    def __init__(self, write):
        super().__init__()
        self.layer = nn.Linear(3, 3, dtype=torch.float64)
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.write = write

    def forward(self, x):
        y = self.layer(x)
        self.write(self, y)
        return y


def assigned(module, y):
    module.count = module.count + 1


def train(model, loss, batches, **options):
    """The losses and state of einsplit's steps, and those of torch's own."""
    own = copy.deepcopy(model)
    optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
    found, expected = [], []
    with einsplit.train_step(model, loss, einsplit.optim.SGD(lr=0.1), devices=2, **options) as step:
        for batch in batches:
            found.append(step(*batch))
            value = loss(own, *batch)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            expected.append(value.detach())
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(step.state_dict(), own.state_dict())


@pytest.mark.parametrize(
    "write",
    [
        lambda module, y: module.count.add_(1),
        lambda module, y: module.count.fill_(7),  # the old value is never read
        lambda module, y: module.count.copy_(y.detach().mean()),
    ],
    ids=["add", "fill", "copy"],
)
def test_a_buffer_that_is_written_is_what_torch_makes_of_it(write):
    train(Counting(write), lambda model, x: (model(x) * (1 + model.count)).sum(), [(X,), (2 * X,), (X,)])


def test_a_buffer_that_is_set_to_another_tensor_is_refused():
    step = einsplit.train_step(
        Counting(assigned), lambda model, x: model(x).sum(), einsplit.optim.SGD(lr=0.1), devices=1
    )
    with pytest.raises(CaptureError, match=r"^the function sets the buffer 'count' to another tensor"):
        step(X)


def test_statistics_that_torch_does_not_record_are_refused():
    model = nn.InstanceNorm1d(2, track_running_stats=True)
    step = einsplit.train_step(
        nn.ModuleList([model, nn.Linear(3, 1)]),
        lambda model, x: model[1](model[0](x)).sum(),
        einsplit.optim.SGD(lr=0.1),
        devices=1,
    )
    with pytest.raises(CaptureError, match=r"^the running statistics of an instance norm in training"):
        step(torch.randn(2, 2, 3))


@pytest.mark.parametrize("kind", ["index_add", "scatter_add", "index_put"])
def test_a_sum_of_what_was_accumulated_by_index_has_its_gradient(kind):
    index = torch.tensor([0, 0, 2, 1])

    def loss(model, x):
        y, zeros = model(x), torch.zeros(5, 3, dtype=torch.float64)
        if kind == "index_add":
            pooled = zeros.index_add(0, index, y)
        elif kind == "scatter_add":
            pooled = zeros.scatter_add(0, index[:, None].expand(4, 3), y)
        else:
            pooled = zeros.index_put((index,), y, accumulate=True)
        return pooled.sum(0).square().sum()

    train(nn.Linear(3, 3, dtype=torch.float64), loss, [(X,), (X,)])


def test_a_norm_in_eval_beside_an_operator_in_place_is_cut():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)).eval()
    x = torch.randn(2, 3, 8, 8)
    with einsplit.parallelize(model, devices=2, strict=True) as fast, torch.no_grad():
        torch.testing.assert_close(fast(x), model(x))


def test_batch_norm_in_bfloat16_trains():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with einsplit.train_step(
        model, lambda model, x: model(x).sum(), einsplit.optim.SGD(lr=0.1), devices=2, precision="bfloat16"
    ) as step:
        assert torch.isfinite(step(X.float()))
        assert step.state_dict()["1.num_batches_tracked"] == 1


def test_a_trained_parameter_outside_the_model_is_refused():
    other = nn.Linear(3, 3, dtype=torch.float64)
    step = einsplit.train_step(
        nn.Linear(3, 3, dtype=torch.float64),
        lambda model, x: other(model(x)).sum(),
        einsplit.optim.SGD(lr=0.1),
        devices=1,
    )
    with pytest.raises(EinsplitError, match="which requires gradients and is no parameter of the model"):
        step(X)


def test_the_training_flag_is_looked_at_in_every_step():
    model = nn.Sequential(nn.Linear(3, 4, dtype=torch.float64), nn.BatchNorm1d(4, dtype=torch.float64))
    own = copy.deepcopy(model)
    with einsplit.train_step(
        model, lambda model, x: model(x).square().sum(), einsplit.optim.SGD(lr=0.0), devices=1
    ) as step:
        for mode in (True, False, True):
            model.train(mode)
            own.train(mode)
            torch.testing.assert_close(step(X), own(X).square().sum().detach())
