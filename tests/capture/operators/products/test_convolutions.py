"""Convolutions equal torch, whole and cut, and what devices may cut of them is what their formula leaves free."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from einsplit.capture import capture
from einsplit.graph import Kernel
from einsplit.solver.sharding import cuttable_labels
from tests.capture.driver import check, kernels
from tests.capture.tensors import real

D = torch.float64
Case = tuple[Callable[..., object], *tuple[object, ...]]

FORWARD: dict[str, Case] = {
    "of rows": (F.conv1d, real(2, 3, 7, dtype=D), real(4, 3, 2, dtype=D), real(4, dtype=D)),
    "of pictures": (F.conv2d, real(4, 6, 7, 8), real(5, 6, 3, 2), real(5)),
    "of volumes": (lambda x, w: F.conv3d(x, w, padding=1), real(2, 2, 3, 4, 5), real(3, 2, 2, 2, 2)),
    "steps, zeros, gaps": (
        lambda x, w: F.conv2d(x, w, None, (2, 1), (1, 3), (1, 2)),
        real(2, 3, 6, 7, dtype=D),
        real(4, 3, 3, 2, dtype=D),
    ),
    "steps that leave elements unread": (lambda x, w: F.conv1d(x, w, stride=3), real(3, 2, 9), real(4, 2, 2)),
    "groups": (lambda x, w, b: F.conv2d(x, w, b, groups=3), real(2, 6, 5, 4), real(9, 2, 3, 2), real(9)),
    "a group for each channel": (lambda x, w: F.conv1d(x, w, groups=5), real(2, 5, 7), real(10, 1, 3)),
    "a tap": (F.conv2d, real(2, 3, 4, 5), real(6, 3, 1, 1)),
    "one output": (F.conv2d, real(2, 3, 4, 5), real(1, 3, 4, 5)),
    "one picture": (F.conv2d, real(3, 5, 6), real(4, 3, 2, 2), real(4)),
    "as large as before": (lambda x, w: F.conv2d(x, w, padding="same"), real(2, 3, 5, 6), real(4, 3, 3, 5)),
    "no zeros": (lambda x, w: F.conv1d(x, w, padding="valid"), real(2, 3, 5), real(4, 3, 3)),
    "channels that are a view": (
        lambda x, w: F.conv1d(x.reshape(2, 6, 5), w, groups=2),
        real(2, 2, 3, 5, dtype=D),
        real(4, 3, 2, dtype=D),
    ),
    "channels that are repeated": (lambda x, w: F.conv2d(x.expand(2, 3, 4, 4), w), real(2, 1, 4, 4), real(5, 3, 2, 2)),
    "channels that are repeated in both": (
        lambda x, w: F.conv1d(x.expand(2, 5, 4), w.expand(3, 5, 2)),
        real(2, 1, 4, dtype=D),
        real(3, 1, 2, dtype=D),
    ),
    "half precision": (F.conv2d, *(real(*s, dtype=torch.bfloat16) for s in ((2, 3, 4, 4), (4, 3, 3, 3), (4,)))),
    "torch's own operator": (
        lambda x, w: torch.convolution(x, w, None, [2], [1], [1], False, [0], 2),
        real(2, 4, 7),
        real(6, 2, 3),
    ),
}

TRANSPOSED: dict[str, Case] = {
    "of rows": (F.conv_transpose1d, real(2, 3, 7, dtype=D), real(3, 4, 2, dtype=D), real(4, dtype=D)),
    "of pictures": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1, 2, (2, 1)),
        real(2, 4, 5, 6, dtype=D),
        real(4, 3, 3, 2, dtype=D),
        real(6, dtype=D),
    ),
    "of volumes": (lambda x, w: F.conv_transpose3d(x, w, stride=2), real(2, 2, 2, 3, 2), real(2, 3, 2, 3, 2)),
    "of one picture": (F.conv_transpose2d, real(3, 4, 5), real(3, 4, 2, 2), real(4)),
    "torch's own operator": (
        lambda x, w: torch.convolution(x, w, None, [3], [1], [2], True, [2], 2),
        real(2, 4, 5),
        real(4, 3, 3),
    ),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", FORWARD)
def test_a_convolution_is_that_of_torch_on_any_cutting(name: str) -> None:
    function, *args = FORWARD[name]
    assert kernels(check(function, *args, random_seeds=range(2))) == ["convolution"]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("taps, dilation", [(2, 1), (2, 3), (4, 1), (3, 2)])
def test_of_an_odd_number_of_zeros_the_last_one_stands_behind(taps: int, dilation: int) -> None:
    def same(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return F.conv1d(x, w, padding="same", dilation=dilation)

    assert kernels(check(same, real(2, 3, 8), real(4, 3, taps))) == ["convolution"]


@pytest.mark.parametrize("name", TRANSPOSED)
def test_a_transposed_convolution_is_the_adjoint_of_the_input(name: str) -> None:
    function, *args = TRANSPOSED[name]
    assert kernels(check(function, *args, random_seeds=range(2))) == ["convolution_input"]


@pytest.mark.parametrize(
    "name, args",
    {
        "an empty batch": (real(0, 3, 4), real(5, 3, 2)),
        "complex numbers": (real(2, 3, 4, dtype=torch.complex64), real(5, 3, 2, dtype=torch.complex64)),
    }.items(),
)
def test_what_has_no_elements_and_what_is_not_real_is_torchs(name: str, args: tuple[torch.Tensor, ...]) -> None:
    assert kernels(check(F.conv1d, *args)) == ["aten"]


def kernel_of(function: Callable[..., object], *args: object) -> Kernel:
    (found,) = (node for node in capture(function, args, {}).graph.nodes if isinstance(node, Kernel))
    return found


def test_batch_channels_and_groups_are_free_and_places_are_whole() -> None:
    """`b (g c) [h w], (g o) c [y x] -> b (g o) [p q]; sum c`."""
    node = kernel_of(lambda x, w: F.conv2d(x, w, groups=3), real(2, 6, 5, 4), real(9, 2, 3, 2))
    (((b,), (g, c), (h,), (w,)), ((_, o), _, (y,), (x,))), ((_,), (_, _), (p,), (q,)) = node.reads, node.dims
    assert node.reads[1] == ((g, o), (c,), (y,), (x,))
    assert node.dims == ((b,), (g, o), (p,), (q,))
    assert set(cuttable_labels(node)) == {b, g, c, o}
    assert set(node.brackets) == {h, w, y, x, p, q}
    assert node.summed == (c,)


def test_of_a_transposed_one_the_channels_of_its_operand_are_summed() -> None:
    node = kernel_of(lambda x, w: F.conv_transpose1d(x, w, groups=2), real(2, 6, 5), real(6, 4, 3))
    (((b,), (g, o), _), (_, (c,), _)) = node.reads
    assert node.reads[1][0] == (g, o)
    assert node.dims[:2] == ((b,), (g, c))
    assert set(cuttable_labels(node)) == {b, g, o, c}
    assert node.summed == (o,)


@pytest.mark.parametrize(
    "function, shapes, wanted",
    [
        (F.conv1d, [(2, 3, 7), (4, 3, 2)], 2 * (2 * 4 * 6) * (3 * 2)),
        (lambda x, w: F.conv2d(x, w, stride=2, groups=3), [(2, 6, 5, 4), (9, 2, 3, 2)], 2 * (2 * 9 * 2 * 2) * (2 * 6)),
        (F.conv_transpose1d, [(2, 3, 7), (3, 4, 2)], 2 * (2 * 3 * 7) * (4 * 2)),
    ],
)
def test_a_product_costs_two_operations(
    function: Callable[..., object], shapes: list[tuple[int, ...]], wanted: int
) -> None:
    assert kernel_of(function, *(real(*shape) for shape in shapes)).operations == wanted


VIEWS: dict[str, Case] = {
    "channels to places": (lambda x: F.pixel_shuffle(x, 2) * 2, real(3, 8, 2, 3)),
    "places to channels": (lambda x: F.pixel_unshuffle(x, 2) * 2, real(3, 2, 4, 6)),
    "of one picture": (lambda x: F.pixel_shuffle(x, 3) * 2, real(18, 2, 3)),
    "channels dealt anew": (lambda x: F.channel_shuffle(x, 3) * 2, real(2, 6, 2, 3)),
    "the mean of all places": (lambda x: F.adaptive_avg_pool2d(x, 1), real(3, 4, 5, 6)),
    "the mean of all places of a row": (nn.AdaptiveAvgPool1d(1), real(3, 4, 5)),
    "the mean in half precision": (lambda x: F.adaptive_avg_pool2d(x, 1), real(3, 4, 5, 6, dtype=torch.bfloat16)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_what_needs_no_kernel_has_none(name: str) -> None:
    function, *args = VIEWS[name]
    assert kernels(check(function, *args)) == []


def test_a_network_of_pictures() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, stride=2, groups=2, padding_mode="reflect", padding=1),
        nn.GroupNorm(2, 8),
        nn.ConvTranspose2d(8, 6, 2, stride=2),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.Flatten(),
        nn.Linear(36, 5),
    ).eval()
    captured = check(network, real(2, 3, 12, 12))
    assert all(len(cuttable_labels(node)) >= 2 for node in captured.graph.nodes if isinstance(node, Kernel))
