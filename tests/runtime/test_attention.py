"""Attention cut over devices gives what torch gives, gradients too, and moves what an online softmax must."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from math import prod

import numpy as np
import pytest
import torch

from einsplit.autodiff import gradient_name
from einsplit.graph import Graph
from einsplit.runtime import blocks
from einsplit.runtime.kernels.families import attention
from einsplit.solver.program import Compute, Extent, Program
from tests.capture.driver import keen
from tests.support.attention import ROLES, alike, attend, cutting, differentiated
from tests.support.cuttings import Cutting, run_local

SHAPES = ((3, 6, 5, 4), (3, 3, 7, 4), (3, 3, 7, 4), (3, 6, 5, 4))  # of q, k, v and do


@cache
def example() -> tuple[Graph, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A graph, what is fed to it, and what torch gives."""
    random = torch.Generator().manual_seed(0)
    args = [torch.randn(shape, generator=random, dtype=torch.float64) for shape in SHAPES]
    leaves = [x.clone().requires_grad_() for x in args[:3]]
    output, loss = attend(*leaves, args[3])
    loss.backward()
    wanted = {"output_0": output.detach().numpy()}
    wanted |= {gradient_name("output_1", name): x.grad.numpy() for name, x in zip("qkv", leaves, strict=True)}
    feeds = {name: x.numpy() for name, x in zip(("q", "k", "v", "do"), args, strict=True)}
    return differentiated(*SHAPES), feeds, wanted


def holds(cut: Cutting) -> Program:
    """Assert that the program gives what torch gives, and moves what was predicted."""
    _, feeds, wanted = example()
    program = cut.program
    found = run_local(program, feeds)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-12, err_msg=f"{name}\n{cut}")
    return program


def num_calls(program: Program) -> int:
    return sum(isinstance(step, Compute) and step.kernel.startswith("attention") for step in program.instructions)


@pytest.fixture(autouse=True)
def padding_is_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding that comes in holds NaN."""
    plain = blocks._padded

    def poisoned(tensor: torch.Tensor, extents: Sequence[Extent]) -> torch.Tensor:
        whole = torch.full_like(plain(tensor, extents), math.nan)
        whole[tuple(slice(extent.size) for extent in extents)] = tensor
        return whole

    monkeypatch.setattr(blocks, "_padded", poisoned)


@pytest.mark.parametrize("num", [2, 3])
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("is_fused", [True, False], ids=["by torch's kernel", "in stretches"])
def test_cut_by_any_label_one_call_gives_values_and_one_the_gradients(
    role: str | None, num: int, is_fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 queries and 7 keys are padded to 6 and 8, or 6 and 9."""
    if not is_fused:
        monkeypatch.setattr(attention, "fused_attention", lambda *operands: None)
    graph, _, _ = example()
    assert num_calls(holds(cutting(graph, keen(num), alike(role)))) == 2


@pytest.mark.parametrize("first", ROLES)
@pytest.mark.parametrize("second", ROLES)
def test_cut_by_any_two_labels(first: str | None, second: str | None) -> None:
    """Both may cut one label: 7 keys over six devices are padded to 12."""
    graph, _, _ = example()
    assert num_calls(holds(cutting(graph, keen(3, 2), alike(first, second)))) == 2


@pytest.mark.parametrize("logsum", ROLES)
@pytest.mark.parametrize("values", ROLES)
def test_the_logsum_may_be_cut_otherwise_than_the_values(logsum: str | None, values: str | None) -> None:
    graph, _, _ = example()
    roles = {"attention": (logsum,), "attention_values": (values,), "attention_gradient": (logsum,)}
    assert num_calls(holds(cutting(graph, keen(2), roles))) == (2 if logsum == values else 3)


# ------------------------------------------------------------------------------------------------- what moves

B, G, R, I, J, E, F = 2, 2, 2, 32, 34, 2, 4  # batch, heads of keys, repeats, queries, keys, features, those of values
DQ, DK, DV, O, Z = B * G * R * I * E, B * G * J * E, B * G * J * F, B * G * R * I * F, B * G * R * I  # elements

MOVES: dict[str, list[tuple[str, int]]] = {
    "batch": [],
    "head": [],
    "repeat": [("sum", DK), ("sum", DV)],
    "query": [("sum", DK), ("sum", DV)],
    "key": [("logsumexp", Z), ("sum", O), ("sum", DQ)],
}


@pytest.mark.parametrize("role", MOVES)
def test_only_partial_results_move_and_nothing_is_as_large_as_the_scores(role: str) -> None:
    """Where tensors rest cut as the kernels are. Of cut keys: logsumexps, and addends of o and of dq."""
    graph = differentiated((B, G * R, I, E), (B, G, J, E), (B, G, J, F), (B, G * R, I, F))
    program = cutting(graph, keen(2), alike(role)).program
    assert all(c.kind == "all_reduce" for c in program.collectives)
    assert [(c.agg, prod(program.buffers[c.source].shape)) for c in program.collectives] == MOVES[role]
    assert max(prod(buffer.shape) for buffer in program.buffers) < B * G * R * I * J // 2
