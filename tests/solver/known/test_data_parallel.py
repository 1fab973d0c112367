"""A small model and a big batch: the batch is cut, and nothing moves but what updates the parameters."""

from __future__ import annotations

import pytest

from einsplit.graph import Graph
from einsplit.solver.machine import load_machine
from tests.solver.known.cases import Net, acted, expert_seconds, machine, planned, ring_bytes, squares
from tests.support.spelled import spelled

BATCH, WIDTH, HIDDEN, CLASSES = 4096, 16, 32, 8


def perceptron() -> Graph:
    net = Net()
    up = spelled("b a, a f -> b f", net.data("x", BATCH, WIDTH), net.weight("up", WIDTH, HIDDEN), name="up.out")
    y = spelled("b f, f c -> b c", acted("b f", up), net.weight("down", HIDDEN, CLASSES), name="down.out")
    return net.step(squares("b c", y))


@pytest.mark.parametrize("mesh", [(4,), (2, 4)], ids=str)
def test_a_small_model_with_a_big_batch_is_trained_data_parallel(mesh: tuple[int, ...]) -> None:
    graph, on = perceptron(), machine(*mesh)
    found = planned(graph, on)
    assert found.is_optimal
    (batch,) = set(found.cut("x"))
    of_batch = [row for row in found.plan.nodes if isinstance(batch, str) and batch in row.does.split()]
    assert len(of_batch) > 10 and all(row.cut == (batch,) * len(mesh) for row in of_batch)
    # Scattered gradients and gathered parameters are the two halves of an all-reduce: ZeRO-1 moves as much.
    n = on.num_devices
    gradients = ring_bytes((WIDTH, HIDDEN), n) + ring_bytes((HIDDEN, CLASSES), n)
    loss = (n - 1) * 4  # one number: whole partial results are gathered
    assert found.plan.bytes == gradients + loss
    assert found.plan.seconds <= expert_seconds("data-parallel", graph, on) * (1 + 1e-9)


def test_a_small_model_with_a_big_batch_is_trained_data_parallel_on_a_node_of_h100s() -> None:
    net = Net()
    up = spelled("b a, a f -> b f", net.data("x", 2**18, 256), net.weight("up", 256, 512), name="up.out")
    y = spelled("b f, f c -> b c", acted("b f", up), net.weight("down", 512, 64), name="down.out")
    found = planned(net.step(squares("b c", y)), load_machine("h100x8"))
    assert found.is_optimal
    (batch,) = set(found.cut("x"))
    assert {found.cut(name) for name in ("up.out", "down.out", "loss")} == {(batch, batch)}
    assert found.plan.bytes == ring_bytes((256, 512), 8) + ring_bytes((512, 64), 8) + 7 * 4
