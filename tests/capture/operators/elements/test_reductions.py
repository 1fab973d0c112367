"""Reductions, softmax, normalisations and losses equal torch, whole and cut."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from einsplit.capture import capture
from tests.capture.driver import check, kernels
from tests.capture.gradients import check_gradients
from tests.capture.tensors import odd, positive, real, truth, whole

f16, bf16, f64 = torch.float16, torch.bfloat16, torch.float64
Case = tuple[Callable[..., object], *tuple[object, ...]]

ORDERS = (2, 1, 0, float("inf"), float("-inf"), 3, 1.5, 0.5, -1)

EINSUMS: dict[str, Case] = {
    # one operator, all its ways of naming dims
    "sum of all": (lambda x: x.sum(), real(4, 6)),
    "sum of a negative dim, kept": (lambda x: x.sum(-1, keepdim=True), real(4, 6)),
    "sum of two dims": (lambda x: x.sum((0, -1)), real(4, 3, 6)),
    "sum of no dims is of all": (lambda x: x.sum(()), real(4, 6)),
    "sum of a dim of size 1": (lambda x: x.sum(1), whole(4, 1, 6, dtype=torch.int32)),
    "sum of a 0-d tensor": (lambda x: x.sum(0), real()),
    "sum over nothing": (lambda x: x.sum(0), real(0, 4)),
    "sum of booleans counts": (lambda x: x.sum(0), truth(4, 6)),
    "sum of small integers is int64": (lambda x: x.sum(1), whole(4, 6, low=-100, high=100, dtype=torch.int8)),
    "sum of integers in int32": (lambda x: x.sum(1, dtype=torch.int32), whole(4, 6)),
    "sum of integers in float": (lambda x: x.sum(1, dtype=torch.float32), whole(4, 6)),
    "sum of floats in int64": (lambda x: x.sum(dtype=torch.int64), real(4, 6) * 3),
    "sum in half precision": (lambda x: x.sum(1), real(4, 6, dtype=bf16)),
    "sum in float64 of float16": (lambda x: x.sum(1, dtype=f64), real(4, 6, dtype=f16)),
    "mean of all": (lambda x: x.mean(), real(4, 6)),
    "mean, kept": (lambda x: x.mean((-2, -1), keepdim=True), real(4, 3, 6)),
    "mean of float16 that would overflow": (lambda x: x.mean(), torch.full((64, 64), 1000.0, dtype=f16)),
    "mean of integers in float": (lambda x: x.mean(0, dtype=torch.float32), whole(4, 6)),
    "prod": (lambda x: (x.prod(), x.prod(1), x.prod(-2, keepdim=True)), positive(4, 6)),
    "prod of integers": (lambda x: x.prod(1), whole(4, 6, low=1, high=4, dtype=torch.int32)),
    "amax, amin": (lambda x: (x.amax(1), x.amin((0, 1)), x.amax(-1, keepdim=True)), real(4, 6)),
    "max and min of all": (lambda x: (x.max(), x.min()), real(4, 6)),
    "max of integers": (lambda x: (x.max(), x.amin(0)), whole(4, 6, dtype=torch.int16)),
    "max of booleans": (lambda x: (x.amax(0), x.amin(1)), truth(4, 6)),
    "max keeps NaN": (lambda x: (x.amax(), x.amin()), odd()),
    "max with its index": (lambda x: (torch.max(x, 1), torch.min(x, 0, keepdim=True)), real(4, 6)),
    "the first of equal maxima": (lambda x: (x.max(1), x.min(0), x.argmax(1)), whole(6, 8, low=0, high=3)),
    "argmax, argmin": (lambda x: (x.argmax(1), x.argmin(0), x.argmax(-1, keepdim=True)), real(4, 6)),
    "the index of NaN": (lambda x: (x.max(0), x.argmin(0)), odd()),
    "logsumexp": (lambda x: (x.logsumexp(0), x.logsumexp((0, 1)), x.logsumexp(-1, keepdim=True)), real(4, 6)),
    "logsumexp of -inf": (lambda x: x.logsumexp(1), torch.full((2, 3), float("-inf"))),
    "any, all": (lambda x: (x.any(), x.all(), x.any(1), x.all(0, keepdim=True)), truth(4, 6)),
    "any, all of two dims": (lambda x: (x.any((0, 2)), x.all((-1, 0))), truth(4, 3, 6)),
    "any, all of numbers": (lambda x: (x.any(1), x.all(1)), whole(4, 6, low=0, high=3)),
    "any of uint8 is uint8": (lambda x: x.any(1), whole(4, 6, low=0, high=2, dtype=torch.uint8)),
    "var, std": (lambda x: (x.var(), x.std(1), x.var(0, keepdim=True), x.std((0, 1), correction=0)), real(4, 6)),
    "var of one element is NaN": (lambda x: x.var(1), real(4, 1)),
    "var, biased": (lambda x: (x.var(unbiased=False), x.std(1, unbiased=False)), real(4, 6)),
    "norm by hand": (lambda x: (x * x).sum(-1).sqrt(), real(4, 6)),
    # composed of reductions
    "softmax over dim 0": (lambda x: x.softmax(0), real(4, 6)),
    "softmax over a negative dim": (lambda x: F.softmax(x, -2), real(2, 4, 6)),
    "softmax in another dtype": (lambda x: F.softmax(x, -1, dtype=torch.float32), real(4, 6, dtype=bf16)),
    "softmax of integers": (lambda x: F.softmax(x, -1, dtype=torch.float32), whole(4, 6)),
    "softmax in half precision": (lambda x: x.softmax(1), real(4, 6, dtype=f16) * 20),
    "softmax of a masked row is NaN": (lambda x: x.softmax(1), torch.full((2, 3), float("-inf"))),
    "log_softmax": (lambda x: (x.log_softmax(1), F.log_softmax(x, 0, dtype=f64)), real(4, 6)),
    "layer_norm": (F.layer_norm, real(4, 6), (6,), real(6), real(6)),
    "layer_norm over two dims": (F.layer_norm, real(2, 4, 6), (4, 6), real(4, 6), real(4, 6)),
    "layer_norm without weights": (lambda x: F.layer_norm(x, (6,), eps=0.1), real(4, 6)),
    "layer_norm of large float16": (
        lambda x, w: F.layer_norm(x, (6,), w),
        real(4, 6, dtype=f16) * 1000,
        real(6, dtype=f16),
    ),
    "norms of half precision with parameters of float32": (
        lambda x, w: (
            F.layer_norm(x, (6,), w, w),
            F.group_norm(x, 2, w),
            F.batch_norm(x, w, w.abs(), None, w),
            F.batch_norm(x, None, None, w, training=True),
        ),
        real(4, 6, dtype=bf16),
        real(6),
    ),
    "rms_norm": (lambda x, w: F.rms_norm(x, (6,), w, 1e-6), real(4, 6), real(6)),
    "rms_norm with its own eps": (lambda x: F.rms_norm(x, (6,)), real(4, 6) * 1e-3),
    "rms_norm of half precision with its own eps": (lambda x: F.rms_norm(x, (6,)), real(4, 6, dtype=f16) * 1e-3),
    "group_norm": (F.group_norm, real(2, 6, 4), 3, real(6), real(6)),
    "group_norm of images": (lambda x: F.group_norm(x, 2), real(2, 4, 3, 3)),
    "batch_norm with statistics": (F.batch_norm, real(4, 6, 3), real(6), positive(6), real(6), real(6)),
    "batch_norm of a matrix": (F.batch_norm, real(4, 6), real(6), positive(6)),
    "batch_norm of the batch": (lambda x, w: F.batch_norm(x, None, None, w, training=True), real(4, 6, 3), real(6)),
    # norms of vectors, of every order
    **{
        f"norm of order {order}": (
            lambda x, order=order: (
                torch.linalg.vector_norm(x, order),
                torch.linalg.vector_norm(x, order, 1),
                torch.linalg.vector_norm(x, order, (0, -1), keepdim=True),
                torch.linalg.vector_norm(x, order, 0, dtype=f64),
            ),
            real(4, 3, 6),
        )
        for order in ORDERS
    },
    "norm by other names": (
        lambda x: (x.norm(), x.norm(dim=1, keepdim=True), torch.linalg.norm(x), torch.linalg.norm(x, 1, 0)),
        real(4, 6),
    ),
    "norm of a matrix": (lambda x: (torch.linalg.matrix_norm(x), torch.norm(x, "fro")), real(4, 6)),
    "norm of odd numbers": (lambda x: (x[:, None].norm(dim=1), x.norm(1), x.norm(3), x.norm(0)), odd()),
    "norm of float16 whose squares overflow": (lambda x: x.norm(dim=1), real(4, 6, dtype=f16) * 300),
    "norm in bfloat16": (lambda x: (x.norm(), x.norm(3.0, dim=0)), real(4, 6, dtype=bf16)),
    "norm of a 0-d tensor": (lambda x: (x.norm(), torch.linalg.vector_norm(x, 3)), real()),
    "normalize": (lambda x: F.normalize(x, dim=1) + F.normalize(x * 1e-20, p=1.0, dim=0), real(4, 6)),
    "cosines and distances": (
        lambda x, y: (F.cosine_similarity(x, y), F.cosine_similarity(x * 0, y), F.pairwise_distance(x, y, 1.0)),
        real(4, 6),
        real(4, 6),
    ),
    "cosines of all pairs": (lambda x, y: F.cosine_similarity(x[:, None], y[None], -1), real(3, 4), real(5, 4)),
    "cross_entropy": (F.cross_entropy, real(8, 6), whole(8, low=0)),
    "cross_entropy of one": (F.cross_entropy, real(6), whole(low=0)),
    "cross_entropy with the classes in the middle": (F.cross_entropy, real(4, 6, 3), whole(4, 3, low=0)),
    "cross_entropy, ignoring": (lambda x, y: F.cross_entropy(x, y, ignore_index=2), real(8, 6), whole(8, low=0)),
    "cross_entropy, ignoring all": (lambda x, y: F.cross_entropy(x, y), real(8, 6), torch.full((8,), -100)),
    "cross_entropy, summed": (lambda x, y: F.cross_entropy(x, y, reduction="sum"), real(8, 6), whole(8, low=0)),
    "cross_entropy, each": (lambda x, y: F.cross_entropy(x, y, reduction="none"), real(8, 6), whole(8, low=0)),
    "cross_entropy in half precision": (F.cross_entropy, real(8, 6, dtype=bf16), whole(8, low=0)),
    "nll_loss": (lambda x, y: F.nll_loss(F.log_softmax(x, 1), y, ignore_index=1), real(8, 6), whole(8, low=0)),
    "mse and l1 losses": (lambda x, y: F.mse_loss(x, y) + F.l1_loss(x, y), real(4, 6), real(4, 6)),
    "mse loss, summed, and each": (
        lambda x, y: (F.mse_loss(x, y, reduction="sum"), F.mse_loss(x, y, reduction="none")),
        real(4, 6),
        real(4, 6),
    ),
    "mse loss in half precision": (F.mse_loss, real(4, 6, dtype=f16) * 30, real(4, 6, dtype=f16)),
}

KERNELS: dict[str, Case] = {
    "cross_entropy with probabilities": (F.cross_entropy, real(8, 6), real(8, 6).softmax(1)),
    "cross_entropy with weights": (F.cross_entropy, real(8, 6), whole(8, low=0), positive(6)),
    "cross_entropy, smoothed": (lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1), real(8, 6), whole(8, low=0)),
    "cumsum": (lambda x: (torch.cumsum(x, 1), torch.cumsum(x, -1, dtype=f64)), real(4, 6)),
    "sort, topk": (lambda x: (torch.sort(x, 1, descending=True), torch.topk(x, 2, -1)), real(4, 6)),
    "argmax of all": (lambda x: x.argmax(), real(4, 6)),
    "median, norm of singular values": (lambda x: (x.median(1), torch.linalg.matrix_norm(x, "nuc")), real(4, 6)),
}


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("name", EINSUMS)
def test_a_reduction_is_made_of_einsums_and_equals_torch(name: str) -> None:
    function, *args = EINSUMS[name]
    assert kernels(check(function, *args, meshes=((2, 2),), random_seeds=(0,))) == []


@pytest.mark.parametrize("name", KERNELS)
def test_a_reduction_without_a_rule_equals_torch(name: str) -> None:
    function, *args = KERNELS[name]
    assert "aten" in kernels(check(function, *args, meshes=((2, 2),), random_seeds=(0,)))


ZEROS_AND_TIES = torch.tensor([[0, 0, 0], [0, 1, -2], [2, -2, 0.5]], dtype=f64)


@pytest.mark.parametrize("dim", [1, 0, None])
@pytest.mark.parametrize("order", [order for order in ORDERS if order])
def test_the_gradient_of_a_norm_is_torchs_where_there_are_zeros_and_ties(order: float, dim: int | None) -> None:
    check_gradients(lambda x: torch.linalg.vector_norm(x, order, dim), ZEROS_AND_TIES)


def test_the_norm_of_order_0_counts_and_has_no_gradient() -> None:
    """So has it in torch, where what is added gives x one."""
    check_gradients(lambda x: torch.linalg.vector_norm(x, 0, 1) + x.sum(1), ZEROS_AND_TIES)


OF_NORMS: dict[str, Callable[..., torch.Tensor]] = {
    "cosines": F.cosine_similarity,
    "cosines where norms are bounded": lambda x, y: F.cosine_similarity(x, y, eps=2.1),
    "distances": F.pairwise_distance,
    "normalize": lambda x, y: F.normalize(x, dim=0) * y,
}


@pytest.mark.parametrize("name", OF_NORMS)
def test_the_gradient_of_what_is_made_of_norms_is_torchs(name: str) -> None:
    check_gradients(OF_NORMS[name], ZEROS_AND_TIES, real(3, 3, dtype=f64))


def test_batch_norm_by_running_statistics_is_cut_on_the_meta_device_too():
    """There torch gives the statistics, where it gives tensors without elements on CPUs."""
    with torch.device("meta"):
        model, x = nn.BatchNorm2d(8).eval(), torch.zeros(2, 8, 4, 4)
    kinds = {type(node).__name__ for node in capture(model, (x,), {}).graph.nodes}
    assert kinds == {"Input", "Einsum"}
