"""`einsplit plan` with pins, with a mesh, with a time limit, and with its cache."""

from __future__ import annotations

import json
from importlib import import_module

import pytest

from einsplit.api import plan as make
from einsplit.errors import PlanError
from einsplit.solver.pins import kept_from, parse_pin
from einsplit.solver.plan import Plan
from einsplit.solver.planner import make_plan
from tests.doors.graphs import machine, mlp_graph

cli = import_module("einsplit.cli.plan")  # the package has the verb under this name


def cut_of(plan: Plan, name: str):
    return next(node.cut for node in plan.nodes if node.name == name)


@pytest.fixture
def planned(call, targets, tmp_path):
    """A plan of the small graph over 2 x 2 devices, as the words after `einsplit plan` make it."""

    def run(*words):
        out = tmp_path / "out.json"
        code, told, err = call("plan", f"{targets}:graph", "--devices", 4, "-o", out, *words)
        assert code == 0, err
        return Plan.load(out), told

    return run


def test_pins_are_kept_from_flags_and_printed_by_explain(planned):
    plan, told = planned("--pin", "w1=cpu0:h cpu1:whole", "--pin", "[x]=whole, cpu1")
    assert cut_of(plan, "w1") == ("h", None) and cut_of(plan, "x") == (None, "f")
    assert "cpu0:h" in told


def test_a_pinned_plan_costs_no_less_than_a_free_one(planned):
    assert planned("--pin", "@b=whole")[0].seconds >= planned()[0].seconds


def test_pins_from_a_plan_file_keep_the_named_nodes(planned, tmp_path):
    first, _ = planned("--pin", "w*=cpu0:h cpu1:whole")
    first.save(tmp_path / "first.json")
    second, _ = planned("--pins-from", f"{tmp_path}/first.json:w*", "--pin", "@b=whole")
    assert cut_of(second, "w1") == cut_of(second, "w2") == ("h", None)
    third, _ = planned("--pins-from", f"{tmp_path}/first.json")
    assert [node.cut for node in third.nodes] == [node.cut for node in first.nodes]


@pytest.mark.parametrize(
    "words, told",
    [
        (["--pin", "w1=cpu0:q"], "PlanError: node 'w1' cannot be q.\n  w1=cpu0:q\n          ^\n"),
        (["--pin", "w1"], "PlanError: a pin says what it keeps after '='.\n  w1\n    ^\n"),
        (["--pin", "w1=cpu0:h", "--pin", "@h=whole"], "PlanError: two pins contradict each other: node 'w1' has one"),
        (["--pins-from", "none.json"], "PlanError: plan file none.json cannot be read"),
        (["--pin", "w1=cpu0:h", "--method", "whole"], "PlanError: method 'whole' keeps no pins."),
        (["--mesh", "3x2"], "MachineError: mesh 3x2 does not fit machine 'cpu-4'"),
        (["--time-limit", "0"], "Invalid value for '--time-limit'"),
        (["--time-limit", "soon"], "Invalid value for '--time-limit'"),
    ],
)
def test_a_mistake_in_them_is_told_with_exit_code_2(words, told, call, targets):
    code, out, err = call("plan", f"{targets}:graph", "--devices", 4, *words)
    assert (code, out) == (2, "") and told in err and "Traceback" not in err


def test_a_mesh_splits_the_devices_anew(planned):
    assert [axis.size for axis in planned("--mesh", "4")[0].machine.axes] == [4]
    assert [axis.size for axis in planned("--mesh", "2x2")[0].machine.axes] == [2, 2]


def test_the_search_is_given_its_time(planned, monkeypatch):
    given = []

    def noting(graph, machine, method, progress=None, limit_seconds=None, **rest):
        given.append(limit_seconds)
        return make_plan(graph, machine, method, **rest)

    monkeypatch.setattr(cli, "make_plan", noting)
    planned("--time-limit", "2.5")
    planned()
    assert [seconds for seconds in given if seconds is not None] == [2.5]


def test_the_second_plan_is_from_the_cache_and_is_the_first(planned, tmp_path, monkeypatch):
    monkeypatch.setenv("EINSPLIT_CACHE", str(tmp_path / "plans"))
    first, told = planned("--pin", "@h=cpu0")
    assert "from the cache" not in told
    (file,) = (tmp_path / "plans").iterdir()
    second, told = planned("--pin", "@h=cpu0")
    assert second == first and f"from the cache: {file} (--no-cache plans anew)\n" in told
    for words in (["--pin", "@h=cpu1"], [], ["--pin", "@h=cpu0", "--no-cache"], ["--method", "sweep"]):
        assert "from the cache" not in planned(*words)[1]
    assert json.loads(planned("--json")[1])["from_cache"].startswith(str(tmp_path / "plans"))


def test_no_cache_neither_reads_nor_writes(planned, tmp_path, monkeypatch):
    monkeypatch.setenv("EINSPLIT_CACHE", str(tmp_path / "plans"))
    planned("--no-cache")
    assert not (tmp_path / "plans").exists()


def test_help_has_the_grammar_of_pins(call):
    _, out, _ = call("plan", "--help")
    assert "NODE=AXIS:LABEL ..." in out and "[TENSOR]=AXIS, ..." in out and "--pins-from PLAN.json[:NODE]" in out


# ---------------------------------------------------------------------------------------------------- from Python


def test_plan_takes_texts_pins_and_another_plan():
    graph, device = mlp_graph(), machine(2, 2)
    first = make(graph, device, pins=["w1=axis0:h", parse_pin("[x]=whole, axis1")])
    assert cut_of(first, "w1")[0] == "h" and cut_of(first, "x") == (None, "f")
    assert cut_of(make(graph, device, pins=[kept_from(first, "w1")]), "w1") == cut_of(first, "w1")
    with pytest.raises(PlanError, match=r"pins=\['w=gpu:h'\]"):
        make(graph, device, pins="w1=axis0:h")


def test_plan_leaves_nothing_on_disk_unless_it_is_asked_to(tmp_path, monkeypatch):
    monkeypatch.setenv("EINSPLIT_CACHE", str(tmp_path / "plans"))
    first = make(mlp_graph(), 2)
    assert not (tmp_path / "plans").exists()
    assert make(mlp_graph(), 2, cache=True) == first == make(mlp_graph(), 2, cache=True)
    assert len(list((tmp_path / "plans").iterdir())) == 1
