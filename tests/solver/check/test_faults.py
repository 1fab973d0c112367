"""A damaged plan has a fault, at the place that was damaged."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec
import pytest

from einsplit.builder import Builder
from einsplit.einsum import einsum
from einsplit.graph import Graph
from einsplit.solver.check import check_plan
from einsplit.solver.plan import Plan, realise
from einsplit.solver.planner import make_plan
from einsplit.solver.prepare import prepare
from einsplit.solver.problem.problem import Problem
from einsplit.solver.sharding import Sum, make_tables
from tests.doors.graphs import machine, mlp_graph
from tests.solver.check.plans import any_machine, random_plan, wrong
from tests.support.graphs import random_case

GRAPH = mlp_graph()
PLAN = make_plan(GRAPH, machine(2, 2), "joint")
NODES = range(len(PLAN.nodes))

replace = msgspec.structs.replace


def with_node(plan: Plan, at: int, **changed: object) -> Plan:
    rows = list(plan.nodes)
    rows[at] = replace(rows[at], **changed)
    return replace(plan, nodes=tuple(rows))


def unbound(plan: Plan, **changed: object) -> Plan:
    """Without a bound, which would not fit other seconds."""
    return replace(plan, bound=None, gap=None, **changed)


def found(plan: Plan, graph: Graph = GRAPH) -> dict[str, list[str]]:
    return wrong(check_plan(plan, graph))


def test_the_plan_that_is_damaged_here_is_sound_moves_something_and_is_certified():
    assert found(PLAN) == {}
    assert PLAN.bytes > 0 and PLAN.bytes_by_axis and PLAN.bound is not None
    assert any(row.bytes for row in PLAN.nodes) and any(row.runner_up for row in PLAN.nodes)


# ------------------------------------------------------------------------------------------------- figures


@pytest.mark.parametrize("at", [at for at in NODES if PLAN.nodes[at].seconds])
@pytest.mark.parametrize("share", [1.01, 0.99])
def test_a_node_whose_price_is_one_per_cent_off(at, share):
    faults = found(with_node(PLAN, at, seconds=PLAN.nodes[at].seconds * share))
    assert list(faults) == ["seconds"]
    (fault,) = faults["seconds"]
    assert fault.startswith(f"$.nodes[{at}].seconds ({PLAN.nodes[at].name}): ")


@pytest.mark.parametrize("at", NODES)
@pytest.mark.parametrize("more", [1, -1])
def test_a_node_whose_bytes_are_off_by_one(at, more):
    if PLAN.nodes[at].bytes + more >= 0:
        faults = found(with_node(PLAN, at, bytes=PLAN.nodes[at].bytes + more))
        assert list(faults) == ["bytes"] and len(faults["bytes"]) == 1
        assert faults["bytes"][0].startswith(f"$.nodes[{at}].bytes ({PLAN.nodes[at].name}): ")


def other_name(plan: Plan) -> dict[str, int]:
    (_, count), *rest = plan.bytes_by_axis.items()
    return dict([("axis0 x nothing", count), *rest])


@pytest.mark.parametrize(
    "damage, place",
    [
        pytest.param(lambda p: unbound(p, seconds=p.seconds * 1.01), "$.seconds: ", id="dearer"),
        pytest.param(lambda p: unbound(p, seconds=p.seconds * 0.99), "$.seconds: ", id="cheaper"),
        pytest.param(lambda p: replace(p, bytes=p.bytes + 1, bytes_by_axis={}), "$.bytes: ", id="a byte more"),
        pytest.param(
            lambda p: replace(p, bytes_by_axis=other_name(p)), "$.bytes_by_axis['axis0 x nothing']: ", id="other axes"
        ),
    ],
)
def test_totals_that_are_off(damage: Callable[[Plan], Plan], place: str):
    faults = found(damage(PLAN))
    assert len(faults) == 1 and any(fault.startswith(place) for row in faults.values() for fault in row)


@pytest.mark.parametrize("at", [at for at in NODES if PLAN.nodes[at].runner_up])
def test_a_runner_up_that_would_cost_something_else(at):
    row = PLAN.nodes[at]
    more = row.runner_up_seconds + 0.01 * (row.seconds or 1e-6)
    faults = found(with_node(PLAN, at, runner_up_seconds=more))
    assert list(faults) == ["their cost"]


def unchecked(plan: Plan, **changed: object) -> Plan:
    """A plan that would not load, as a file that was written by something else might."""
    made = replace(plan)
    for key, value in changed.items():
        msgspec.structs.force_setattr(made, key, value)
    return made


@pytest.mark.parametrize(
    "changed, place",
    [
        pytest.param({"bound": PLAN.seconds * 1.1}, "$.bound: ", id="a bound above the plan"),
        pytest.param({"gap": 0.5}, "$.gap: ", id="a gap that is none"),
        pytest.param({"gap": None}, "$.gap: ", id="a bound without a gap"),
        pytest.param({"status": "certain"}, "$.status: ", id="a status that nobody knows"),
    ],
)
def test_bounds_that_prove_nothing(changed, place):
    faults = found(unchecked(PLAN, **changed))
    assert list(faults) == ["bound"] and any(fault.startswith(place) for fault in faults["bound"])


# ------------------------------------------------------------------------------------------------- choices


def test_a_changed_cut_with_the_old_price():
    """Of every legal other choice of every node: wrong unless it costs as much to the byte, and to a millionth."""
    prepared = prepare(GRAPH)
    problem = Problem(prepared, PLAN.machine, make_tables(prepared, PLAN.machine.sizes, PLAN.digits))
    num_wrong = 0
    for at in NODES:
        for axis in range(2):
            for choice in problem.choices(at, axis):
                cut = tuple(choice if k == axis else old for k, old in enumerate(PLAN.nodes[at].cut))
                if cut == PLAN.nodes[at].cut:
                    continue
                faults = found(with_node(PLAN, at, cut=cut))
                cuts = [cut if k == at else row.cut for k, row in enumerate(PLAN.nodes)]
                price = problem.price(cuts)
                is_same = price.bytes_sent == PLAN.bytes and price.seconds == pytest.approx(PLAN.seconds, rel=1e-7)
                assert is_same or "bytes" in faults or "seconds" in faults, (at, cut)
                num_wrong += bool(faults)
    assert num_wrong > 20


def at_node(does: str) -> int:
    """The node of GRAPH with that join."""
    return next(at for at in NODES if does in PLAN.nodes[at].does)


@pytest.mark.parametrize(
    "does, carriers, message",
    [
        pytest.param("max(x, 0)", (0,), "max(x, 0) is not linear in operands [0] jointly", id="a ReLU"),
        pytest.param("x * y", (0, 1), "x * y is not linear in operands [0, 1] jointly", id="both factors"),
        pytest.param("x + y", (0,), "x + y is not linear in operands [0] jointly", id="one addend of two"),
        pytest.param("x * y", (), "addends of operands [], and the node has 2", id="no operand"),
        pytest.param("x * y", (0, 0), "addends of operands [0, 0], and the node has 2", id="an operand twice"),
        pytest.param("x * y", (2,), "addends of operands [2], and the node has 2", id="an operand too many"),
        pytest.param("parameter", (0,), "addends do not pass through what is no einsum", id="an input"),
    ],
)
def test_addends_where_the_join_is_not_linear(does, carriers, message):
    at = at_node(does)
    faults = found(with_node(PLAN, at, cut=(Sum(carriers), *PLAN.nodes[at].cut[1:])))
    assert list(faults) == ["sums"] and len(faults["sums"]) == 1
    assert faults["sums"][0].startswith(f"$.nodes[{at}].cut[0] (") and message in faults["sums"][0]


def test_an_output_left_as_addends():
    at = prepare(GRAPH).outputs[0][1]
    faults = found(with_node(PLAN, at, cut=(Sum((0,)), *PLAN.nodes[at].cut[1:])))
    assert "an output would be left as addends" in faults["sums"][0]


def test_a_runner_up_that_the_node_cannot_choose():
    at = at_node("max(x, 0)")
    faults = found(with_node(PLAN, at, runner_up=(Sum((0,)), None)))
    assert list(faults) == ["runners-up"] and f"$.nodes[{at}].runner_up[0]" in faults["runners-up"][0]


@pytest.mark.parametrize("label, message", [("nobody", "is no label of the node; it has"), ("b", "is no label")])
def test_a_label_that_the_node_does_not_have(label, message):
    at = at_node("parameter")
    faults = found(with_node(PLAN, at, cut=(label, None)))
    assert list(faults) == ["cuts"] and message in faults["cuts"][0] and f"$.nodes[{at}].cut[0]" in faults["cuts"][0]


def test_a_label_that_a_kernel_needs_whole():
    random = Random(0)
    while True:
        graph = random_case(random, exact=True, num_nodes=6).graph
        prepared = prepare(graph)
        kernels = [at for at, node in enumerate(prepared.nodes) if getattr(node, "brackets", ())]
        if kernels:
            break
    plan = random_plan(random, graph, any_machine(random, (2, 2)))
    label = prepared.nodes[kernels[0]].brackets[0]
    faults = found(with_node(plan, kernels[0], cut=(label, None)), graph)
    assert "is bracketed: the kernel needs it whole" in faults["cuts"][0]


# ----------------------------------------------------------------------------------------- digits, graph, machine


def tables(**changed: tuple[int, ...] | None) -> Plan:
    digits = {**PLAN.digits, **changed}
    return unchecked(PLAN, digits={label: axes for label, axes in digits.items() if axes is not None})


CUT = next(label for label in PLAN.digits if any(label in row.cut for row in PLAN.nodes))


@pytest.mark.parametrize(
    "plan, place, message",
    [
        pytest.param(tables(nobody=(0,)), "$.digits['nobody']: ", "the graph has no such label", id="no label"),
        pytest.param(tables(**{CUT: (0, 0)}), f"$.digits['{CUT}']: ", "an axis owns two digits: [0, 0]", id="twice"),
        pytest.param(tables(**{CUT: (0, 2)}), f"$.digits['{CUT}']: ", "axes [0, 2] of a machine that has 2", id="axis"),
        pytest.param(tables(b=(0, 1)), "$.digits['b']: ", "2 elements of padding for 6, and 1 for 8", id="padding"),
    ],
)
def test_a_digit_table_that_numbers_nothing(plan, place, message):
    faults = found(plan)
    assert list(faults) == ["digits"]
    assert faults["digits"][0].startswith(place) and message in faults["digits"][0]


def test_a_table_of_more_pieces_than_elements():
    graph = mlp_graph(6, 16)
    plan = make_plan(graph, machine(8), "whole")
    faults = found(unchecked(plan, digits={"b": (0,)}), graph)
    assert "8 pieces of 6 elements" in faults["digits"][0]


def test_a_table_that_is_left_out():
    faults = found(tables(**{CUT: None}))
    assert list(faults) == ["cuts"] and f"the digit table of '{CUT}" in faults["cuts"][0]


def test_two_tables_of_one_class():
    """The rows of x are read as i and as j."""
    builder = Builder()
    x = builder.input("x", (8, 4), "float32", labels=["i", "d"])
    graph = builder.build({"y": einsum("i d, j d -> i j", x, x)})
    plan = make_plan(graph, machine(2), "whole")
    labels = prepare(graph).sizes
    one, two = (label for label in labels if labels[label] == 8)
    faults = found(unchecked(plan, digits={one: (0,), two: (0,)}), graph)
    message = f"names the same dimension as {one!r}, which has a table already"
    assert faults == {"digits": [f"$.digits[{two!r}]: {message}"]}


def test_another_graph():
    checks = check_plan(PLAN, mlp_graph(hidden=32))
    verdicts = {row.name: row.verdict for row in checks}
    assert verdicts["graph"] == "wrong" and verdicts["machine"] == verdicts["bound"] == "ok"
    assert set(verdicts.values()) == {"wrong", "ok", "not checked"}
    assert "means nothing while graph is not ok" in {row.name: row.about for row in checks}["nodes"]


@pytest.mark.parametrize("changed", [{"does": "parameter q r"}, {"reads": (0,)}])
def test_a_row_of_another_node(changed):
    at = at_node("max(x, 0)")
    faults = found(with_node(PLAN, at, **changed))
    assert list(faults) == ["nodes"] and f"$.nodes[{at}].{next(iter(changed))} (" in faults["nodes"][0]


def test_a_row_that_is_left_out():
    assert "$.nodes: " in found(replace(PLAN, nodes=PLAN.nodes[:-1]))["nodes"][0]


@pytest.mark.parametrize("figure", ["flops_per_second", "memory_bytes_per_second", "launch_seconds"])
def test_another_machine(figure):
    other = replace(PLAN.machine, **{figure: 1.01 * getattr(PLAN.machine, figure)})
    assert "seconds" in found(unchecked(PLAN, machine=other))


@pytest.mark.parametrize("figure", ["bytes_per_second", "latency_seconds"])
def test_a_machine_with_another_link(figure):
    axes = tuple(replace(axis, **{figure: 1.01 * getattr(axis, figure)}) for axis in PLAN.machine.axes)
    assert "seconds" in found(unchecked(PLAN, machine=replace(PLAN.machine, axes=axes)))


def test_a_machine_that_cannot_be():
    other = replace(PLAN.machine)
    msgspec.structs.force_setattr(other, "flops_per_second", -1.0)
    faults = found(unchecked(PLAN, machine=other))
    assert faults["machine"] == ["$.machine.flops_per_second: -1.0 is not positive and finite"]


def test_a_plan_that_is_used_is_judged_alike():
    """What the checks find sound, the planner's own check takes."""
    random = Random(4)
    for _ in range(10):
        graph = random_case(random, exact=True, num_nodes=4).graph
        plan = random_plan(random, graph, any_machine(random, (2, 2)))
        assert found(plan, graph) == {}
        realise(plan, graph)
