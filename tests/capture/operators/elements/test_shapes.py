"""Operators that move elements equal torch, whole and cut, and cost nothing where they are views."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from einsplit.graph import Kernel
from einsplit.solver.sharding import cuttable_labels
from tests.capture.driver import check, kernels
from tests.capture.tensors import real, truth, whole

Case = tuple[Callable[..., object], *tuple[object, ...]]

VIEWS: dict[str, Case] = {
    "reshape, flatten, unflatten": (lambda x: x.reshape(4, 2, 3).flatten(0, 1).unflatten(0, (2, -1)) * 2, real(4, 6)),
    "view as another": (lambda x, y: x.view_as(y) + y, real(4, 6), real(2, 2, 6)),
    "transpose negative dims": (lambda x: x.transpose(-1, -3), real(2, 3, 4)),
    "t, T, mT": (lambda x: x.t() + x.T + x.mT, real(4, 6)),
    "permute": (lambda x: x.permute(2, 0, -2), real(2, 3, 4)),
    "movedim": (lambda x: torch.movedim(x, 0, -1) + torch.movedim(x, (0, 1), (2, 0)).transpose(0, 1), real(3, 3, 3)),
    "swapaxes, swapdims": (lambda x: torch.swapaxes(x, 0, 1) + torch.swapdims(x, -1, 0), real(4, 6)),
    "squeeze of a dim that is not 1": (lambda x: x.squeeze(0) + x.squeeze(), real(4, 6)),
    "squeeze": (lambda x: (x.squeeze(), x.squeeze(0), x.squeeze((0, 2)), x.squeeze(-1)), real(1, 4, 1, 6)),
    "squeeze of a 0-d tensor": (lambda x: x.squeeze() + x.squeeze(0), real()),
    "unsqueeze": (lambda x: x.unsqueeze(0) + x.unsqueeze(-1) + x.unsqueeze(1), real(4)),
    "indexing by None and ...": (lambda x: x[None, ..., None, :], real(4, 6)),
    "expand keeps -1": (lambda x: x.expand(3, -1, 6), real(4, 1)),
    "expand of a 0-d tensor": (lambda x: x.expand(2, 3), real()),
    "expand as another": (lambda x, y: x.expand_as(y) * y, real(6), real(4, 6)),
    "broadcast_to": (lambda x: torch.broadcast_to(x, (4, 6)), real(1, 6)),
    "repeat": (lambda x: x.repeat(2, 3), real(2, 3)),
    "repeat with more dims": (lambda x: x.repeat(2, 1, 3), real(2, 3)),
    "repeat_interleave": (lambda x: (x.repeat_interleave(2, 1), x.repeat_interleave(3, -2)), real(2, 3)),
    "repeat_interleave of all in a row": (lambda x: x.repeat_interleave(2) + x.T.reshape(-1).repeat(2), real(2, 3)),
    "repeat_interleave of a 0-d tensor": (lambda x: x.repeat_interleave(2) + x.repeat_interleave(1), real()),
    "a half": (lambda x: x[:, 3:] - x[:, :3], real(4, 6)),
    "the rotation of rotary embeddings": (lambda x: torch.cat((-x[..., 3:], x[..., :3]), -1), real(4, 6)),
    "select": (lambda x: (x[:, 0], x[-1], x.select(1, -2)), real(4, 6)),
    "select of integers": (lambda x: x[:, 1], whole(4, 6, dtype=torch.int16)),
    "select of booleans": (lambda x: x[2], truth(4, 6)),
    "select leaves NaN elsewhere alone": (lambda x: x[1], torch.tensor([[float("nan")], [1.0]])),
    "select of what is repeated": (lambda x: x.expand(3, 4)[:, 2] + x.expand(3, 4)[1, 2:4].sum(), real(3, 1)),
    "chunk in equal parts": (lambda x: torch.chunk(x, 3, 1)[1] * 2, real(4, 6)),
    "chunk of nothing": (lambda x: list(torch.chunk(x, 2, 0)), real(0, 3)),
    "split in equal parts": (lambda x: [part * 2 for part in x.split(2, -1)], real(4, 6)),
    "tensor_split": (lambda x: list(torch.tensor_split(x, 4, 1)), real(4, 6)),
    "unbind": (lambda x: torch.unbind(x, 1)[2] + torch.unbind(x)[0].sum(), real(4, 6)),
    "cat of equal parts": (lambda x, y: torch.cat([x, y, x], 1), real(4, 6), real(4, 6)),
    "cat of one": (lambda x: torch.cat([x], -1), real(4, 6)),
    "cat of one twice": (lambda x: torch.cat([x, x]), real(4, 6)),
    "cat with an empty vector": (lambda x: torch.cat([torch.empty(0), x, x * 2]), real(4, 6)),
    "cat promotes": (lambda x, y: torch.cat([x, y]), whole(4, 6), real(4, 6)),
    "cat of what is broadcast": (lambda x, y: torch.cat([x.expand(4, 6), y], 1), real(4, 1), real(4, 6)),
    "cat of booleans": (lambda x, y: torch.cat([x, y]), truth(4, 6), truth(4, 6)),
    "stack": (lambda x, y: (torch.stack([x, y]), torch.stack([x, y], -1)), real(4, 6), real(4, 6)),
    "stack and reshape": (lambda x, y: torch.stack([x, y], 1).reshape(4, -1), real(4, 6), real(4, 6)),
    "triangles": (lambda x: x * torch.tril(torch.ones(6, 6)) + torch.triu(torch.ones(6, 6), 1), real(6, 6)),
    "contiguous after transpose": (lambda x: x.transpose(0, 1).contiguous().view(3, 8), real(4, 6)),
    "a loop over rows": (lambda x: torch.stack([row * k for k, row in enumerate(x)]), real(4, 6)),
}

KERNELS: dict[str, tuple[str, Callable[..., object], *tuple[object, ...]]] = {
    "6x4 as 8x3": ("reshape", lambda x: (x.reshape(8, 3) * 2).reshape(6, 4), real(6, 4)),
    "slices": ("slice", lambda x: x[:, 1:3] + x[:, -2:], real(4, 5)),
    "a slice in steps": ("slice", lambda x: x[:, ::2], real(4, 7)),
    "an empty slice": ("slice", lambda x: x[:0].sum(0) + x, real(4, 6)),
    "a slice of nothing": ("slice", lambda x: x[2:2, 1:], real(4, 6)),
    "a slice beyond the end": ("slice", lambda x: x[1:100], real(4, 6)),
    "narrow": ("slice", lambda x: x.narrow(-1, -3, 2), real(4, 6)),
    "chunk in unequal parts": ("slice", lambda x: torch.chunk(x, 4, 1)[2] * 2, real(4, 7)),
    "split by sizes": ("slice", lambda x: [part.sum(1) for part in x.split([1, 2, 3], 1)], real(4, 6)),
    "flip": ("slice", lambda x: torch.flip(x, [0, -1]), real(4, 6)),
    "cat of unequal parts": ("cat", lambda x, y: torch.cat([x, y], 1), real(4, 3), real(4, 5)),
    "cat of many": ("cat", lambda x: torch.cat([x * k for k in range(12)]), real(2, 3)),
    "cat of unequal parts promotes": ("cat", lambda x, y: torch.cat([x, y], 1), whole(4, 3), real(4, 5)),
    "cat of empties": ("cat", lambda x: torch.cat([x[:, :0], x[:, 4:4]], 1), real(4, 6)),
    "pad": ("cat", lambda x: F.pad(x, (1, 2), value=3.0), real(4, 6)),
    "pad of two dims": ("cat", lambda x: F.pad(x, (0, 1, 2, 0)), real(4, 6)),
    "pad of integers": ("cat", lambda x: F.pad(x, (1, 0), value=-1), whole(4, 6)),
    "pad that cuts off": ("aten", lambda x: F.pad(x, (-1, 1)), real(4, 6)),
    "pad by reflection": ("aten", lambda x: F.pad(x, (2, 1), mode="reflect"), real(1, 4, 6)),
    "reshape of nothing": ("reshape", lambda x: x.reshape(0, 3) * 2, real(2, 0, 3)),
    "flatten of nothing": ("reshape", lambda x: x.reshape(0) * 2, real(0, 3)),
    "repeat_interleave of nothing": ("reshape", lambda x: x.repeat_interleave(2, 0) * 2, real(0, 3)),
    "index_fill": ("aten", lambda x: x.index_fill(1, torch.tensor([1]), 0.0), real(4, 6)),
    "repeat_interleave of none": ("aten", lambda x: x.repeat_interleave(0, 1).sum(1) + x[:, 0], real(2, 3)),
    "roll": ("aten", lambda x: torch.roll(x, 2, 1), real(4, 6)),
    "tril of a value": ("aten", lambda x: torch.tril(x), real(6, 6)),
    "diagonal": ("aten", lambda x: torch.diagonal(x).sum() + torch.diag(x), real(6, 6)),
    "unfold": ("aten", lambda x: x.unfold(1, 3, 1), real(4, 6)),
    "as_strided": ("aten", lambda x: torch.as_strided(x, (2, 2), (6, 1)), real(4, 6)),
    "fft": ("aten", lambda x: torch.fft.fft(x).real, real(4, 6)),
    "view as real": ("aten", lambda x: torch.view_as_real(torch.view_as_complex(x) * 2), real(4, 6, 2)),
    "bits of a float": ("aten", lambda x: x.view(torch.int32), real(4, 6)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_no_kernel_and_equals_torch(name: str) -> None:
    function, *args = VIEWS[name]
    assert kernels(check(function, *args, meshes=((2, 2),), random_seeds=(0,))) == []


def test_heads_that_are_repeated_for_grouped_queries_are_read_where_they_are() -> None:
    captured = check(lambda q, k: q @ k.repeat_interleave(3, 1).mT, real(2, 6, 4, 5), real(2, 2, 4, 5))
    assert kernels(captured) == [] and len(captured.graph.nodes) == 3


@pytest.mark.parametrize("name", KERNELS)
def test_elements_that_no_view_moves_are_moved_by_a_kernel(name: str) -> None:
    kernel, function, *args = KERNELS[name]
    assert kernel in kernels(check(function, *args, meshes=((2, 2),), random_seeds=(0,)))


@pytest.mark.parametrize("part", [slice(1, None), slice(None, None, 2), slice(3, 7)], ids=str)
def test_a_slice_at_an_odd_place_leaves_every_other_label_free(part: slice) -> None:
    (node,) = [node for node in check(lambda x: x[:, part], real(4, 9, 6)).graph.nodes if isinstance(node, Kernel)]
    assert len(cuttable_labels(node)) == 2
