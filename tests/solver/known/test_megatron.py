"""Column, then row: a layer cut by heads and hidden units (Shoeybi et al. 2019) moves its activation four times."""

from __future__ import annotations

from functools import cache
from math import prod

import pytest

from einsplit.builder.views import Value
from einsplit.graph import Graph
from einsplit.scalar import call, const, operand
from einsplit.solver.machine import load_machine
from einsplit.solver.sharding import Sum
from tests.solver.known.cases import Found, Net, expert_seconds, machine, moved, planned, ring_bytes
from tests.support.cuttings import Cutting
from tests.support.spelled import spelled


def normed(net: Net, x: Value, name: str) -> Value:
    square = spelled("b s d -> b s", x, join=operand(0) * operand(0))
    scale = spelled("b s -> b s", square, join=call("rsqrt", operand(0) + const(1e-6)))
    return spelled("b s d, b s, d -> b s d", x, scale, net.weight(name, x.shape[-1]))


def added(x: Value, y: Value) -> Value:
    return spelled("b s d, b s d -> b s d", x, y, join=operand(0) + operand(1))


@cache
def llama(sequence: int, width: int, heads: int, head: int, hidden: int) -> Graph:
    """One layer of Llama for one sequence, its loss, and the gradients by all parameters and by what it is given."""
    net = Net()
    x = net.data("x", 1, sequence, width)
    u = normed(net, x, "norm1")
    q, k, v = (
        spelled("b s d, d h e -> b s h e", u, net.weight(name, width, heads, head), name=f"{name}.out")
        for name in "qkv"
    )
    scores = spelled("b i h e, b j h e -> b h i j", q, k, name="scores")
    total = spelled("b h i j -> b h i", scores, join=operand(0), agg="logsumexp")
    shares = spelled("b h i j, b h i -> b h i j", scores, total, join=call("exp", operand(0) - operand(1)))
    mixed = spelled("b h i j, b j h e -> b i h e", shares, v, name="mixed")
    x = added(x, spelled("b s h e, h e d -> b s d", mixed, net.weight("o", heads, head, width), name="o.out"))
    u = normed(net, x, "norm2")
    gate, up = (
        spelled("b s d, d f -> b s f", u, net.weight(name, width, hidden), name=f"{name}.out")
        for name in ("gate", "up")
    )
    silu = operand(0) * call("sigmoid", operand(0)) * operand(1)
    acted = spelled("b s f, b s f -> b s f", gate, up, join=silu)
    y = added(x, spelled("b s f, f d -> b s d", acted, net.weight("down", hidden, width), name="down.out"))
    error = operand(0) - operand(1)
    target = net.data("target", 1, sequence, width)
    return net.gradients(spelled("b s d, b s d -> ", y, target, join=error * error, name="loss"), "x")


# 7 positions and a width of 7: no mesh axis can cut either, so nothing but Megatron's cut is left to share the work.
TINY, ACTIVATION = (7, 7, 4, 32, 128), (7, 7)


@cache
def tiny(*mesh: int) -> Found:
    return planned(llama(*TINY), machine(*mesh, flops_per_second=1e9))


@pytest.mark.parametrize("mesh", [(2,), (4,), (2, 2)], ids=str)
def test_a_train_layer_cut_by_heads_and_hidden_units_moves_four_all_reduces_of_the_activation(mesh) -> None:
    found = tiny(*mesh)
    assert found.is_optimal
    assert found.kinds(*ACTIVATION) == {"all_reduce": 4}
    assert len(found.program.collectives) == 4  # and nothing else
    n = found.plan.machine.num_devices
    piece = -(-7 * 7 // n)
    ring = 2 * (n - 1) * piece * 4  # of 49 numbers in n pieces, the last one padded
    assert found.plan.bytes == 4 * min(ring, (n - 1) * 49 * 4)
    for name in ("q.out", "k.out", "v.out", "scores", "mixed", "o.out", "gate.out", "up.out", "down.out"):
        (choice,) = set(found.cut(name))
        assert isinstance(choice, str), name


def test_where_addends_may_not_flow_it_moves_seven() -> None:
    """Those of q, k and v, and of gate and up, are then brought together one by one."""
    found = tiny(4)
    shardings = tuple(
        tuple(None if isinstance(choice, Sum) else choice for choice in row) for row in found.solution.shardings
    )
    cutting = Cutting(found.solution.problem, shardings)
    assert [kind for kind, sizes, _ in moved(cutting.program) if sizes == ACTIVATION] == ["all_reduce"] * 7
    assert found.solution.problem.price(shardings).seconds > found.plan.seconds


def test_a_layer_of_70_billion_parameters_on_a_node_of_h100s_is_cut_so_with_the_sequence_between() -> None:
    """Korthikanti et al. 2022: an all-reduce is a reduce-scatter and an all-gather, and what is between them is cut.

    The last one is not gathered: what the layer gives back rests in pieces.
    """
    sequence, width = 512, 8192
    graph, on = llama(sequence, width, 64, 128, 28672), load_machine("h100x8")
    found = planned(graph, on)
    assert found.is_optimal
    assert found.kinds(sequence, width) == {"reduce_scatter": 4, "all_gather": 3}
    assert found.nbytes(sequence, width) == 7 * ring_bytes((sequence, width), 8) // 2
    assert found.plan.bytes < 1.01 * found.nbytes(sequence, width)
    for name in ("q", "k", "v", "o", "gate", "up", "down"):
        assert found.rests(name) * 8 == prod(graph.shape(graph.inputs[name])), name
    for expert in ("megatron", "megatron-sequence"):
        assert found.plan.seconds <= expert_seconds(expert, graph, on) * (1 + 1e-9)
