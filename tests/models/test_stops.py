"""What torch does not differentiate is not differentiated here: detach, no_grad, frozen and straight-through parts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.models.driver import cut, differentiated, farthest, whole
from tests.models.plain import Example

WIDE = 6


class Net(nn.Module):
    """Three layers, and one of the ways in which they are put together."""

    def __init__(self, way: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(WIDE, WIDE) for _ in range(3))
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x)


def detached(net: Net, x: Tensor) -> Tensor:
    hidden = torch.tanh(net.first(x))
    return net.second(hidden.detach()) * hidden


def detached_in_place_of_a_copy(net: Net, x: Tensor) -> Tensor:
    hidden = torch.tanh(net.first(x))
    return net.second(hidden) - hidden.detach().clone() * net.third(x)


def region(net: Net, x: Tensor) -> Tensor:
    with torch.no_grad():
        target = net.first(x).exp()
    return net.second(x) * target + net.first(x)


def region_in_a_region(net: Net, x: Tensor) -> Tensor:
    with torch.no_grad():
        hidden = net.first(x)
        with torch.enable_grad():
            inner = net.second(x).tanh()
        target = hidden * inner
    return net.third(target) + inner


@torch.no_grad()
def _target(net: Net, x: Tensor) -> Tensor:
    return torch.softmax(net.third(x), -1)


def decorated(net: Net, x: Tensor) -> Tensor:
    return torch.log_softmax(net.first(x), -1) * _target(net, x)


def switched(net: Net, x: Tensor) -> Tensor:
    with torch.set_grad_enabled(False):
        scale = net.third(x).abs().amax(-1, keepdim=True)
    with torch.set_grad_enabled(True):
        return net.first(x) / scale


def straight_through_rounding(net: Net, x: Tensor) -> Tensor:
    """The rounded value, the gradient of the unrounded (arXiv 1308.3432)."""
    hidden = 3 * net.first(x)
    return net.second(hidden + (hidden.round() - hidden).detach())


def quantised(net: Net, x: Tensor) -> Tensor:
    """The nearest row of a codebook, with the gradient past it (arXiv 1711.00937)."""
    hidden, codes = net.first(x), net.second.weight
    nearest = (hidden[:, None] - codes[None]).square().sum(-1).argmin(-1)
    chosen = codes[nearest]
    pulled = (chosen - hidden.detach()).square().mean() + 0.25 * (chosen.detach() - hidden).square().mean()
    return net.third(hidden + (chosen - hidden).detach()) + pulled


def normalised_by_a_stopped_maximum(net: Net, x: Tensor) -> Tensor:
    hidden = net.first(x)
    weight = (hidden - hidden.amax(-1, keepdim=True).detach()).exp()
    return weight / weight.sum(-1, keepdim=True).detach()


def stopped_everywhere_but_once(net: Net, x: Tensor) -> Tensor:
    return net.first(x).detach() + net.second(x).detach() * net.third(x)


WAYS = (
    detached,
    detached_in_place_of_a_copy,
    region,
    region_in_a_region,
    decorated,
    switched,
    straight_through_rounding,
    quantised,
    normalised_by_a_stopped_maximum,
    stopped_everywhere_but_once,
)


def example(way: Callable[[Net, Tensor], Tensor]) -> Example:
    torch.manual_seed(0)
    return Example(Net(way), (torch.randn(4, WIDE),), {}).to(torch.float64)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_gradients_stop_where_torch_stops_them(way: Callable[[Net, Tensor], Tensor]) -> None:
    case = differentiated(example(way))
    wanted = case.wanted()
    for program in (whole(case.graph), cut(case.graph, way.__name__)):
        distance, where = farthest(case.gradients(program), wanted)
        assert distance <= 1e-12, where


def test_a_frozen_parameter_has_no_gradient_and_hands_it_on() -> None:
    frozen = example(lambda net, x: net.third(net.second(net.first(x)).tanh()))
    for parameter in frozen.module.second.parameters():
        parameter.requires_grad_(False)
    case = differentiated(frozen)
    assert [name for name in case.parameters if name.startswith("second")] == []
    assert len(case.parameters) == 4
    distance, where = farthest(case.gradients(whole(case.graph)), case.wanted())
    assert distance <= 1e-12, where
