"""Random numbers: drawn by seed and place, so no plan changes them; what is drawn has the distribution asked for."""

from random import Random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import einsplit
from einsplit.capture.reader import SEED
from einsplit.solver.prepare import prepare
from tests.support.cuttings import random_cutting, random_machine, run_local

ONES = torch.ones(400, 500)


def drawn(function, *tensors, seed=1):
    """Outputs of the whole Graph for a seed."""
    graph = einsplit.trace(function, *tensors)
    feeds = {name: tensor.numpy() for name, tensor in zip(graph.inputs, tensors, strict=False) if name != SEED}
    return einsplit.evaluate(graph, {**feeds, SEED: np.int64(seed)})


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_share_it_should_and_scales_it(share):
    found = drawn(lambda x: F.dropout(x, share), ONES)["output"]
    kept = found != 0
    assert abs(kept.mean() - (1 - share)) < 0.005
    np.testing.assert_allclose(found[kept], 1 / (1 - share), rtol=1e-6)


def rewritten(function):
    """As `function`, but with an operator in place, for which torch rewrites the whole program."""

    def apply(x):
        y = function(x)
        y = y + 0
        return y.mul_(1)

    return apply


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_dropout_beside_operators_in_place_is_what_it_is_alone(share):
    found = drawn(rewritten(lambda x: F.dropout(x, share) + 0 * F.dropout(x, 0.5)), ONES)["output"]
    kept = found != 0
    assert abs(kept.mean() - (1 - share)) < 0.005
    np.testing.assert_allclose(found[kept], 1 / max(1 - share, 1e-9), rtol=1e-6)


def test_dropout_of_channels_beside_operators_in_place_drops_whole_channels():
    found = drawn(rewritten(lambda x: F.dropout2d(x, 0.5)), torch.ones(40, 50, 3, 4))["output"]
    assert (found == found[:, :, :1, :1]).all()
    assert set(np.unique(found)) == {0.0, 2.0}


def test_equal_seeds_draw_equal_numbers_and_others_do_not():
    first, again, other = (drawn(lambda x: F.dropout(x, 0.5), ONES, seed=seed)["output"] for seed in (1, 1, 2))
    assert (first == again).all()
    assert 0.45 < (first == other).mean() < 0.55


def test_two_draws_of_one_call_are_independent():
    found = drawn(lambda x: (F.dropout(x, 0.5), F.dropout(x, 0.5)), ONES)
    assert 0.45 < (found["output_0"] == found["output_1"]).mean() < 0.55


def test_dropout_of_features_drops_whole_channels():
    found = drawn(lambda x: F.dropout2d(x, 0.5), torch.ones(40, 50, 3, 4))["output"]
    first = found[:, :, :1, :1]
    assert (found == first).all()
    assert 0.4 < (first == 0).mean() < 0.6


def test_everything_dropped_is_zero_and_nothing_dropped_is_itself():
    graph = einsplit.trace(lambda x: (F.dropout(x, 1.0), F.dropout(x, 0.0)), torch.ones(3, 4))
    assert SEED not in graph.inputs
    found = einsplit.evaluate(graph, {"x": np.ones((3, 4), np.float32)})
    assert (found["output_0"] == 0).all()
    assert (found["output_1"] == 1).all()


@pytest.mark.parametrize(
    "function, mean, deviation, low, high",
    [
        (lambda: torch.rand(300, 400), 0.5, 12**-0.5, 0.0, 1.0),
        (lambda: torch.rand(300, 400, dtype=torch.float64), 0.5, 12**-0.5, 0.0, 1.0),
        (lambda: torch.randn(300, 400), 0.0, 1.0, -6.0, 6.0),
        (lambda: torch.randint(3, 7, (300, 400)), 4.5, 1.25**0.5, 3, 6),
        (lambda: torch.empty(300, 400).uniform_(-1, 3), 1.0, 16**0.5 / 12**0.5, -1.0, 3.0),
        (lambda: torch.empty(300, 400).normal_(5.0, 2.0), 5.0, 2.0, -8.0, 18.0),
        (lambda: torch.empty(300, 400).bernoulli_(0.25), 0.25, (0.25 * 0.75) ** 0.5, 0.0, 1.0),
        (lambda: torch.bernoulli(torch.full((300, 400), 0.25)), 0.25, (0.25 * 0.75) ** 0.5, 0.0, 1.0),
    ],
    ids=["rand", "float64", "randn", "randint", "uniform_", "normal_", "bernoulli_", "bernoulli"],
)
def test_numbers_have_the_distribution_asked_for(function, mean, deviation, low, high):
    found = drawn(lambda x: function() + 0 * x.sum().to(function().dtype), torch.zeros(2))["output"].astype(np.float64)
    assert abs(found.mean() - mean) < 4 * deviation / found.size**0.5
    assert abs(found.std() / deviation - 1) < 0.02
    assert low <= found.min() and found.max() <= high


def test_rrelu_draws_a_slope_for_each_negative_number():
    found = drawn(lambda x: F.rrelu(x, 0.2, 0.6, training=True), -ONES)["output"]
    assert abs(-found.mean() - 0.4) < 0.005
    assert found.max() <= -0.2
    assert found.min() >= -0.6
    assert (drawn(lambda x: F.rrelu(x, training=True), ONES)["output"] == 1).all()


class Dropping(nn.Module):
    """Linear, dropout, attention with dropout."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 8)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        h = self.drop(self.linear(x)).view(*x.shape[:2], 2, 4).transpose(1, 2)
        return F.scaled_dot_product_attention(h, h, h, dropout_p=0.2)


def test_no_cutting_changes_what_is_drawn():
    module, x = Dropping(), torch.randn(3, 5, 6)
    graph = einsplit.trace(module, x)
    feeds = {"x": x.numpy(), SEED: np.int64(7), **{k: v.detach().numpy() for k, v in module.named_parameters()}}
    whole = einsplit.evaluate(graph, feeds)["output"]
    random = Random(0)
    prepared = prepare(graph)
    for mesh in ((2,), (2, 2), (3,)):
        for _ in range(4):
            cutting = random_cutting(random, prepared, random_machine(random, mesh))
            np.testing.assert_allclose(run_local(cutting.program, feeds)["output"], whole, rtol=1e-5, atol=1e-6)


def test_the_gradient_is_dropped_where_the_value_was():
    graph = einsplit.trace(lambda x: (F.dropout(x, 0.5) * torch.arange(20.0)).sum(), torch.ones(30, 20))
    gradients = einsplit.grad(einsplit.trace(lambda x: F.dropout(x, 0.5).sum(), torch.ones(30, 20)), "output", ["x"])
    feeds = {"x": np.ones((30, 20), np.float32), SEED: np.int64(5)}
    mask = einsplit.evaluate(gradients, feeds)["d(output)/d(x)"]
    value = einsplit.evaluate(graph, feeds)["output"]
    np.testing.assert_allclose((mask * np.arange(20)).sum(), value, rtol=1e-6)
    assert set(np.unique(mask)) == {0.0, 2.0}
