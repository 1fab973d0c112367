"""`einsplit check`: what holds of a plan file, what does not and where, and its exit codes."""

from __future__ import annotations

import json

import pytest

from tests.doors.plan.damages import DATA, PLAN, changed

CHECKS = (
    "file",
    "graph",
    "machine",
    "nodes",
    "digits",
    "cuts",
    "sums",
    "addends",
    "bytes",
    "seconds",
    "runners-up",
    "their cost",
    "bound",
)


@pytest.fixture
def written(tmp_path):
    """A plan file of these bytes."""

    def write(data: bytes) -> str:
        (tmp_path / "made.json").write_bytes(data)
        return str(tmp_path / "made.json")

    return write


def test_a_true_plan_has_every_check_ok(call, targets, written):
    code, out, err = call("check", written(DATA), f"{targets}:graph")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split("  ")[0] for line in lines] == list(CHECKS)
    assert all(line.split()[1 + line.startswith("their")] == "ok" for line in lines)


def test_what_plan_writes_is_true(call, targets, tmp_path):
    call("plan", f"{targets}:mlp", "--devices", 4, "-o", tmp_path / "out.json")
    code, out, err = call("check", tmp_path / "out.json", f"{targets}:mlp", "--json")
    fields = json.loads(out)
    assert (code, err) == (0, "")
    assert fields["sound"] is True and [row["name"] for row in fields["checks"]] == list(CHECKS)
    assert {row["verdict"] for row in fields["checks"]} == {"ok"}


def test_a_price_that_is_off_is_told_with_its_place_and_node(call, targets, written):
    data = changed(["nodes", 4, "seconds"], PLAN.nodes[4].seconds * 1.01)
    code, out, err = call("check", written(data), f"{targets}:graph")
    assert (code, err) == (2, "")
    place = f"$.nodes[4].seconds ({PLAN.nodes[4].name}): "
    assert f"\nseconds     wrong  1 fault\n  {place}" in out
    fields = json.loads(call("check", written(data), f"{targets}:graph", "--json")[1])
    assert fields["sound"] is False
    (row,) = [row for row in fields["checks"] if row["verdict"] == "wrong"]
    (fault,) = row["faults"]
    assert row["name"] == "seconds" and fault["place"] == "$.nodes[4].seconds" and fault["node"] == PLAN.nodes[4].name


def test_of_another_program_what_has_no_meaning_is_not_checked(call, targets, written):
    code, out, err = call("check", written(DATA), f"{targets}:mlp")
    assert (code, err) == (2, "")
    assert "$.graph: the plan is for " in out and "not checked  means nothing while graph is not ok" in out


def test_of_many_faults_the_first_are_shown(call, targets, written):
    code, out, _ = call("check", written(changed(["machine", "flops_per_second"], 1e3)), f"{targets}:graph")
    assert code == 2 and "more" in out


@pytest.mark.parametrize(
    "data, message",
    [
        (b"{}", "Object missing required field"),
        (b"\x80\x04", "damaged"),
        (changed(["nodes", 1, "seconds"], -1.0), "$.nodes[1].seconds: -1.0, and must be finite and not negative"),
    ],
)
def test_a_file_that_is_no_plan_is_told_without_running_the_program(data, message, call, written):
    code, out, err = call("check", written(data), "nowhere.py:graph")
    assert (code, err) == (2, "")
    assert out.startswith("file  wrong  1 fault\n") and message in out


def test_a_name_that_would_move_the_cursor_is_not_printed_as_it_is(call, targets, written):
    tree = json.loads(changed(["nodes", 4, "seconds"], 1.0))
    tree["nodes"][4]["name"] = "\x1b[2Jgone"
    code, out, _ = call("check", written(json.dumps(tree).encode()), f"{targets}:graph")
    assert code == 2 and "\x1b" not in out and "?[2Jgone" in out


def test_help_shows_an_example(call):
    code, out, _ = call("check", "--help")
    assert code == 0 and "Example: einsplit check plan.json model.py:example" in out
