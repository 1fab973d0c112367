"""A plan as a table: what a person reads before believing it."""

from __future__ import annotations

import re

import msgspec
import pytest

from einsplit.api import plan as make
from einsplit.errors import MachineError, PlanError
from einsplit.solver.machine import MeshAxis
from einsplit.solver.plan import NodePlan
from einsplit.solver.plan.explain import WIDTH, kind_of, plan_rows, plan_table
from einsplit.solver.sharding import Sum
from einsplit.solver.units import bytes_text, seconds_text
from tests.doors.graphs import machine, mlp_graph

PLAN = make(mlp_graph(), machine(2, 2))


def with_rows(*rows):
    return msgspec.structs.replace(PLAN, nodes=rows, bound=None, gap=None)


def row(name, cut=(None, None), seconds=1e-3, nbytes=0, runner_up=None, more=0.0, does="b -> b, x"):
    return NodePlan(
        name=name, does=does, cut=cut, seconds=seconds, bytes=nbytes, runner_up=runner_up, runner_up_seconds=more
    )


def test_the_whole_table():
    layers = [row(f"layers.{k}.up.linear_{k}", ("h", "h"), 2.5e-3, 0, ("h", None), 1.25e-3) for k in range(3)] + [
        row(f"layers.{k}.down.linear_{k}", ("b", Sum((0,))), 1e-3, 4096, ("b", "h"), 2e-6) for k in range(3)
    ]
    head = row("head", (None, None), 20e-9, 1_500_000)
    free = row("x.use", ("b", "b"), 0.0)
    plan = msgspec.structs.replace(with_rows(*layers, head, free), seconds=0.0105, bytes=1_512_288)
    assert plan_table(plan).splitlines() == [
        "plan for test (axis0:2 x axis1:2), by search",
        "10.5 ms a step, 1.51 MB sent by each device; "
        "no single mesh axis, changed at all nodes at once, makes it cheaper",
        "",
        "node                     cut by                   moves   price  runner-up",
        "layers.*.up.linear x3    axis0-1:h                  0 B  7.5 ms  axis1:whole  +1.25 ms",
        "layers.*.down.linear x3  axis0:b axis1:sum(x0)  12.3 kB    3 ms  axis1:h         +2 us",
        "head                     whole                   1.5 MB   20 ns",
        "and 1 that cost nothing",
    ]


def test_the_rows_hold_all_nodes_and_add_up_to_the_plan():
    rows = plan_rows(PLAN, full=True)
    assert [found.count for found in rows] == [1] * len(PLAN.nodes)
    for found in (rows, plan_rows(PLAN)):
        assert sum(one.seconds for one in found) == pytest.approx(PLAN.seconds, rel=1e-9)
        assert sum(one.bytes for one in found) == PLAN.bytes


def test_a_table_fits_120_columns_and_long_names_keep_their_ends():
    name = "transformer.encoder.layers.3.attention.self.scaled_dot_product_attention_12.weighted.values"
    long = "a_long_label_of_somebodys_model_0"
    table = plan_table(with_rows(row(name, (long, long), runner_up=("other_label", long)), row("short", (long, None))))
    assert max(map(len, table.splitlines())) <= WIDTH
    assert re.search(r"^transformer[a-z.*]*\.\.\.[a-z_.]*weighted\.values ", table, re.MULTILINE)
    assert "\nshort " in table


def test_an_einsum_without_a_name_is_shown_as_what_it_does():
    table = str(PLAN)
    assert "\nb f, f h -> b h, x * y, sum " in table and "einsum" not in table


def test_what_would_move_a_terminals_cursor_is_not_printed():
    evil = "\x1b[2J\r\n\x07"
    machine = msgspec.structs.replace(PLAN.machine, name=evil)
    table = str(msgspec.structs.replace(with_rows(row(evil, (evil, None), runner_up=(None, evil))), machine=machine))
    assert len(table.splitlines()) == 5 and not set(table) & set("\x1b\r\x07")


@pytest.mark.parametrize(
    "name, kind",
    [
        ("model.layers.3.mlp.gate_proj.linear_12", "model.layers.*.mlp.gate_proj.linear"),
        ("layers.0.1.conv", "layers.*.*.conv"),
        ("2.linear_1", "2.linear"),
        ("linear_1.use", "linear.use"),
        ("layer1.weight", "layer1.weight"),
        ("x", "x"),
    ],
)
def test_names_of_one_kind_differ_in_the_number_of_their_layer(name, kind):
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    "value, text",
    [
        (0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1500, "1.5 kB"), (999_499, "999 kB"), (999_600, "1 MB"),
        (3_140_000, "3.14 MB"), (2_500_000_000, "2.5 GB"), (7e12, "7 TB"), (12_345e12, "12,345 TB"),
    ],
)  # fmt: skip
def test_bytes_have_three_digits_and_a_unit_of_1000(value, text):
    assert bytes_text(value) == text


