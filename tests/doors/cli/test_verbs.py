"""The command line: each verb as text and as JSON, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from einsplit.errors import RunError, WorkerError
from einsplit.runtime.local import LocalSession
from einsplit.solver.plan import Plan
from einsplit.solver.plan.explain import plan_table
from tests.doors.cli.lines import ROOT

# ------------------------------------------------------------------------------------------------------------ verbs


def test_plan_prints_a_table_and_what_it_is_compared_with(call, targets):
    code, out, err = call("plan", f"{targets}:graph", "--devices", 4)
    assert code == 0 and err == ""
    assert out.startswith("plan for cpu-4 (cpu0:2 x cpu1:2), by search\n")
    assert "\nnode " in out and "\ndata-parallel: " in out and "\nwhole: " in out and "\ntraced in " in out


def test_plan_as_json_holds_the_figures_of_the_plan_it_writes(call, targets, tmp_path):
    code, out, err = call("plan", f"{targets}:mlp", "--devices", 4, "-o", tmp_path / "out.json", "--json")
    fields, plan = json.loads(out), Plan.load(tmp_path / "out.json")
    assert (code, err) == (0, "")
    assert fields["seconds"] == plan.seconds and fields["bytes"] == plan.bytes
    assert fields["nodes"] == len(plan.nodes) and fields["devices"] == 4 and fields["machine"] == "cpu-4"
    assert fields["seconds"] <= min(rival["seconds"] for rival in fields["rivals"].values())


def test_explain_prints_what_plan_prints(call, targets, tmp_path):
    _, planned, _ = call("plan", f"{targets}:mlp", "--devices", 4, "-o", tmp_path / "out.json")
    code, out, err = call("explain", tmp_path / "out.json")
    assert (code, err) == (0, "") and planned.startswith(out)


def test_explain_full_has_a_row_for_every_node(call, plan_path):
    rows = json.loads(call("explain", plan_path, "--full", "--json")[1])["rows"]
    assert [row["count"] for row in rows] == [1] * len(Plan.load(plan_path).nodes)
    plan = Plan.load(plan_path)
    assert call("explain", plan_path, "--full") == (0, plan_table(plan, full=True, words=True) + "\n", "")


def test_explain_words_has_the_words_of_every_row(call, plan_path):
    plan = Plan.load(plan_path)
    assert call("explain", plan_path, "--words") == (0, plan_table(plan, words=True) + "\n", "")
    rows = json.loads(call("explain", plan_path, "--full", "--json")[1])["rows"]
    assert [row["words"] for row in rows] == [
        one.words and {"moved": one.words.moved, "bound": one.words.bound, "grid": one.words.grid} for one in plan.nodes
    ]


def test_words_are_of_a_plan_file(call, targets):
    code, _, err = call("explain", f"{targets}:mlp", "--capture", "--words")
    assert code == 2 and "--words is of a plan file: leave out --capture" in err


@pytest.mark.parametrize("name", ["mlp", "keywords", "graph", "GRAPH"])
def test_run_computes_what_the_original_does(name, call, targets):
    code, out, err = call("run", f"{targets}:{name}", "--check", "--json", "--devices", 2)
    fields = json.loads(out)
    assert (code, err) == (0, "")
    assert fields["difference"] < 1e-5 and len(fields["step_seconds"]) == 3 and fields["outputs"]
    assert fields["bytes_moved"] == [fields["bytes_predicted"]] * 2


def test_run_takes_a_plan_file_and_prints_what_was_predicted_and_moved(call, targets, plan_path):
    code, out, err = call("run", f"{targets}:graph", "--plan", plan_path, "--steps", 1, "--check")
    sent = Plan.load(plan_path).bytes
    assert (code, err) == (0, "")
    assert f"bytes sent by each device: {sent} B predicted, {sent} B moved" in out
    assert "1 steps on 4 local devices" in out and "largest difference from the original: " in out


@pytest.mark.parametrize("verb", [(), ("plan",), ("explain",), ("run",)])
def test_help_shows_an_example(verb, call):
    code, out, err = call(*verb, "--help")
    assert (code, err) == (0, "")
    assert f"einsplit {' '.join(verb)}".rstrip() in out
    assert "Example: einsplit " in out or not verb


def test_without_arguments_there_is_help():
    finished = subprocess.run(
        [sys.executable, "-m", "einsplit"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert finished.stdout.startswith("Usage: einsplit [OPTIONS] [COMMAND] [ARGS]") and finished.stderr == ""
    assert "Exit codes: 0 done" in finished.stdout


@pytest.mark.parametrize("kind", [RunError, WorkerError])
def test_a_run_that_fails_ends_with_3(kind, call, targets, monkeypatch):
    def fail(*rest):
        raise kind("worker 1 died in step 2")

    monkeypatch.setattr(LocalSession, "_step_blocks", fail)
    code, out, err = call("run", f"{targets}:graph")
    assert (code, out, err) == (3, "", f"{kind.__name__}: worker 1 died in step 2\n")
