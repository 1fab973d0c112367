"""Products, modules and embeddings equal torch, whole and cut, and are einsums."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F

from tests.capture.driver import check, kernels
from tests.capture.tensors import real, whole

f16, bf16 = torch.float16, torch.bfloat16
Case = tuple[Callable[..., object], *tuple[object, ...]]

LEFT = ((3,), (2, 3), (4, 2, 3), (2, 1, 2, 3))
RIGHT = ((3,), (3, 5), (4, 3, 5), (1, 4, 3, 5))

PRODUCTS: dict[str, Case] = {
    **{
        f"matmul of {len(left)}-d and {len(right)}-d": (torch.matmul, real(*left), real(*right))
        for left in LEFT
        for right in RIGHT
    },
    "mm, bmm, mv, dot": (
        lambda x, y: (x.mm(y), torch.bmm(x[None], y[None]), x.mv(y[:, 0]), torch.dot(x[0], x[0])),
        real(4, 6),
        real(6, 2),
    ),
    "matmul of integers": (lambda x, y: x @ y, whole(4, 6, dtype=torch.int32), whole(6, 2, dtype=torch.int32)),
    "matmul of int8 wraps around": (lambda x: x @ x.T, whole(4, 6, low=-100, high=100, dtype=torch.int8)),
    "matmul of float16": (lambda x: x @ x.T, real(4, 6, dtype=f16)),
    "matmul of a value by itself": (lambda x: x @ x.T + (x.T @ x).sum(), real(4, 6)),
    "matmul over nothing": (lambda x, y: x @ y, real(4, 0), real(0, 6)),
    "linear": (F.linear, real(2, 4, 6), real(3, 6), real(3)),
    "linear without a bias": (F.linear, real(6), real(3, 6)),
    "linear of one weight": (F.linear, real(4, 6), real(6)),
    "addmm with alpha and beta": (
        lambda b, x, y: torch.addmm(b, x, y, beta=0.5, alpha=2),
        real(5),
        real(4, 6),
        real(6, 5),
    ),
    "addmm without its bias": (
        lambda b, x, y: torch.addmm(b, x, y, beta=0),
        torch.full((5,), float("nan")),
        real(4, 6),
        real(6, 5),
    ),
    "addmm of integers": (torch.addmm, whole(4, 5), whole(4, 6), whole(6, 5)),
    "baddbmm, addmv": (
        lambda b, x: (torch.baddbmm(b, x, x.mT), torch.addmv(b[0, 0], x[0], x[0, 0])),
        real(2, 1, 4),
        real(2, 4, 4),
    ),
    "outer": (lambda x: torch.outer(x, x) @ x, real(7)),
    "einsum": (lambda x, y: torch.einsum("bij,bkj->bik", x, y), real(2, 3, 4), real(2, 5, 4)),
    "einsum with an ellipsis": (lambda x, y: torch.einsum("...ij,jk->...ki", x, y), real(2, 3, 4), real(4, 5)),
    "einsum without an arrow": (lambda x, y: torch.einsum("ij,jk", x, y), real(3, 4), real(4, 5)),
    "einsum of a diagonal": (lambda x: torch.einsum("ii->i", x) + torch.einsum("ii", x), real(4, 4)),
    "einsum that broadcasts a letter": (lambda x, y: torch.einsum("ij,ij->i", x, y), real(3, 1), real(3, 4)),
    "einsum of three": (lambda x, y, z: torch.einsum("ij,jk,kl->il", x, y, z), real(2, 3), real(3, 4), real(4, 2)),
    "einsum of one": (lambda x: torch.einsum("ijk->kj", x), real(2, 3, 4)),
    "tensordot": (lambda x, y: torch.tensordot(x, y, dims=([1, 2], [0, 1])), real(2, 3, 4), real(3, 4, 5)),
    "embedding": (F.embedding, whole(4, 2, low=0), real(7, 6)),
    "embedding of int32 with padding": (
        lambda i, w: F.embedding(i, w, padding_idx=0),
        whole(4, low=0, dtype=torch.int32),
        real(7, 6),
    ),
    "one-hot times a table": (lambda i, w: (i[:, None] == torch.arange(7)).float() @ w, whole(4, low=0), real(7, 6)),
}

MODULES: dict[str, Callable[[], tuple[torch.nn.Module, *tuple[torch.Tensor, ...]]]] = {
    "MultiheadAttention": lambda: (torch.nn.MultiheadAttention(8, 2, batch_first=True), *(real(2, 5, 8),) * 3),
    "TransformerEncoderLayer": lambda: (torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), real(2, 5, 8)),
    "an MLP that works in place": lambda: (
        torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(inplace=True), torch.nn.Linear(8, 4)),
        real(5, 6),
    ),
    "Embedding and LayerNorm": lambda: (
        torch.nn.Sequential(torch.nn.Embedding(7, 6), torch.nn.LayerNorm(6), torch.nn.GELU()),
        whole(4, low=0),
    ),
    "BatchNorm": lambda: (torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8)), real(5, 6)),
    "GLU and PReLU": lambda: (torch.nn.Sequential(torch.nn.GLU(), torch.nn.PReLU()), real(5, 6)),
}

WHOLE: dict[str, Callable[[], tuple[torch.nn.Module, *tuple[torch.Tensor, ...]]]] = {
    "a CNN": lambda: (
        torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, padding=1),
            torch.nn.ReLU(inplace=True),
            torch.nn.MaxPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(64, 5),
        ),
        real(2, 3, 8, 8),
    ),
    "TransformerDecoderLayer": lambda: (
        torch.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, norm_first=True),
        real(2, 5, 8),
        real(2, 3, 8),
    ),
    "an LSTM": lambda: (torch.nn.LSTM(6, 5, batch_first=True), real(2, 3, 6)),
    "a transposed convolution": lambda: (torch.nn.ConvTranspose1d(3, 4, 3), real(2, 3, 8)),
    "Bilinear": lambda: (torch.nn.Bilinear(4, 3, 5), real(2, 4), real(2, 3)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_is_made_of_einsums_and_equals_torch(name: str) -> None:
    function, *args = PRODUCTS[name]
    assert kernels(check(function, *args, meshes=((2, 2),), random_seeds=(0,))) == []


@pytest.fixture
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    yield


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_made_of_einsums_and_attention_and_equals_torch(name: str, seeded: None) -> None:
    module, *args = MODULES[name]()
    # MultiheadAttention returns its weights, unless it is told not to, and so makes them one by one.
    wanted = ["attention"] if name == "TransformerEncoderLayer" else []
    assert kernels(check(module.eval(), *args, meshes=((2, 2),), random_seeds=(0,))) == wanted


@pytest.mark.parametrize("name", WHOLE)
def test_what_has_no_rule_runs_whole_and_equals_torch(name: str, seeded: None) -> None:
    module, *args = WHOLE[name]()
    assert kernels(check(module.eval(), *args, meshes=((2, 2),), random_seeds=(0,)))