@pytest.mark.parametrize(
    "value, text",
    [
        (0.0, "0 s"), (1.5, "1.5 s"), (12_345.0, "12,345 s"), (0.9996, "1 s"), (1.9e-3, "1.9 ms"), (2e-6, "2 us"),
        (5e-9, "5 ns"), (2.5e-12, "0.0025 ns"), (-1.5e-3, "-1.5 ms"),
    ],
)  # fmt: skip
def test_seconds_have_three_digits_and_a_unit(value, text):
    assert seconds_text(value) == text


def test_methods_say_what_is_proven_of_their_plans():
    graph = mlp_graph(batch=2, hidden=2)
    said = {
        method: str(make(graph, 2, method)).splitlines()[1].split("; ")[1] for method in ("search", "joint", "whole")
    }
    assert said == {
        "search": "optimal over the digit tables tried",
        "joint": "optimal over the digit tables tried",
        "whole": "not searched",
    }


@pytest.mark.parametrize(
    "status, gap, said",
    [
        ("settled", None, "no single mesh axis, changed at all nodes at once, makes it cheaper"),
        (
            "folded",
            None,
            "no single mesh axis, changed at all nodes and in all repeated layers alike, makes it cheaper",
        ),
        ("searched", 0.01234, "at most 1.2 % above the cheapest over the digit tables tried"),
        ("folded", 0.0, "optimal over the digit tables tried and layers cut alike"),
    ],
)
def test_a_plan_says_how_far_from_the_cheapest_it_may_be(status, gap, said):
    bound = None if gap is None else PLAN.seconds / (1 + gap)
    plan = msgspec.structs.replace(PLAN, status=status, gap=gap, bound=bound)
    assert str(plan).splitlines()[1].endswith(f"; {said}")


def test_what_cannot_be_planned_is_a_plan_error_with_a_way_out():
    graph = mlp_graph()
    with pytest.raises(PlanError, match=r"^unknown method 'swep'\.\n  Did you mean 'sweep'\?$"):
        make(graph, 2, "swep")
    with pytest.raises(PlanError, match=r"^brute force over .* plans: the limit is .*; use method='search'$"):
        make(graph, 8, "brute")
    with pytest.raises(PlanError, match=r"^method 'joint' cannot plan this graph: (.|\n)*\n  Use method='search'\.$"):
        make(graph, 256, "joint")
    with pytest.raises(PlanError, match=r"^brute force over more than 2,000,000 plans\.\n  Use method='search'\.$"):
        make(mlp_graph(batch=2**16), 2**16, "brute")
    slow = msgspec.structs.replace(machine(2), flops_per_second=5e-324)
    with pytest.raises(PlanError, match=r"^no finite price on machine 'test'"):
        make(graph, slow)
    with pytest.raises(PlanError, match=r"^plan takes a Graph, not int: plan\(trace\(model, x\), 4\)$"):
        make(7, 2)


def test_a_machine_is_a_count_a_name_a_file_or_a_machine(tmp_path):
    (tmp_path / "desk.json").write_bytes(msgspec.json.encode(machine(2, 2)))
    graph = mlp_graph()
    for given, name in [(4, "cpu-4"), ("cpu-4", "cpu-4"), (tmp_path / "desk.json", "test"), (machine(2, 2), "test")]:
        plan = make(graph, given)
        assert plan.machine.name == name and plan.machine.num_devices == 4
    for wrong in (None, [4], 0, 2.5, True):
        with pytest.raises(MachineError):
            make(graph, wrong)
    with pytest.raises(MachineError, match=r"axis 'lan': size is '2', and must be a whole number"):
        msgspec.structs.replace(machine(2), axes=(MeshAxis("lan", "2", 1e9, 0.0),))


def test_one_device_has_nothing_to_choose():
    plan = make(mlp_graph(), 1)
    assert str(plan).startswith("plan for cpu-1 (one device), by search\n") and plan.bytes == 0
    assert all(row.cut == () and row.runner_up is None for row in plan.nodes)


def test_progress_is_told_while_searching():
    told = []
    make(mlp_graph(), 4, progress=told.append)
    assert len(told) > 1 and told == sorted(told, key=lambda one: (-one.best, one.elapsed))
    assert told[-1].bound is not None and 0 <= told[-1].gap < 1e-6
