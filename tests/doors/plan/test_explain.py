"""A plan as a table: what a person reads before believing it."""

from __future__ import annotations

import re

import msgspec
import pytest

from einsplit.api import plan as make
from einsplit.errors import MachineError, PlanError
from einsplit.solver.machine import MeshAxis
from einsplit.solver.plan import NodePlan, Words
from einsplit.solver.plan.explain import WIDTH, kind_of, plan_rows, plan_table, proof_text
from einsplit.solver.plan.words import ratio_text
from einsplit.solver.sharding import Sum
from einsplit.solver.units import bytes_text, seconds_text
from tests.doors.graphs import machine, mlp_graph

PLAN = make(mlp_graph(), machine(2, 2))


def with_rows(*rows):
    found = sum(one.bytes for one in rows)
    return msgspec.structs.replace(
        PLAN, nodes=rows, bound=None, gap=None, bytes=found, bytes_by_axis={"axis1": found} if found else {}
    )


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
    plan = msgspec.structs.replace(with_rows(*layers, head, free), seconds=0.0105, peak_bytes=400_000_000)
    assert plan_table(plan).splitlines() == [
        "plan for test (axis0:2 x axis1:2), by search",
        "10.5 ms a step, 1.51 MB sent by each device",
        "bound: none; no single mesh axis, changed at all nodes at once, makes it cheaper",
        "each device holds at most 400 MB of 1 GB; sends 1.51 MB over axis1",
        "",
        "node                     cut by                   moves   price  runner-up",
        "layers.*.up.linear x3    axis0-1:h                  0 B  7.5 ms  axis1:whole  +1.25 ms",
        "layers.*.down.linear x3  axis0:b axis1:sum(x0)  12.3 kB    3 ms  axis1:h         +2 us",
        "head                     whole                   1.5 MB   20 ns",
        "and 1 that cost nothing",
    ]


def test_words_are_three_columns_more_with_their_sum_and_the_caveats_beneath():
    layers = [
        msgspec.structs.replace(
            row(f"layers.{k}.up", ("h", None), 1e-3, 40), words=Words(4_200_000, 3_281_250.0, 4.2e6)
        )
        for k in range(2)
    ]
    act = msgspec.structs.replace(row("act"), words=Words(128, 0.0, 0.0))
    wide = msgspec.structs.replace(row("wide"), words=Words(0, 4e6))
    kernel = msgspec.structs.replace(row("kernel"), words=Words(1_000_000))
    plan = msgspec.structs.replace(with_rows(*layers, act, wide, kernel, row("out")), peak_bytes=0, bytes_by_axis={})
    table, said = plan_table(plan, words=True).split("\n\n")[1:]
    assert table.splitlines() == [
        "node            cut by   moves  price  runner-up    words  / bound  / grid",
        "layers.*.up x2  axis0:h   80 B   2 ms                8.4M    1.28x   1.00x",
        "act             whole      0 B   1 ms                 128   over 0  over 0",
        "wide            whole      0 B   1 ms                   0    0.00x",
        "kernel          whole      0 B   1 ms                  1M",
        "out             whole      0 B   1 ms",
    ]
    assert max(map(len, said.splitlines())) <= WIDTH
    assert re.split(r"\n- ", re.sub(r"\n(?!- )\s*", " ", said)) == [
        "each device sends 9.4M words; vs isolated operators 0.80x their bounds (8.4M of 10.6M), "
        "1.00x their best grids (8.4M of 8.4M)",
        "A reduction counts at the node whose addends it combines; "
        "all else that moves, at the operation that reads it first.",
        "Bounds are of operations on their own, with operands and result stored once, evenly. A parameter that rests "
        "replicated is outside this setting, and a node that reads one may move less than its bound.",
        "A producer may leave its value where the reader wants it, and a gather that several readers share counts at "
        "the first of them: sums over a plan compare it with isolated operations, and are never called optimal.",
        "Bounds count scalars moved by boxes of real sizes: there need be no box of whole numbers that attains one.",
    ]


def test_words_change_nothing_of_the_other_columns():
    plain, worded = (plan_table(PLAN, words=words).splitlines() for words in (False, True))
    assert [line.startswith(start) for line, start in zip(worded, plain, strict=False)] == [True] * len(plain)
    assert plan_table(with_rows(row("x")), words=True).splitlines()[-1].startswith("x ")  # written without words


@pytest.mark.parametrize(
    "moved, least, text",
    [
        (0, None, ""), (5, None, ""), (0, 0.0, "1.00x"), (5, 0.0, "over 0"), (0, 5.0, "0.00x"), (5, 5.0, "1.00x"),
        (1000, 10.0, "100x"), (999, 10.0, "99.90x"), (123_456, 1.0, "123,456x"), (12_345_678, 1.0, "1e+07x"),
        (10**29, 5e-324, "2e+308x"),
    ],
)  # fmt: skip
def test_words_are_so_many_times_what_had_to_move(moved, least, text):
    assert ratio_text(moved, least) == text


def test_bytes_by_axis_are_told_most_first_and_the_rest_together():
    sent = {"axis0": 1, "axis0 x axis1": 4, "axis1": 2, "b": 3, "a": 3}
    plan = msgspec.structs.replace(PLAN, bytes=13, bytes_by_axis=sent, peak_bytes=0)
    assert str(plan).splitlines()[2] == "sends 4 B over axis0 x axis1, 3 B over a, 3 B over b, 3 B over others"


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
    assert len(table.splitlines()) == 7 and not set(table) & set("\x1b\r\x07")


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
    said = {method: proof_text(make(graph, 2, method)) for method in ("search", "joint", "whole")}
    assert said == {
        "search": "optimal over the digit tables tried",
        "joint": "optimal over the digit tables tried",
        "whole": "bound: none; not searched",
    }


@pytest.mark.parametrize(
    "status, gap, said",
    [
        ("settled", None, "\nbound: none; no single mesh axis, changed at all nodes at once, makes it cheaper\n"),
        (
            "folded",
            None,
            "\nbound: none; no single mesh axis, changed at all nodes at once, makes it cheaper, repeated layers cut "
            "alike\n",
        ),
        ("searched", None, "\nbound: none; the cheapest that was found, nothing is proven of it\n"),
        ("stopped", None, "\nbound: none; the cheapest that was found before the search was stopped\n"),
        ("searched", 0.01234, "; at most 1.2 % above the cheapest over the digit tables tried"),
        ("folded", 0.0, "; optimal over the digit tables tried and layers cut alike\n"),
    ],
)
def test_a_plan_says_how_far_from_the_cheapest_it_may_be(status, gap, said):
    bound = None if gap is None else PLAN.seconds / (1 + gap)
    plan = msgspec.structs.replace(PLAN, status=status, gap=gap, bound=bound)
    assert said in str(plan) and ("bound" in str(plan)) is (gap is None)


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
