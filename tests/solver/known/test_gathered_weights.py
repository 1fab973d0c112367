"""Where memory binds, parameters rest in pieces and are gathered for use, once forward and once backward (ZeRO-3)."""

from __future__ import annotations

from functools import cache

import pytest

from einsplit.graph import Graph
from tests.solver.known.cases import Found, Net, acted, expert_seconds, machine, planned, ring_bytes, squares
from tests.support.spelled import spelled

BATCH, WIDTH, HIDDEN, LAYERS = 1024, 32, 64, 2
PARAMETERS = [f"{name}{layer}" for layer in range(LAYERS) for name in ("up", "down")]
SHAPES = ((WIDTH, HIDDEN), (HIDDEN, WIDTH))
DEVICES = 4


@cache
def layers() -> Graph:
    net = Net()
    x = net.data("x", BATCH, WIDTH)
    for layer in range(LAYERS):
        up = net.weight(f"up{layer}", WIDTH, HIDDEN)
        hidden = acted("b f", spelled("b a, a f -> b f", x, up, name=f"up{layer}.out"))
        down = net.weight(f"down{layer}", HIDDEN, WIDTH)
        x = acted("b a", spelled("b f, f a -> b a", hidden, down, name=f"down{layer}.out"))
    return net.step(squares("b a", x))


def gathers(found: Found) -> int:
    return sum(found.kinds(*shape).get("all_gather", 0) for shape in SHAPES)


@cache
def free() -> Found:
    return planned(layers(), machine(DEVICES))


@cache
def tight() -> Found:
    return planned(layers(), machine(DEVICES), memory_bytes=free().plan.peak_bytes - 1)


def test_with_memory_to_spare_each_parameter_is_gathered_once() -> None:
    found = free()
    assert found.is_optimal
    assert gathers(found) == len(PARAMETERS)
    assert found.plan.bytes == LAYERS * sum(ring_bytes(shape, DEVICES) for shape in SHAPES) + (DEVICES - 1) * 4
    assert any(found.rests(name) == WIDTH * HIDDEN for name in PARAMETERS)
    assert found.plan.seconds <= expert_seconds("data-parallel", layers(), machine(DEVICES)) * (1 + 1e-9)


def test_where_memory_binds_parameters_rest_in_pieces() -> None:
    found = tight()
    assert found.plan.peak_bytes < free().plan.peak_bytes
    assert {found.rests(name) for name in PARAMETERS} == {WIDTH * HIDDEN // DEVICES}


def test_where_memory_binds_parameters_are_gathered_for_forward_and_again_for_backward() -> None:
    """But for the first one, which no gradient of an input needs."""
    found = tight()
    assert gathers(found) == 2 * len(PARAMETERS) - 1
    scattered = sum(found.kinds(*shape).get("reduce_scatter", 0) for shape in SHAPES)
    assert scattered == len(PARAMETERS)  # their gradients
    again = (len(PARAMETERS) - 1) * ring_bytes((WIDTH, HIDDEN), DEVICES) // 2
    assert found.plan.bytes == free().plan.bytes + again
    assert found.plan.bound is not None and found.plan.bound <= found.plan.seconds
    assert free().plan.seconds < found.plan.seconds < 1.05 * free().plan.seconds


@pytest.mark.parametrize("name", PARAMETERS[1:])
def test_the_two_uses_of_a_parameter_are_nodes_of_the_plan(name: str) -> None:
    graph = tight().solution.problem.graph
    at = graph.inputs[name]
    (use,) = [k for k, node in enumerate(graph.nodes) if [o.node for o in node.operands] == [at]]
    assert graph.nodes[use].name == f"{name}.use"
    readers = [node.name for node in graph.nodes if use in [o.node for o in node.operands]]
    assert f"{name}.out" in readers and f"{name}.after" in readers
