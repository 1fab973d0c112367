"""A plan file is data: what is written comes back, and what is damaged is refused with its place."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from einsplit.api import compile_plan
from einsplit.errors import PlanError
from einsplit.solver.plan import Plan, realise
from einsplit.solver.plan import format as plan_file
from einsplit.solver.sharding import Sum
from tests.doors.graphs import mlp_graph
from tests.doors.plan.damages import DATA, GRAPH, JUNK, PLAN, REFUSED, ROOT, changed


@pytest.fixture
def path(tmp_path):
    PLAN.save(tmp_path / "plan.json")
    return tmp_path / "plan.json"


def test_the_plan_under_test_cuts_and_moves_something():
    choices = {type(choice) for row in PLAN.nodes for choice in row.cut}
    assert str in choices and PLAN.bytes > 0


# ---------------------------------------------------------------------------------------------------- round trip


def test_what_is_saved_is_loaded_byte_for_byte(path):
    loaded = Plan.load(path)
    assert loaded == PLAN
    loaded.save(path.with_name("again.json"))
    assert path.with_name("again.json").read_bytes() == path.read_bytes() == PLAN.to_json()


def test_a_file_has_one_node_a_line_and_each_line_begins_with_its_name(path):
    lines = path.read_text().splitlines()
    assert len(lines) == len(PLAN.nodes) + len(Plan.__struct_fields__) + 3
    for row, line in zip(PLAN.nodes, lines[-2 - len(PLAN.nodes) :], strict=False):
        assert line.startswith(f'    {{"name":{json.dumps(row.name)},"does":')


def test_addends_come_back_as_addends():
    row = PLAN.nodes[0]
    whole = (Sum((0,)), None)
    text = plan_file._compact(plan_file.NodePlan(name="n", does=row.does, cut=whole, seconds=0.0, bytes=0))
    assert '"cut":[{"sum":[0]},null]' in text


def test_equal_inputs_give_equal_bytes_whatever_the_hash_seed():
    code = (
        "import hashlib\nfrom einsplit.api import plan\nfrom tests.doors.graphs import machine, mlp_graph\n"
        "print(hashlib.sha256(plan(mlp_graph(), machine(2, 2)).to_json()).hexdigest())"
    )
    found = set()
    for seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code]
        found.add(subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert found == {hashlib.sha256(PLAN.to_json()).hexdigest() + "\n"}


def test_a_link_to_a_plan_stays_a_link(path):
    link = path.with_name("link.json")
    link.symlink_to(path)
    PLAN.save(link)
    assert link.is_symlink() and Plan.load(path) == PLAN


# --------------------------------------------------------------------------------------------- another graph, machine


def test_a_plan_for_another_graph_says_so():
    other = mlp_graph(batch=8)
    with pytest.raises(PlanError) as caught:
        compile_plan(PLAN, other)
    assert str(caught.value) == (
        f"this plan was made for another graph: it is for {GRAPH.hash[:12]!r}, and the graph at hand is "
        f"{other.hash[:12]!r}.\n  The model, its shapes or its dtypes have changed: plan again."
    )


@pytest.mark.parametrize("place, value, told", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_changed_file_is_refused_with_its_place(place, value, told, path):
    path.write_bytes(changed(place, value))
    with pytest.raises(PlanError) as caught:
        realise(Plan.load(path), GRAPH)
    assert told in str(caught.value)


@pytest.mark.parametrize("data, told", [row[1:] for row in JUNK], ids=[row[0] for row in JUNK])
def test_what_is_no_plan_is_a_plan_error_that_names_the_file(data, told, path):
    path.write_bytes(data)
    with pytest.raises(PlanError) as caught:
        Plan.load(path)
    assert f"plan file {path} is damaged" in str(caught.value) and told in str(caught.value)
    assert str(caught.value).endswith("Plan again, or restore the file from version control.")


def test_what_cannot_be_read_is_a_plan_error(tmp_path, monkeypatch):
    def told(place):
        with pytest.raises(PlanError) as caught:
            Plan.load(place)
        return str(caught.value)

    assert told(tmp_path) == f"plan file {tmp_path} cannot be read: Is a directory"
    assert (
        told(tmp_path / "none.json") == f"plan file {tmp_path / 'none.json'} cannot be read: No such file or directory"
    )
    assert told("a\0b").endswith("cannot be read: embedded null byte")
    monkeypatch.setattr(plan_file, "MAX_FILE_BYTES", 1000)
    (tmp_path / "large.json").write_bytes(DATA)
    assert told(tmp_path / "large.json").endswith("is too large: a plan has at most 1,000 bytes")
    assert told("/dev/zero").endswith("is too large: a plan has at most 1,000 bytes")


# --------------------------------------------------------------------------------------------------------- saving


def test_a_plan_is_not_written_over_an_old_one_in_part(path):
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))  # a disk that is full after 64 bytes
    try:
        with pytest.raises(PlanError, match=r"cannot be written: File too large"):
            PLAN.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [child.name for child in path.parent.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    "place, reason",
    [
        ("/dev/full", "No space left on device"),
        ("/proc/plan.json", "No such file or directory"),
        ("{folder}/none/plan.json", "No such file or directory"),
        ("{folder}/plan.json/plan.json", "Not a directory"),
        ("{folder}", "Is a directory"),
        ("a\0b", "embedded null byte"),
    ],
)
def test_a_place_that_takes_no_file_is_a_plan_error(place, reason, path):
    place = place.format(folder=path.parent)
    with pytest.raises(PlanError) as caught:
        PLAN.save(place)
    assert str(caught.value).startswith(f"plan file {place} cannot be written: ") and reason in str(caught.value)
    assert sorted(child.name for child in path.parent.iterdir()) == ["plan.json"]


def test_a_device_is_written_to_and_not_replaced():
    PLAN.save("/dev/null")
    assert Path("/dev/null").is_char_device()
