"""A vocabulary cut over devices: of embedding and cross-entropy nothing moves that has its size."""

from __future__ import annotations

import numpy as np
import pytest

from einsplit.builder import Builder, Origin, variable_index
from einsplit.graph import Graph
from einsplit.scalar import call, const, operand
from einsplit.solver.prepare import prepare
from tests.solver.known.cases import Net, acted, machine, moved, planned, seconds_without
from tests.support.cuttings import Cutting, run_local
from tests.support.searches import swept
from tests.support.spelled import spelled

TOKENS, FEATURES = 8, 5  # an odd number of features: no axis of 2 or 4 may cut them


def vocabulary_graph() -> Graph:
    """Rows of a big table that is itself computed: who does not cut its rows computes all of them."""
    builder = Builder()
    ids = builder.input("ids", (TOKENS,), "int64", labels=["s"])
    left = builder.input("left", (4096, 63), "float64", labels=["v", "k"])
    right = builder.input("right", (63, FEATURES), "float64", labels=["k", "d"])
    table = spelled("v k, k d -> v d", left, right)
    s, v, d = (builder.variable(n) for n in (TOKENS, *table.shape))
    join = call("where", call("eq", operand(0), variable_index(v)), operand(1), const(0.0))
    reads = [(ids, ((s,),)), (table, ((v,), (d,)))]
    rows = builder.einsum(reads, ((s,), (d,)), join, "sum", Origin("rows"))
    return prepare(builder.build({"rows": rows}))


@pytest.mark.parametrize("size", [2, 4])
def test_a_vocabulary_parallel_embedding_is_the_optimum_of_its_graph(size):
    graph, mesh = vocabulary_graph(), machine(size, memory_bytes_per_second=1e10)
    found = swept(graph, mesh)
    program = Cutting(found.problem, found.shardings).program
    (reduced,) = program.collectives  # one, and of the few rows that were asked for, never of the table
    assert reduced.kind in ("all_reduce", "reduce_scatter")
    assert program.buffers[reduced.source].shape == (TOKENS, FEATURES)
    assert program.buffers[reduced.source].partial == (0,)
    assert seconds_without("v", graph, mesh) > 1.5 * found.seconds
    random = np.random.default_rng(0)
    feeds = {
        "ids": random.integers(0, 4096, TOKENS),
        "left": random.normal(size=(4096, 63)),
        "right": random.normal(size=(63, FEATURES)),
    }
    rows = run_local(program, feeds)["rows"]
    np.testing.assert_allclose(rows, (feeds["left"] @ feeds["right"])[feeds["ids"]], atol=1e-12)


# --------------------------------------------------------------------------------------------------- cross-entropy

ROWS, WIDTH, VOCABULARY = 16, 16, 1024


def head(rows: int, width: int, vocabulary: int) -> Graph:
    """A train step of a layer, the logits of a vocabulary, and their cross-entropy with the tokens that came."""
    net = Net()
    raw, ids = net.data("x", rows, width), net.data("ids", rows, dtype="int64")
    x = acted("t a", spelled("t d, d a -> t a", raw, net.weight("first", width, width)))
    logits = spelled("t d, v d -> t v", x, net.weight("table", vocabulary, width), name="logits")
    total = spelled("t v -> t", logits, join=operand(0), agg="logsumexp", name="total")
    t, v = (net.builder.variable(n) for n in logits.shape)
    join = call("where", call("eq", operand(0), variable_index(v)), operand(1), const(0.0))
    picked = net.builder.einsum([(ids, ((t,),)), (logits, ((t,), (v,)))], ((t,),), join, "sum", Origin("picked"))
    return net.step(spelled("t, t -> ", total, picked, join=operand(0) - operand(1), name="loss"))


@pytest.mark.parametrize("mesh", [(4,), (2, 4)], ids=str)
def test_the_logits_of_a_big_vocabulary_are_never_gathered(mesh):
    found = planned(head(ROWS, WIDTH, VOCABULARY), machine(*mesh))
    assert found.is_optimal
    (vocabulary,) = set(found.cut("table"))
    of_logits = [row for row in found.plan.nodes if vocabulary in row.does.split()]
    assert len(of_logits) > 10 and all(row.cut == (vocabulary,) * len(mesh) for row in of_logits)
    sizes = {of for _, of, _ in moved(found.program)}
    assert sizes <= {(), (ROWS,), (ROWS, WIDTH)}  # none has the vocabulary
    n = found.plan.machine.num_devices
    # Sums of exponentials, and the picked logits as addends of the loss: numbers of a row, not rows of numbers.
    assert found.nbytes(ROWS) <= 2 * (n - 1) * ROWS * 4 and found.nbytes() == (n - 1) * 4
    assert found.rests("table") == VOCABULARY * WIDTH // n
