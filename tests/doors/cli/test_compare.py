"""`einsplit compare`: every rival's plan under the price of ours, as a table, as JSON and as a picture."""

from __future__ import annotations

import json
from math import fsum

import msgspec
import pytest

from einsplit.cli.compare import verb
from einsplit.report.compare import RIVALS, Row, compared, compared_text
from einsplit.report.compare.rows import fits
from einsplit.solver.plan import Plan, realise
from einsplit.solver.planner import make_plan
from tests.doors.graphs import machine, mlp_graph

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def rows() -> tuple[Row, ...]:
    return compared(mlp_graph(batch=8), make_plan(mlp_graph(batch=8), machine(2, 2)), lambda name: None)


@pytest.fixture
def ours(rows) -> Plan:
    (found,) = [row.plan for row in rows if row.name == "einsplit"]
    return found


def test_ours_is_first_and_every_rival_has_a_row_with_a_plan_or_a_reason(call, targets):
    code, out, err = call("compare", f"{targets}:graph", "--devices", 4)
    assert (code, err) == (0, "")
    table, none = (part.splitlines() for part in out.strip().split("\n\n"))
    assert table[0].split("  ")[0] == "plan" and table[1].startswith("einsplit ")
    assert {line.split()[0] for line in table[1:]} | {line.split(":")[0] for line in none} == {"einsplit", *RIVALS}
    assert "expert-parallel: no plan: it has no experts that a mesh axis could cut" in none
    assert "data over cpu0" in next(line for line in table if line.startswith("data-parallel"))


def test_the_cheapest_comes_first_and_times_ours_is_a_ratio_of_seconds(call, targets):
    code, out, err = call("compare", f"{targets}:graph", "--devices", 4, "--json")
    found = json.loads(out)
    assert (code, err, found["cheaper"]) == (0, "", [])
    planned = [row for row in found["plans"] if row["seconds"] is not None]
    assert [row["name"] for row in found["plans"][: len(planned)]] == [row["name"] for row in planned]
    assert [row["times_ours"] for row in planned] == sorted(row["times_ours"] for row in planned)
    assert all(row["times_ours"] == pytest.approx(row["seconds"] / found["ours"]["seconds"]) for row in planned)
    assert all(row["why_not"] and row["bytes"] is None for row in found["plans"] if row["seconds"] is None)
    assert planned[0]["name"] == "einsplit" and planned[0]["bytes"] == found["ours"]["bytes"]


def test_seconds_are_those_of_nodes_and_those_of_edges(rows):
    assert any(row.compute_seconds < 0.99 * row.plan.seconds for row in rows if row.plan)
    for row in rows:
        if row.plan is not None:
            found = realise(row.plan, mlp_graph(batch=8))
            problem, cut = found.problem, found.shardings
            edges = (problem.edge_price(e, cut[e.writer], cut[e.reader]).seconds for e in problem.edges)
            assert row.compute_seconds + fsum(edges) == pytest.approx(row.plan.seconds)


# ------------------------------------------------------------------------------------------- a rival that is cheaper


def test_a_rival_that_is_cheaper_is_told_loudly_and_is_a_fault(call, targets, monkeypatch):
    def dearest(graph, mesh):
        return max((make_plan(graph, mesh, name) for name in ("whole", "data-parallel")), key=lambda p: p.seconds)

    monkeypatch.setattr(verb, "searched", dearest)
    code, out, err = call("compare", f"{targets}:graph", "--devices", 4)
    assert code == 1
    for text in (out, err):
        assert "CHEAPER THAN OUR PLAN: " in text and "whole (" in text and "% less)" in text
        assert "this is a defect of einsplit" in text


def test_of_a_search_that_was_stopped_it_is_no_fault(rows, ours):
    dear = msgspec.structs.replace(ours, seconds=ours.seconds * 2, bound=None, gap=None, status="stopped")
    text = compared_text(rows, dear)
    assert "CHEAPER THAN OUR PLAN: " in text and "let it run" in text and "defect" not in text


def test_what_differs_by_rounding_is_not_cheaper(rows, ours):
    equal = msgspec.structs.replace(ours, seconds=ours.seconds * (1 + 1e-12), bound=None, gap=None)
    assert not any(row.is_cheaper(equal) for row in rows if row.name != "einsplit")


def test_a_rival_that_no_device_could_hold_is_not_cheaper_and_is_marked(rows, ours):
    dear = msgspec.structs.replace(ours, seconds=ours.seconds * 2, bound=None, gap=None)
    large = Row("large", msgspec.structs.replace(ours, peak_bytes=int(2e9)))
    assert fits(ours) and not fits(large.plan)
    assert not large.is_cheaper(dear)
    (line,) = [line for line in compared_text([large], dear).splitlines() if line.startswith("large")]
    assert "2 GB (too much)" in line


# ------------------------------------------------------------------------------------------------ the picture


@pytest.mark.parametrize("suffix, start", [("svg", b"<?xml"), ("png", PNG)])
def test_the_comparison_is_drawn(suffix, start, call, targets, tmp_path):
    target = tmp_path / f"out.{suffix}"
    code, out, err = call("compare", f"{targets}:graph", "--devices", 4, "--plot", target)
    assert (code, err) == (0, "") and f"written to {target}" in out
    assert target.read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "out"))] == [target.name]


def test_the_same_comparison_gives_the_same_picture(rows, ours, tmp_path):
    from einsplit.report.compare.drawing import draw

    for name in ("a.svg", "b.svg"):
        draw(rows, ours, "mlp", str(tmp_path / name))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    "plot, message",
    [
        ("out.pdf", "plot out.pdf: a plot is a file whose name ends in .svg or .png"),
        ("nowhere/out.svg", "plot nowhere/out.svg cannot be written: there is no folder "),
    ],
)
def test_where_nothing_can_be_drawn_nothing_is_planned(plot, message, call):
    code, out, err = call("compare", "nowhere.py:graph", "--devices", 2, "--plot", plot)
    assert (code, out) == (2, "") and err.startswith(f"PlanError: {message}")


def test_help_shows_an_example_and_devices_are_asked_for(call, targets):
    code, out, _ = call("compare", "--help")
    assert code == 0 and "Example: einsplit compare model.py:example --devices 4 --plot compare.svg" in out
    code, _, err = call("compare", f"{targets}:graph")
    assert code == 2 and "say over how many devices to cut" in err
