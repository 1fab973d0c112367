"""Attention is captured as one kernel; tensors and masks are read where they are, as small as they are."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from einsplit.capture import Captured, capture
from einsplit.capture.reader import SEED
from einsplit.graph import Graph, Kernel, dims_shape
from einsplit.kernels.attention import parts_of
from einsplit.runtime.kernels.families.fused_attention import fused_attention
from einsplit.runtime.local import LocalSession
from einsplit.solver.program import Program
from einsplit.solver.sharding import cuttable_labels
from einsplit.torch_dtypes import torch_dtype
from tests.capture.driver import check, kernels, programs
from tests.capture.gradients import check_gradients
from tests.capture.tensors import real, truth

bf16, f64 = torch.bfloat16, torch.float64
Case = tuple[Callable[..., Tensor], *tuple[Tensor, ...]]

# Four heads over eight queries and six keys.
Q, K, V = real(2, 4, 8, 5), real(2, 4, 6, 5), real(2, 4, 6, 5)
NARROW = V[..., :3]
HALF = tuple(x.to(bf16) for x in (Q, Q, Q))
BIAS = real(8, 6)
BAND = torch.ones(8, 6).tril(2).triu(-3).bool()


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return sdpa(q, k, v, is_causal=True)


def padded(q: Tensor, k: Tensor, v: Tensor, is_there: Tensor) -> Tensor:
    return sdpa(q, k, v, attn_mask=is_there[:, None, None, :])


def repeated(times: int, how: Callable[[Tensor, int], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda q, k, v: sdpa(q, how(k, times), how(v, times), is_causal=True)


def in_a_row(x: Tensor, times: int) -> Tensor:
    """`g -> (g r)`, as models spell it."""
    b, g, j, e = x.shape
    return x[:, :, None].expand(b, g, times, j, e).reshape(b, g * times, j, e)


def in_turns(x: Tensor, times: int) -> Tensor:
    """`g -> (r g)`."""
    return x.repeat(1, times, 1, 1)


ONE_KERNEL: dict[str, Case] = {
    "without a mask": (sdpa, Q, K, V),
    "causal": (causal, Q, K, V),
    "a mask of keys": (padded, Q, K, V, truth(2, 6)),
    "a mask of keys and causal": (
        lambda q, k, v, m: sdpa(q, k, v, m[:, None, None, :] & torch.ones(8, 6).tril().bool()),
        *(Q, K, V, truth(2, 6)),
    ),
    "a mask that blocks whole queries": (sdpa, Q, K, V, truth(8, 6) & (torch.arange(8) % 3 > 0)[:, None]),
    "a mask a head": (sdpa, Q, K, V, truth(4, 8, 6)),
    "a mask a batch element and head": (sdpa, Q, K, V, truth(2, 4, 8, 6)),
    "a band that is known": (lambda q, k, v: sdpa(q, k, v, BAND), Q, K, V),
    "a known mask that is added": (
        lambda q, k, v: sdpa(q, k, v, torch.zeros(8, 8).masked_fill(torch.ones(8, 8).triu(1).bool(), -torch.inf)),
        *(Q, Q, Q),
    ),
    "the same in bfloat16": (
        lambda q, k, v: sdpa(
            q, k, v, torch.zeros(8, 8, dtype=bf16).masked_fill(torch.ones(8, 8).triu(1).bool(), -torch.inf)
        ),
        *HALF,
    ),
    "values of another width": (causal, Q, K, NARROW),
    "another scale": (lambda q, k, v: sdpa(q, k, v, scale=-0.7), Q, K, V),
    "grouped queries": (lambda q, k, v: sdpa(q, k, v, is_causal=True, enable_gqa=True), Q, K[:, :2], V[:, :2]),
    "repeated heads": (repeated(2, in_a_row), Q, K[:, :2], V[:, :2]),
    "repeat_interleave": (repeated(2, lambda x, n: x.repeat_interleave(n, 1)), Q, K[:, :2], V[:, :2]),
    "grouped queries of one group": (lambda q, k, v: sdpa(q, k, v, enable_gqa=True), Q, K[:, :1], V[:, :1]),
    "one head that broadcasts": (sdpa, Q, K[:, :1], V[:, :1]),
    "heads in turns": (repeated(2, in_turns), Q, K[:, :2], V[:, :2]),
    "two dimensions": (causal, Q[0, 0], K[0, 0], V[0, 0]),
    "three dimensions": (causal, Q[0], K[0], V[0]),
    "five dimensions": (causal, real(2, 3, 2, 8, 5), real(2, 3, 2, 6, 5), real(2, 3, 2, 6, 3)),
    "five dimensions and a mask": (
        sdpa,
        *(real(2, 3, 2, 8, 5), real(2, 3, 2, 6, 5), real(2, 3, 2, 6, 3)),
        truth(3, 1, 8, 6),
    ),
    "dimensions that broadcast": (causal, real(2, 3, 2, 8, 5), real(1, 3, 2, 6, 5), real(2, 1, 2, 6, 3)),
    "one query": (causal, Q[:, :, :1], K, V),
    "bfloat16": (causal, *HALF),
    "bfloat16 and a mask": (sdpa, *HALF, truth(8, 8) | torch.eye(8).bool()),
    "float64": (causal, Q.to(f64), K.to(f64), V.to(f64)),
    "a mask whose every number in some rows is huge and finite": (
        lambda q, k, v: sdpa(q, k, v, torch.triu(torch.full((8, 6), -3e38, dtype=q.dtype), -2)),
        *(Q, K, NARROW),
    ),
    "a mask that is added": (sdpa, Q, K, V, real(8, 6)),
    "a mask that is added, a head": (sdpa, Q, K, V, real(4, 1, 6)),
    "a mask that is added, with rows that look at nothing": (
        sdpa,
        *(Q, K, V, torch.zeros(8, 6).masked_fill(~(BAND & (torch.arange(8) % 3 > 0)[:, None]), -torch.inf)),
    ),
    "a mask that is added, and causal": (
        lambda q, k, v, m: sdpa(q, k, v, m.masked_fill(~BAND, -torch.inf)),
        *(Q, K, V, real(8, 6)),
    ),
    "a captured mask": (lambda q, k, v: sdpa(q, k, v, BIAS), Q, K, V),
    "dropout that drops nothing": (lambda q, k, v: sdpa(q, k, v, dropout_p=0.0), Q, K, V),
}


def only(captured: Captured) -> tuple[Graph, Kernel]:
    (node,) = [node for node in captured.graph.nodes if isinstance(node, Kernel)]
    return captured.graph, node


@pytest.mark.parametrize("name", ONE_KERNEL)
def test_attention_is_one_kernel_and_equals_torch_on_any_cutting(name: str) -> None:
    function, *args = ONE_KERNEL[name]
    assert kernels(check(function, *args, random_seeds=range(4))) == ["attention"]


def test_it_can_be_cut_by_batch_heads_repeats_queries_and_keys_and_features_are_whole() -> None:
    _, node = only(check(ONE_KERNEL["grouped queries"][0], Q, K[:, :2], V[:, :2]))
    ((b,), (g, r), (i,), (e,)), (_, _, (j,), _), (*_, (d,)) = node.reads[:3]
    assert cuttable_labels(node) == (b, g, r, i, j) and set(node.brackets) == {e, d}
    assert (node.summed, node.agg) == ((j,), "softmax")
    assert node.dims == ((b,), (g, r), (i,), (d,))


@pytest.mark.parametrize(
    "name", ["grouped queries", "repeated heads", "repeat_interleave", "grouped queries of one group"]
)
def test_heads_that_read_the_same_keys_read_them_where_they_are(name: str) -> None:
    function, *args = ONE_KERNEL[name]
    graph, node = only(check(function, *args, random_seeds=()))
    groups, repeats = {"grouped queries of one group": (1, 4)}.get(name, (2, 2))
    for k in (1, 2):
        assert [graph.sizes[label] for label in node.reads[k][1]] == ([groups] if groups > 1 else [])
        assert graph.shape(node.operands[k].node) == args[k].shape  # the input itself
    assert [graph.sizes[label] for label in node.reads[0][1]] == [n for n in (groups, repeats) if n > 1]


@pytest.mark.parametrize(
    "name", ["a mask that is added", "a captured mask", "a mask whose every number in some rows is huge and finite"]
)
def test_keys_are_whole_where_a_number_of_a_mask_may_drown_the_scores(name: str) -> None:
    _, node = only(capture(ONE_KERNEL[name][0], ONE_KERNEL[name][1:], {}))
    ((b,), (h,), (i,), _), (_, _, (j,), _) = node.reads[:2]
    assert cuttable_labels(node) == (b, h, i) and j in node.brackets and not node.summed


@pytest.mark.parametrize("how", ["keys", "values"])
def test_keys_and_values_of_unlike_numbers_of_heads_are_spelled_out(how: str) -> None:
    few, many = K[:, :1], K[:, :2]
    args = (Q, few, many) if how == "keys" else (Q, many, few)
    assert "attention" not in kernels(check(lambda q, k, v: sdpa(q, k, v, enable_gqa=True), *args))


def test_keys_in_turns_for_heads_are_read_for_each_head() -> None:
    graph, node = only(check(*ONE_KERNEL["heads in turns"], random_seeds=()))
    assert [graph.sizes[label] for label in node.reads[1][1]] == [2, 2]
    assert graph.shape(node.operands[1].node) == (2, 2, 6, 5)


# Elements of each mask that the kernel reads: first which keys there are, then what the caller asks for.
MASKS: dict[str, list[tuple[int, ...]]] = {
    "without a mask": [(6,)],
    "causal": [(6,), (8,), (6,)],
    "a mask of keys": [(6,), (2, 6)],
    "a mask that blocks whole queries": [(6,), (8, 6)],
    "a mask a head": [(6,), (4, 8, 6)],
    "a mask a batch element and head": [(6,), (2, 4, 8, 6)],
    "five dimensions": [(6,), (8,), (6,)],
    "a known mask that is added": [(8,), (8,), (8,)],
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_read_along_its_own_dimensions_and_a_causal_one_is_positions(name: str) -> None:
    graph, node = only(check(*ONE_KERNEL[name], random_seeds=()))
    read = [tuple(graph.sizes[label] for label in row.labels) for row in node.operands[3:]]
    assert read == MASKS[name]


@pytest.mark.parametrize("name", [name for name, (_, *args) in ONE_KERNEL.items() if args[2].shape[-1] == 5])
def test_torchs_fused_kernel_knows_the_score(name: str) -> None:
    graph, node = only(capture(ONE_KERNEL[name][0], ONE_KERNEL[name][1:], {}))
    tensors = [
        torch.ones(dims_shape(dims, graph.sizes), dtype=torch_dtype(graph.nodes[row.node].dtype))
        for dims, row in zip(node.reads, node.operands, strict=True)
    ]
    assert fused_attention(msgspec.json.decode(node.attributes), parts_of("attention", tensors)) is not None


# ------------------------------------------------------------------------------------------------ spelled out

SPELLED: dict[str, Case] = {
    "no keys": (sdpa, Q, K[:, :, :0], V[:, :, :0]),
    "no features": (sdpa, Q[..., :0], K[..., :0], V),
    "no queries": (sdpa, Q[:, :, :0], K, V),
}


@pytest.mark.parametrize("name", SPELLED)
def test_what_has_no_elements_is_spelled_out_and_equals_torch(name: str) -> None:
    function, *args = SPELLED[name]
    assert kernels(check(function, *args, random_seeds=range(3))) == []


def wide(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.to(f64) if x.is_floating_point() else x for x in tensors)


@pytest.mark.parametrize("shape", [(8, 6), (4, 1, 6), (2, 1, 8, 1)], ids=str)
def test_the_gradient_of_a_bias_that_is_learned_is_torchs(shape: tuple[int, ...]) -> None:
    check_gradients(sdpa, *wide(Q, K, V, real(*shape)))


@pytest.mark.parametrize("name", [name for name in ONE_KERNEL if "bfloat16" not in name])
def test_the_gradients_of_the_kernel_are_torchs_on_any_cutting(name: str) -> None:
    function, *args = ONE_KERNEL[name]
    if name in ("a known mask that is added", "a mask that is added, with rows that look at nothing"):
        function, *args = causal, Q, K, V  # -inf minus -inf: torch's gradients of such a mask are NaN
    graph = check_gradients(function, *wide(*args))
    met = {node.kernel for node in graph.nodes if isinstance(node, Kernel)}
    assert met == {"attention", "attention_values", "attention_gradient"}


def dropped(share: float) -> Captured:
    return capture(lambda q, k, v: sdpa(q, k, v, dropout_p=share), wide(Q, K, torch.eye(6).expand(2, 4, 6, 6)), {})


def seeded(captured: Captured, program: Program, args: tuple[Tensor, ...]) -> Tensor:
    """The result with one seed of random numbers."""
    feeds = {**dict(zip(captured.feeds, args, strict=True)), SEED: torch.tensor(7)}
    with LocalSession(program, timeout_seconds=60) as session:
        (found,) = session.step({name: feeds[name] for name in program.feeds}).values()
    return found


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_dropout_keeps_whole_weights_or_none_and_the_same_on_any_cutting(share: float) -> None:
    captured, args = dropped(share), wide(Q, K, torch.eye(6).expand(2, 4, 6, 6))
    assert kernels(captured) == ["attention"]
    weights = torch.softmax(args[0] @ args[1].mT * 5**-0.5, -1)
    found = [seeded(captured, program, args) for program in programs(captured, ((2,), (2, 2)), range(4))]
    factor = found[0] / weights  # of values that are unit vectors
    kept = factor > 0.5
    expected = kept / (1 - share) if share < 1 else torch.zeros_like(factor)
    torch.testing.assert_close(factor, expected.to(f64), rtol=1e-9, atol=1e-9)
    assert abs(kept.double().mean() - (1 - share)) < 0.1
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-9, atol=1e-12)
