"""torch's operators that treat labels independently equal torch, whole and cut, with those labels free."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from einsplit.capture.rules.others.batched import ROWS
from einsplit.graph import Graph, Kernel
from einsplit.solver.sharding import cuttable_labels
from tests.capture.driver import check
from tests.capture.tensors import real

D = torch.float64
Case = tuple[Callable[..., object], *tuple[object, ...]]


def positive(*shape: int) -> torch.Tensor:
    """Positive definite matrices."""
    matrices = real(*shape, dtype=D)
    return matrices @ matrices.mT + torch.eye(shape[-1], dtype=D)


PICTURES = real(3, 4, 8, 6, dtype=D)
LSTM = nn.LSTM(5, 4, 2, batch_first=True, bidirectional=True).double()
GRU = nn.GRU(5, 4).double()

# By the number of labels that its kernels leave free.
CASES: dict[int, dict[str, Case]] = {
    1: {
        "inverses": (lambda x: torch.linalg.inv(x) + torch.inverse(x), positive(5, 3, 3)),
        "solutions": (lambda a, b: torch.linalg.solve(a, b), positive(5, 3, 3), real(5, 3, 2, dtype=D)),
        "triangular solutions": (
            lambda a, b: torch.linalg.solve_triangular(a.triu(), b, upper=True),
            positive(5, 3, 3),
            real(5, 3, 2, dtype=D),
        ),
        "singular values": (torch.linalg.svdvals, real(5, 4, 3, dtype=D)),
        "singular values in part": (lambda x: torch.linalg.svd(x, full_matrices=False)[1], real(5, 4, 3, dtype=D)),
        "singular values, behind what is -inf where it is padded": (
            lambda x: torch.linalg.svdvals(x.log()),
            real(5, 4, 3, dtype=D).exp(),
        ),
        "eigenvalues": (lambda x: torch.linalg.eigh(x)[0] + torch.linalg.eigvalsh(x), positive(5, 3, 3)),
        "qr": (torch.linalg.qr, real(5, 4, 3, dtype=D)),
        "determinants": (lambda x: torch.linalg.slogdet(x)[1] + torch.linalg.det(x).log(), positive(5, 3, 3)),
        "pseudoinverses": (torch.linalg.pinv, real(5, 4, 3, dtype=D)),
        "exponentials": (torch.matrix_exp, real(5, 3, 3, dtype=D)),
        "powers": (lambda x: torch.linalg.matrix_power(x, -2), positive(5, 3, 3)),
        "volumes": (lambda x: F.max_pool3d(x, 2), PICTURES),
        "points of pictures": (
            lambda x, at: F.grid_sample(x, at, align_corners=False),
            PICTURES[:, 0:1],
            real(3, 5, 2, 2, dtype=D).tanh(),
        ),
        "lstm": (LSTM, real(6, 3, 5, dtype=D)),
        "gru": (GRU, real(3, 6, 5, dtype=D), real(1, 6, 4, dtype=D)),
    },
    2: {
        "triangular factors": (torch.linalg.cholesky, positive(5, 3, 4, 4)),
        "largest of places": (lambda x: F.max_pool2d(x, 2), PICTURES),
        "largest of places and where": (lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True), PICTURES),
        "largest of rows": (lambda x: F.max_pool1d(x, 2), PICTURES[0]),
        "means of places": (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), PICTURES),
        "means of rows": (lambda x: F.avg_pool1d(x, 3), PICTURES[0]),
        "means, so many": (lambda x: F.adaptive_avg_pool2d(x, (3, 2)), PICTURES),
        "largest, so many": (lambda x: F.adaptive_max_pool2d(x, (3, 2), return_indices=True), PICTURES),
        "larger": (lambda x: F.interpolate(x, scale_factor=2), PICTURES),
        "bilinear": (lambda x: F.interpolate(x, size=(5, 9), mode="bilinear", align_corners=True), PICTURES),
        "bicubic": (lambda x: F.interpolate(x, scale_factor=1.5, mode="bicubic", antialias=True), PICTURES),
        "linear": (lambda x: F.interpolate(x, size=9, mode="linear"), PICTURES[0]),
        "points of pictures with channels": (
            lambda x, at: F.grid_sample(x, at, align_corners=False),
            PICTURES,
            real(3, 5, 2, 2, dtype=D).tanh(),
        ),
        "padded by reflection": (lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect"), PICTURES),
        "padded in a circle": (lambda x: F.pad(x, (1, 2), mode="circular"), PICTURES[0]),
        "cut off": (lambda x: F.pad(x, (-1, 2)), PICTURES[0]),
        "windows as columns": (lambda x: F.unfold(x, (3, 2), padding=1), PICTURES),
        "columns as windows": (lambda x: F.fold(x, (5, 6), (2, 3)), real(2, 12, 16, dtype=D)),
        "fft of two dimensions": (lambda x: torch.fft.irfft2(torch.fft.rfft2(x)), PICTURES),
        "fft of some dimensions": (lambda x: torch.fft.fftn(x, dim=(1, 3)), PICTURES),
        "rolled along two": (lambda x: x.roll((1, 2), (0, -1)), PICTURES),
    },
    3: {
        "running": (lambda x: (x.cumsum(1), x.cumprod(-1), torch.cummax(x, 0), x.logcumsumexp(2)), PICTURES),
        "sorted": (
            lambda x: (torch.sort(x, dim=1), torch.sort(x, dim=1, descending=True, stable=True), x.argsort(0)),
            PICTURES,
        ),
        "largest few": (lambda x: x.topk(2, dim=1), PICTURES),
        "one in order": (lambda x: (x.kthvalue(2, 1), x.median(2, keepdim=True), x.mode(1)), PICTURES),
        "rolled": (lambda x: x.roll(1, 1), PICTURES),
        "windows": (lambda x: x.unfold(2, 3, 2) * 1, PICTURES),
        "fft": (lambda x: torch.fft.ifft(torch.fft.fft(x, dim=1), dim=1), PICTURES),
        "fft shifted": (lambda x: torch.fft.fftshift(x, dim=1), PICTURES),
        "cross product": (lambda x, y: torch.linalg.cross(x, y, dim=0), PICTURES, PICTURES + 1),
        "places in rows": (lambda x, y: torch.searchsorted(x, y), PICTURES.sort(-1)[0], PICTURES),
    },
    4: {
        "places in a row": (
            lambda x, row: (torch.searchsorted(row, x), torch.bucketize(x, row)),
            PICTURES,
            torch.arange(5, dtype=D) - 2,
        ),
    },
    # What a row does not fit, or takes as one, is whole.
    0: {
        "vectors as right sides": (lambda a, b: torch.linalg.solve(a, b), positive(5, 3, 3), real(5, 3, dtype=D)),
        "one matrix for many right sides": (torch.linalg.solve, positive(3, 3), real(5, 3, 2, dtype=D)),
        "qr without q": (lambda x: torch.linalg.qr(x, mode="r")[1], real(5, 4, 3, dtype=D)),
        "rolled as one": (lambda x: x.roll(3), PICTURES),
        "of one dimension": (lambda x: (x.cumsum(0), x.sort()), real(6, dtype=D)),
        "of no dimension": (lambda x: x.cumsum(0), real(dtype=D)),
    },
}
ALL = [(name, num_free) for num_free, cases in CASES.items() for name in cases]


def of_torch(graph: Graph) -> list[Kernel]:
    return [node for node in graph.nodes if isinstance(node, Kernel) and node.kernel == "aten"]


@pytest.mark.parametrize("name, num_free", ALL)
def test_an_operator_is_that_of_torch_on_any_cutting_and_leaves_labels_free(name: str, num_free: int) -> None:
    function, *args = CASES[num_free][name]
    captured = check(function, *args, tolerance=1e-9)
    found = of_torch(captured.graph)
    assert found
    assert {len(cuttable_labels(node)) for node in found} == {num_free}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_of_an_operator_that_torch_has(name: str) -> None:
    _, packet, overload = name.split(".")
    assert overload in getattr(torch.ops.aten, packet).overloads()


@pytest.mark.parametrize("fill", [0.0, float("nan"), float("-inf")])
def test_padding_makes_no_matrix_singular(fill: float) -> None:
    """What torch refuses of a real matrix may stand in padding."""

    def factors(x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.cholesky(torch.where(x == 0, fill, x).flatten(0, 1))

    captured = check(factors, positive(2, 5, 3, 3), meshes=(), random_seeds=range(6))
    (node,) = of_torch(captured.graph)
    assert '"padding":"identity"' in node.attributes
