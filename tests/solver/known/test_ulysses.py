"""One long sequence: it is cut everywhere but at attention, where heads are (Jacobs et al. 2023)."""

from __future__ import annotations

import numpy as np
import pytest

from einsplit.builder import Builder
from einsplit.builder.views import Value
from einsplit.graph import Graph
from einsplit.scalar import call, operand
from einsplit.solver.prepare import prepare
from tests.solver.known.cases import machine, seconds_without
from tests.support.cuttings import Cutting, run_local
from tests.support.meaning import meaning
from tests.support.searches import swept
from tests.support.spelled import spelled

LENGTH, MODEL, HEADS, HEAD = 256, 63, 4, 3  # neither model nor head width can be cut by 4


def attention_graph() -> Graph:
    """One sequence: a layer for each token, attention over heads, a layer for each token."""
    builder = Builder()

    def give(name: str, shape: tuple[int, ...]) -> Value:
        return builder.input(name, shape, "float64", role="parameter")

    x = builder.input("x", (LENGTH, MODEL), "float64", labels=["s", "a"])
    first = spelled("s a, a b -> s b", x, give("w_in", (MODEL, MODEL)))
    u = spelled("s b -> s b", first, join=call("tanh", operand(0)))
    projected = [spelled("s b, b h e -> s h e", u, give(f"w_{n}", (MODEL, HEADS, HEAD)), name=n) for n in "qkv"]
    scores = spelled("i h e, j h e -> h i j", projected[0], projected[1], name="scores")
    total = spelled("h i j -> h i", scores, join=operand(0), agg="logsumexp")
    weights = spelled("h i j, h i -> h i j", scores, total, join=call("exp", operand(0) - operand(1)))
    mixed = spelled("h i j, j h e -> i h e", weights, projected[2], name="mixed")
    y = spelled("s h e, h e b -> s b", mixed, give("w_o", (HEADS, HEAD, MODEL)))
    z = spelled("s b, b c -> s c", y, give("w_out", (MODEL, MODEL)))
    return builder.build({"z": spelled("s c -> s c", z, join=call("tanh", operand(0)))})


def test_an_all_to_all_from_sequence_to_heads_is_the_optimum_of_its_graph():
    graph = attention_graph()
    prepared, mesh = prepare(graph), machine(4, bytes_per_second=1e8)
    found = swept(prepared, mesh)
    program = Cutting(found.problem, found.shardings).program
    assert [c.kind for c in program.collectives] == ["all_to_all"] * 4  # q, k, v, and what attention gives
    block = LENGTH * HEADS * HEAD * 8 // 4
    assert [program.predicted_bytes(c) for c in program.collectives] == [block * 3 // 4] * 4
    random = np.random.default_rng(0)
    feeds = {name: random.normal(size=graph.shape(at)) / 4 for name, at in graph.inputs.items()}
    meant = meaning(graph, feeds)["z"]
    assert (np.abs(run_local(program, feeds)["z"] - meant.value) <= 1e-12 * meant.scale).all()


@pytest.mark.parametrize("name, dimension", [("w_q", 1), ("x", 0)], ids=["heads", "sequence"])
def test_attention_is_dearer_where_heads_or_sequence_may_not_be_cut(name, dimension):
    graph, mesh = prepare(attention_graph()), machine(4, bytes_per_second=1e8)
    dims = graph.nodes[graph.inputs[name]].dims
    assert seconds_without(dims[dimension][0], graph, mesh) > 1.02 * swept(graph, mesh).seconds
