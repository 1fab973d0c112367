"""What can be cut of a graph is counted as it is priced, and every operation, byte and parameter counts once."""

from __future__ import annotations

import msgspec
import pytest
import torch
from torch import nn

import einsplit
from einsplit.graph import Einsum, Graph, Input, Operand
from einsplit.optim import SGD
from einsplit.report import share_cuttable, understood
from einsplit.scalar import parse_join
from einsplit.training import train_step
from tests.doors.graphs import machine, mlp_graph


class Mixed(nn.Module):
    """Layers that are alike, a lookup, normalisation, views, and an operator that runs whole."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.norm = nn.LayerNorm(6)

    def forward(self, ids):
        x = self.embed(ids)
        for layer in self.layers:
            x = torch.relu(layer(x)) + x
        x = self.norm(x)
        return torch.linalg.svd(x[0])[1], x.mean(0), x.transpose(0, 1)


IDS = torch.tensor([[1, 2, 3], [4, 5, 10]])


def graphs():
    model = Mixed()
    step = train_step(model, lambda model, ids: sum(part.sum() for part in model(ids)[1:]), SGD(lr=0.1), devices=1)
    attending = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    attention_step = train_step(attending, lambda model, x: model(x).square().sum(), SGD(lr=0.1), devices=1)
    return {
        "mlp": mlp_graph(),
        "mixed": einsplit.trace(model, IDS),
        "step": step.graph(IDS),
        "several results": einsplit.trace(lambda x: (*torch.linalg.svd(x), *torch.topk(x, 2)), torch.ones(4, 5)),
        "attention": attention(2, 4, 16, 8),
        "step of attention": attention_step.graph(torch.ones(3, 5, 8)),
    }


def attention(*shape):
    x = torch.ones(*shape)
    return einsplit.trace(nn.functional.scaled_dot_product_attention, x, x, x)


NAMES = ["mlp", "mixed", "step", "several results", "attention", "step of attention"]


@pytest.mark.parametrize("name", NAMES)
def test_operations_and_bytes_are_those_that_one_device_is_charged_for(name):
    graph = graphs()[name]
    found = understood(graph)
    free = msgspec.structs.replace(machine(), launch_seconds=0.0, flops_per_second=1e30, memory_bytes_per_second=1e30)
    counting = msgspec.structs.replace(free, flops_per_second=1.0)
    moving = msgspec.structs.replace(free, memory_bytes_per_second=1.0)
    assert found.operations == pytest.approx(einsplit.plan(graph, counting).seconds)
    assert found.bytes == pytest.approx(einsplit.plan(graph, moving).seconds)


def test_attention_is_counted_once():
    """Two products of all scores, and a softmax of them: its logsumexp and its values are results of one call."""
    products = 2 * 2 * (2 * 4 * 64 * 64) * 16
    assert products < understood(attention(2, 4, 64, 16)).operations < 1.2 * products


@pytest.mark.parametrize("name", ["mlp", "mixed", "step", "step of attention"])
def test_every_parameter_counts_once(name):
    graph = graphs()[name]
    inputs = [graph.nodes[at] for at in graph.inputs.values()]
    held = sum(
        torch.Size(graph.shape(graph.inputs[node.name])).numel() * 4 for node in inputs if node.role == "parameter"
    )
    assert held > 0 and understood(graph).parameter_bytes == held


def test_a_parameter_counts_at_the_reader_that_can_be_cut_least():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 6))

        def forward(self, x):
            return x @ self.weight, torch.linalg.svd(self.weight)[1]

    rows = {row.kind: row for row in understood(einsplit.trace(Tied(), torch.ones(3, 4))).rows}
    assert rows["linalg_svd"].parameter_bytes == 4 * 6 * 4
    assert rows["matmul"].parameter_bytes == 0 and rows["matmul"].operations == 2 * 3 * 4 * 6


def test_a_parameter_that_is_only_returned_counts_at_itself():
    class Returned(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 6))

        def forward(self, x):
            return torch.exp(x), self.weight

    graph = einsplit.trace(Returned(), torch.ones(3))
    assert [(row.kind, row.operations, row.parameter_bytes) for row in understood(graph).rows] == [
        ("exp", 3, 0),
        ("weight", 0, 96),
    ]
    assert share_cuttable(graph) == (0.0, 1.0)


def test_the_shares_are_of_nodes_that_two_labels_can_cut():
    def function(x, v):
        return torch.sin(v), torch.exp(x), torch.linalg.svd(x)[1]

    graph = einsplit.trace(function, torch.ones(3, 4), torch.ones(5))
    counts = {row.kind: row.operations for row in understood(graph).rows}
    assert counts["exp"] == 12 and counts["sin"] == 5 and counts["linalg_svd"] > 0
    assert share_cuttable(graph) == (12 / sum(counts.values()), 1.0)
    assert share_cuttable(mlp_graph()) == (1.0, 1.0)


def test_layers_are_one_row_and_views_are_none():
    rows = understood(einsplit.trace(Mixed(), IDS)).rows
    kinds = [row.kind for row in rows]
    assert len(set(kinds)) == len(kinds) and "transpose" not in kinds
    assert {row.nodes for row in rows if row.kind.startswith("layers.")} == {2}
    assert [row.operations for row in rows] == sorted((row.operations for row in rows), reverse=True)


def test_all_results_of_an_operator_are_of_its_kind_wherever_it_is_called():
    def function(x):
        return (*torch.linalg.qr(x), *torch.linalg.qr(x + 1))

    found = understood(einsplit.trace(function, torch.ones(3, 3)))
    assert {row.kind: row.nodes for row in found.rows} == {"linalg_qr": 4, "add": 1}


def test_forward_and_backward_of_a_layer_are_named_by_the_labels_of_the_first_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.ModuleList([nn.Linear(6, 9), nn.Linear(9, 6)]) for _ in range(3))

        def forward(self, x):
            for up, down in self.layers:
                x = x + down(torch.relu(up(x)))
            return x

    step = train_step(Net(), lambda model, x: model(x).sum(), SGD(lr=0.1), devices=1)
    rows = {row.kind: row for row in understood(step.graph(torch.ones(4, 6))).rows}
    forward, backward = (rows[f"layers.*.*.linear.product{part}"] for part in ("", ".grad"))
    assert backward.nodes == 2 * forward.nodes - 1  # of weights and inputs; nobody asks for that of x
    assert set(backward.labels) == set(forward.labels)


def test_a_label_of_size_1_cuts_nothing():
    x = Input(name="x", dims=(("b",), ("k",)), dtype="float32")
    row = Einsum(
        name="row",
        operands=(Operand(0, ("b", "k")),),
        dims=x.dims,
        join=parse_join("exp(x)", 1),
        agg="sum",
        dtype="float32",
    )
    sizes = {"b": 1, "k": 5}
    (found,) = understood(Graph((x, row), sizes, (("y", 1),))).rows
    assert found.labels == (("k", 5),) and found.why == ""
    assert share_cuttable(Graph((x, row), sizes, (("y", 1),))) == (0.0, 1.0)
    (found,) = understood(Graph((x, row), {"b": 1, "k": 1}, (("y", 1),))).rows
    assert found.labels == () and found.why == "a single number"


def test_layers_of_other_sizes_are_rows_of_their_own():
    module = nn.Sequential(nn.Sequential(nn.Linear(4, 6), nn.Tanh()), nn.Sequential(nn.Linear(6, 8), nn.Tanh()))
    rows = understood(einsplit.trace(module, torch.ones(3, 4))).rows
    sizes = [
        tuple(size for _, size in row.labels) for row in rows if row.kind == "*.*.tanh" or row.kind.endswith("tanh")
    ]
    assert sorted(sizes) == [(3, 6), (3, 8)]
