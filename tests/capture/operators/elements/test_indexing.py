"""Reading and adding at indices: the numbers of torch on any cutting, and no kernel that runs whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from einsplit.capture import capture
from einsplit.graph import Graph, node_labels
from einsplit.solver.prepare import prepare
from einsplit.solver.pricing.forms import form
from einsplit.solver.sharding import cuttable_labels
from tests.capture.driver import check, kernels
from tests.capture.gradients import check_gradients
from tests.capture.tensors import real as real_of
from tests.capture.tensors import truth


def real(*shape: int) -> torch.Tensor:
    return real_of(*shape, dtype=torch.float64)


X = real(4, 6, 5)
ROW = torch.tensor([3, 0, -1, 3, 2])
J = torch.tensor([[1, -2, 5], [0, 0, 2]])
LOWER, LEFT = torch.tril_indices(5, 5, -1)

READ: dict[str, tuple[Callable[..., torch.Tensor], tuple[torch.Tensor, ...]]] = {
    "one index": (lambda x, i: x[i], (X, ROW)),
    "of rows that were joined": (lambda x, i: x.reshape(24, 5)[i], (X, torch.tensor([23, 0, -7, 7]))),
    "a matrix of indices": (lambda x, j: x[:, j], (X, J)),
    "two side by side": (lambda x, i, j: x[i[:3], j], (X, ROW, J)),
    "two with a slice between": (lambda x, i, j: x[i[:3], :, j[0, :1]], (X, ROW, J % 5)),
    "behind a slice": (lambda x, i, j: x[:, i[:3], j % 5], (X, ROW, J)),
    "known": (lambda x: x[..., [0, 2, -1]], (X,)),
    "known, evenly spaced": (lambda x: x[:, torch.arange(1, 6, 2)], (X,)),
    "a triangle": (lambda x: (x[:, :5] @ x[:, :5].mT)[:, LOWER, LEFT], (X,)),
    "one element": (lambda x, i: x[i[:1]], (X, ROW)),
    "small integers": (lambda x, i: x[i.to(torch.int32)], (X, ROW)),
    "index_select": (lambda x, i: x.index_select(1, i), (X, ROW % 6)),
    "take": (lambda x, j: x.take(j), (X, J * 9)),
    "gather": (lambda x, j: x.gather(1, j), (X[:2, :, 0], J % 6)),
    "gather of some": (lambda x, j: x[:, :, 0].gather(1, j), (X, J % 6)),
    "gather in depth": (lambda x, j: x.gather(0, j), (X, (torch.arange(2 * 6 * 5) % 4).reshape(2, 6, 5))),
    "take_along_dim": (lambda x, j: torch.take_along_dim(x, j[:, :, None] % 6, 1), (X[:2], J)),
    "the largest": (lambda x: x.max(1).values, (X,)),
    "its own index": (lambda x: x.take_along_dim(x.argsort(1), 1), (X[..., 0],)),
}
ADDED: dict[str, tuple[Callable[..., torch.Tensor], tuple[torch.Tensor, ...]]] = {
    "index_add": (lambda x, i, y: x.index_add(0, i, y, alpha=2.0), (X, ROW % 4, real(5, 6, 5))),
    "index_add to zeros": (
        lambda i, y: torch.zeros(4, 6, 5, dtype=y.dtype).index_add(1, i, y),
        (ROW % 6, real(4, 5, 5)),
    ),
    "scatter_add": (lambda x, j, y: x.scatter_add(1, j, y), (X[:2, :, 0], J % 6, real(2, 3))),
    "scatter_add of some": (lambda x, j, y: x[..., 0].scatter_add(1, j, y), (X, J % 6, real(2, 3))),
    "scatter_reduce of sums": (lambda x, j, y: x.scatter_reduce(1, j, y, "sum"), (X[:2, :, 0], J % 6, real(2, 3))),
    "index_put": (lambda x, i, j, y: x.index_put((i[:3], j), y, accumulate=True), (X, ROW, J, real(2, 3, 5))),
    "index_put of one number": (lambda x, i, y: x.index_put((i,), y, accumulate=True), (X, ROW, real(1))),
    "written where known": (lambda x, y: x.index_put((torch.tensor([2, 0]),), y), (X, real(2, 6, 5))),
    "index_copy where known": (lambda x, y: x.index_copy(1, torch.tensor([2, 0]), y), (X, real(4, 2, 5))),
}


def put(x: torch.Tensor, *where_and_what: object) -> torch.Tensor:
    """A copy of x, with the last argument written where the others say."""
    *where, what = where_and_what
    x = x.clone()
    x[tuple(where)] = what
    return x


MASK = truth(4, 6)
MASKED: dict[str, tuple[Callable[..., torch.Tensor], tuple[torch.Tensor, ...]]] = {
    "a number": (lambda x, m: put(x, m, 2.0), (X, MASK)),
    "a tensor for what is behind the mask": (put, (X, MASK, real(5))),
    "one for all that is chosen": (put, (X, MASK, real(1, 5))),
    "rows": (put, (X, MASK[:, 0], real(6, 5))),
    "all dimensions": (lambda x, m, y: put(x, m & (x > 0), y), (X, MASK[..., None], real())),
    "behind a slice": (lambda x, m, y: put(x, slice(None), m, y), (X, MASK[0], real(4, 1, 5))),
    "of a transpose": (lambda x, m, y: put(x[..., 0].T, m.T, y), (X, MASK, real())),
    "a mask that is known": (lambda x, y: put(x[..., 0], torch.eye(4, 6, dtype=torch.bool), y), (X, real())),
    "added": (lambda x, m, y: x.index_put((m,), y, accumulate=True), (X, MASK, real(5))),
}


@pytest.mark.parametrize("name", MASKED)
def test_writing_where_a_mask_says_is_a_choice_whose_every_label_is_free(name: str) -> None:
    function, args = MASKED[name]
    assert kernels(check(function, *args)) == []
    check_gradients(function, *args)


def test_as_many_values_as_a_mask_chooses_are_written_by_torchs_own_operator() -> None:
    assert kernels(check(put, X, torch.tensor([True, False, True, False]), real(2, 6, 5))) == ["aten"]


@pytest.mark.parametrize("name", {**READ, **ADDED})
def test_any_cutting_gives_the_elements_and_the_gradients_of_torch(name: str) -> None:
    function, args = {**READ, **ADDED}[name]
    captured = check(function, *args)
    assert "aten" not in kernels(captured) or name == "its own index"
    check_gradients(function, *args)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.float32, torch.bfloat16], ids=str)
def test_every_real_dtype_is_read(dtype: torch.dtype) -> None:
    x = (torch.arange(24).reshape(6, 4) % 3).to(dtype)
    assert not kernels(check(lambda x, i: (x[i], x.gather(0, i[:, None])), x, ROW % 6))


def test_what_is_not_certain_is_torchs_own() -> None:
    """Of two values that are written to one element, torch keeps either."""
    captured = check(lambda x, i, y: x.index_put((i,), y), X, torch.tensor([2, 0]), real(2, 6, 5))
    assert kernels(captured) == ["aten"]


def test_one_hot() -> None:
    captured = check(lambda ids: F.one_hot(ids, 7), J % 6)
    assert not kernels(captured)


def bag(mode: str, **options: object) -> nn.EmbeddingBag:
    torch.manual_seed(0)
    return nn.EmbeddingBag(7, 4, mode=mode, dtype=torch.float64, **options)


IDS = torch.tensor([[1, 3, 3, 6], [3, 3, 3, 3], [0, 2, 5, 1]])
WEIGHTS = real(3, 4)
OFFSETS = torch.tensor([0, 5, 5])  # the second bag is empty


@pytest.mark.parametrize("options", [{}, {"padding_idx": 3}], ids=["plain", "padded"])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_of_one_length(mode: str, options: dict[str, object]) -> None:
    def pooled(ids: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return F.embedding_bag(ids, table, mode=mode, **options)

    args = (IDS, bag(mode).weight.detach())
    assert not kernels(check(pooled, *args))
    check_gradients(pooled, *args)


@pytest.mark.parametrize("options", [{}, {"padding_idx": 3}, {"include_last_offset": True}], ids=str)
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags_that_start_at_offsets(mode: str, options: dict[str, object]) -> None:
    def pooled(ids: torch.Tensor, table: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        return F.embedding_bag(ids, table, offsets, mode=mode, **options)

    offsets = torch.tensor([0, 5, 5, 12]) if "include_last_offset" in options else OFFSETS
    args = (IDS.reshape(-1), bag(mode).weight.detach(), offsets)
    assert not kernels(check(pooled, *args))
    check_gradients(pooled, *args)


def test_bags_of_weighted_rows() -> None:
    def pooled(ids: torch.Tensor, table: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return F.embedding_bag(ids, table, mode="sum", per_sample_weights=weights)

    args = (IDS, bag("sum").weight.detach(), WEIGHTS)
    assert not kernels(check(pooled, *args))
    check_gradients(pooled, *args)


@pytest.mark.parametrize("options", [{"scale_grad_by_freq": True}, {"mode": "max"}], ids=str)
def test_bags_that_are_torchs_own(options: dict[str, object]) -> None:
    options = {"mode": "sum", **options}
    found = check(
        lambda i, w, o: F.embedding_bag(i, w, o, **options), IDS.reshape(-1), bag("sum").weight.detach(), OFFSETS
    )
    assert kernels(found) == ["aten"]


def kinds(graph: Graph) -> list[str]:
    return [form(n, [graph.nodes[o.node].dtype for o in n.operands], graph.sizes).kind for n in graph.nodes]


def test_a_gradient_is_a_scatter_and_never_goes_through_the_table() -> None:
    graph = check_gradients(lambda table, ids: F.embedding(ids, table), real(7, 4), IDS)
    assert "scatter" in kinds(graph)
    joins = [n for n, kind in zip(graph.nodes, kinds(graph), strict=True) if kind == "join"]
    assert all(7 not in [graph.sizes[label] for label in node_labels(n)] for n in joins)


def test_the_largest_is_read_at_its_index() -> None:
    assert "lookup" in kinds(prepare(capture(lambda x: x.max(1).values, (X,), {}).graph))


def test_every_label_of_a_lookup_is_free() -> None:
    graph = capture(lambda x, i: x.reshape(24, 5)[i], (X, ROW), {}).graph
    assert len(cuttable_labels(graph.nodes[-1])) == 4  # rows as two, columns, indices
