"""Megatron's plan of a Llama, made by hand: it is in the space, is run, and is priced as it is run."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
import torch

from einsplit.capture import capture
from einsplit.graph import Graph, Label
from einsplit.solver.prepare import prepare
from einsplit.solver.problem.problem import Problem
from einsplit.solver.sharding import PARTIAL, Sharding, Sum, cuttable_labels, extent_classes, make_tables, output_layout
from tests.solver.known.cases import ITEMSIZE, machine
from tests.support.cuttings import Cutting, run_local
from tests.support.prices import program_seconds
from tests.support.searches import swept

BATCH, SEQUENCE, WIDTH = 2, 8, 32


@pytest.fixture(scope="module")
def llama():
    """A decoder of one layer with its embedding and head: 4 heads over 2 key/value heads, 48 hidden units."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=128,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        use_cache=False,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    ids = torch.randint(0, 128, (BATCH, SEQUENCE))
    captured = capture(model, (ids,), {})
    feeds = {name: tensor.detach().numpy() for name, tensor in captured.tensors.items()}
    feeds |= dict.fromkeys(captured.feeds, ids.numpy())
    with torch.no_grad():
        logits = model(ids).logits.numpy()
    return prepare(captured.graph), feeds, logits


def cut_by(graph: Graph, labels: Collection[Label]) -> list[Sharding]:
    """One axis: each node is cut by whichever of the labels it has, and whole where it has none."""
    return [(next((own for own in cuttable_labels(node) if own in labels), None),) for node in graph.nodes]


def megatron(graph: Graph) -> Cutting:
    """Attention cut by key/value heads, the perceptron by hidden units (Shoeybi et al. 2019), on one axis of 2."""
    weight = {name.removeprefix("model.layers.0."): graph.nodes[at] for name, at in graph.inputs.items()}
    heads, hidden = weight["self_attn.k_proj.weight"].dims[0][0], weight["mlp.gate_proj.weight"].dims[0][0]
    tables = make_tables(graph, (2,), dict.fromkeys(set(extent_classes(graph).values()), (0,)))
    problem = Problem(graph, machine(2), tables)
    shardings = cut_by(graph, (heads, hidden))
    assert all(choice in problem.choices(at, 0) for at, (choice,) in enumerate(shardings))
    return Cutting(problem, tuple(shardings))


def with_addends_in_the_residual(cutting: Cutting) -> Cutting:
    """The same, but the partial results of a block are added to the residual before they are reduced."""
    graph, shardings = cutting.problem.graph, list(cutting.shardings)
    left = [output_layout(node, sharding) for node, sharding in zip(graph.nodes, shardings, strict=True)]
    for at, node in enumerate(graph.nodes):
        if any(left[o.node] == (PARTIAL,) for o in node.operands):
            assert Sum((0, 1)) in cutting.problem.choices(at, 0)
            shardings[at] = (Sum((0, 1)),)
    return Cutting(cutting.problem, tuple(shardings))


@pytest.mark.parametrize("variant", [lambda cutting: cutting, with_addends_in_the_residual], ids=["whole", "addends"])
def test_megatron_moves_two_all_reduces_of_the_activation(llama, variant):
    graph, feeds, logits = llama
    cutting = variant(megatron(graph))
    program = cutting.program
    activation = BATCH * SEQUENCE * WIDTH * ITEMSIZE
    assert [c.kind for c in program.collectives] == ["all_reduce", "all_reduce"]
    assert [program.predicted_bytes(c) for c in program.collectives] == [activation, activation]
    price = cutting.problem.price(cutting.shardings)
    assert price.bytes_sent == 2 * activation
    assert price.seconds == pytest.approx(program_seconds(program, cutting.problem.machine), rel=1e-9)
    found = run_local(program, feeds)
    np.testing.assert_allclose(found["output"], logits, atol=1e-5)


def test_addends_do_flow_through_the_residual(llama):
    cutting = with_addends_in_the_residual(megatron(llama[0]))
    chosen = [choice for (choice,) in cutting.shardings if isinstance(choice, Sum)]
    assert len(chosen) == 2  # the additions after attention and after the perceptron
    reduced = [cutting.program.buffers[c.source] for c in cutting.program.collectives]
    assert all(buffer.partial == (0,) for buffer in reduced)


def test_megatron_is_no_cheaper_than_the_plan_that_is_found(llama):
    cutting = megatron(llama[0])
    price = cutting.problem.price(cutting.shardings).seconds
    assert swept(llama[0], cutting.problem.machine).seconds <= price * (1 + 1e-9)
