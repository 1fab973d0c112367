"""What changed between two plans, and what that is worth."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsplit.errors import PlanError
from einsplit.solver.machine import MeshAxis
from einsplit.solver.plan.diff import diff_rows, diff_text
from einsplit.solver.plan.explain import cut_text, plan_rows
from einsplit.solver.plan.kinds import cut_kind, label_family, work_of
from einsplit.solver.sharding import Sum
from tests.doors.graphs import machine
from tests.doors.plan.made import MACHINE, layered, node, plan_of


def two_plans():
    """Three layers of an up and a down, cut otherwise; a head that is cut alike and a copy that costs nothing."""

    def plan(up, down, **others):
        layers = [
            one
            for k in range(3)
            for one in (node(f"layers.{k}.up.linear_{k}", *up), node(f"layers.{k}.down.linear_{k + 3}", *down))
        ]
        return plan_of(*layers, node("head", ("b", None), 1e-3, 5), node("x.use", up[0], 0.0), **others)

    a = plan((("b", "b"), 2e-3, 1000), (("b", "b"), 1e-3, 0), method="data-parallel", status="given", peak_bytes=4000)
    b = plan((("b", "h"), 0.5e-3, 0), (("b", "h"), 1.5e-3, 4000), peak_bytes=3000)
    return a, b


# --------------------------------------------------------------------------------------------------------------- text


def test_the_whole_text():
    assert diff_text(*two_plans()).splitlines() == [
        "A  plan for test (axis0:2 x axis1:2), by data-parallel",
        "A  10 ms a step, 3 kB sent by each device",
        "A  bound: none; not searched",
        "A  each device holds at most 4 kB of 1 GB",
        "B  plan for test (axis0:2 x axis1:2), by search",
        "B  7 ms a step, 12 kB sent by each device",
        "B  bound: none; no single mesh axis, changed at all nodes at once, makes it cheaper",
        "B  each device holds at most 3 kB of 1 GB",
        "",
        "B against A: -3 ms a step (-30.0 %), +9 kB sent by each device, peak -1 kB",
        "",
        "node                     A cut by   B cut by         A price  B price    B - A  A moves  B moves",
        "layers.*.up.linear x3    axis0-1:b  axis0:b axis1:h     6 ms   1.5 ms  -4.5 ms     3 kB      0 B",
        "layers.*.down.linear x3  axis0-1:b  axis0:b axis1:h     3 ms   4.5 ms  +1.5 ms      0 B    12 kB",
        "and 1 that cost nothing: cut otherwise, or in one plan only",
    ]


def test_a_plan_against_itself_is_one_line():
    a, _ = two_plans()
    assert diff_text(a, a) == (
        "no difference: plan for test (axis0:2 x axis1:2), by data-parallel, 10 ms a step, 3 kB sent by each device"
    )


def test_plans_that_differ_in_how_they_were_found_only_say_so():
    a, _ = two_plans()
    text = diff_text(a, msgspec.structs.replace(a, method="joint", status="exact"))
    assert text.splitlines()[-1] == "every node is cut alike, takes and sends the same"
    assert "by joint" in text and "+0 s a step (+0.0 %), +0 B" in text


def test_full_has_a_row_for_every_node():
    a, b = two_plans()
    assert len(diff_rows(a, b, full=True)) == len(a.nodes)
    text = diff_text(a, b, full=True)
    assert all(f"\n{one.name} " in text for one in a.nodes)
    assert "\nhead " in diff_text(a, a, full=True)


def test_long_names_and_cuts_are_shortened_and_nothing_moves_the_cursor():
    evil = "\x1b[2J\r\n\x07\u202e" + "long" * 3000
    a = plan_of(node(evil, (evil, evil), 1.0), on=msgspec.structs.replace(MACHINE, name="\x1b[2J\n"))
    b = plan_of(node(evil, (None, evil), 2.0, 10**18), on=a.machine)
    text = diff_text(a, b)
    assert not set(text) & set("\x1b\r\x07\u202e")
    assert len(text.splitlines()) == 11 and max(map(len, text.splitlines())) < 160


# ------------------------------------------------------------------------------------------------------ what is paired


def test_rows_stand_by_the_size_of_their_difference():
    seconds = [(1.0, 2.0), (5.0, 1.0), (1.0, 1.5), (3.0, 3.0)]
    a = plan_of(*(node(f"n{k}", seconds=one) for k, (one, _) in enumerate(seconds)))
    b = plan_of(*(node(f"n{k}", seconds=other) for k, (_, other) in enumerate(seconds)))
    assert [(row.name, row.seconds) for row in diff_rows(a, b)] == [("n1", -4.0), ("n0", 1.0), ("n2", 0.5)]


def test_layers_that_changed_otherwise_are_rows_of_their_own():
    a = plan_of(*(node(f"layers.{k}.up", ("b", None)) for k in range(6)))
    b = plan_of(*(node(f"layers.{k}.up", ("h" if k % 3 else "b", None), 2e-3) for k in range(6)))
    assert [(row.count, row.b.cut) for row in diff_rows(a, b)] == [(4, "axis0:h"), (2, "axis0:b")]


def test_labels_that_differ_in_the_number_of_their_layer_are_one_row():
    a, b = layered(5, width=1), layered(5, width=1)
    b = msgspec.structs.replace(b, nodes=tuple(msgspec.structs.replace(one, cut=(one.cut[0], None)) for one in b.nodes))
    row = diff_rows(a, b)[0]
    assert (row.name, row.count) == ("layers.*.part0.linear", 5)
    assert (row.a.cut, row.b.cut) == ("axis0:h_0 axis1:b", "axis0:h_0")


def test_one_graph_is_paired_by_position_whatever_its_nodes_are_called():
    a, b = plan_of(node("old", seconds=1.0)), plan_of(node("new", seconds=3.0))
    assert [(row.name, row.seconds) for row in diff_rows(a, b)] == [("old", 2.0)]


def test_different_graphs_are_paired_by_name_without_counts_and_said():
    a = plan_of(node("layers.0.up.linear", seconds=1.0), node("head.linear_1", seconds=2.0), node("gone", seconds=4.0))
    b = plan_of(
        node("layers.0.up.linear", seconds=1.0),
        node("layers.1.up.linear_1", seconds=8.0),
        node("head.linear_2", seconds=2.5),
        graph="fedcba9876543210",
    )
    rows = {row.name: (row.a and row.a.seconds, row.b and row.b.seconds) for row in diff_rows(a, b)}
    assert rows == {"layers.*.up.linear": (None, 8.0), "gone": (4.0, None), "head.linear": (2.0, 2.5)}
    text = diff_text(a, b)
    assert "\nthe plans are for different graphs: nodes are compared by name\n" in text
    assert "gone                -" not in text and "\ngone " in text


def test_nodes_of_one_name_are_paired_in_order():
    a = plan_of(node("same", seconds=1.0), node("same", seconds=2.0))
    b = plan_of(node("same", seconds=1.0), node("same", seconds=4.0), node("same", seconds=8.0), graph="other")
    rows = diff_rows(a, b, full=True)
    assert sorted((row.a and row.a.seconds, row.b.seconds) for row in rows if row.a) == [(1.0, 1.0), (2.0, 4.0)]
    assert [row.b.seconds for row in rows if row.a is None] == [8.0]


def test_different_machines_are_said_and_compared():
    a = plan_of(node("n", ("b", "b"), 1.0))
    b = plan_of(node("n", ("b",), 3.0), on=machine(4))
    assert "\nthe plans are for different machines: a difference is not one of cuts alone\n" in diff_text(a, b)
    assert [(row.a.cut, row.b.cut) for row in diff_rows(a, b)] == [("axis0-1:b", "axis0:b")]


def test_plans_that_have_nothing_in_common_are_refused():
    a, b = plan_of(node("first\x1b")), plan_of(node("second"), graph="fedcba9876543210")
    with pytest.raises(PlanError) as caught:
        diff_text(a, b)
    assert str(caught.value) == (
        "the two plans have nothing in common: they are for different graphs, and no node of one has the name of a "
        "node of the other.\n  The first is for '0123456789ab', begins with 'first?'; the second for 'fedcba987654', "
        "begins with 'second'."
    )
    with pytest.raises(PlanError, match="begins with nothing"):
        diff_rows(a, plan_of(graph="fedcba9876543210"))


NAMES = st.sampled_from(["a", "b", "layers.0.up", "layers.1.up", "layers.1.up_3", "einsum", "einsum_1"])
NODES = st.lists(
    st.builds(
        node,
        NAMES,
        st.tuples(*[st.sampled_from(["b", "h_1", "h_2", None, Sum((0,))])] * 2),
        st.floats(0, 10),
        st.integers(0, 1000),
    ),
    max_size=8,
)


@given(NODES, NODES, st.booleans())
@settings(max_examples=100)
def test_the_differences_add_up_to_that_of_the_plans(first, second, same_graph):
    # One node in both, so that something is in common.
    a = plan_of(node("common"), *first)
    b = plan_of(node("common"), *second, graph=a.graph if same_graph else "other")
    for full in (False, True):
        rows = diff_rows(a, b, full)
        assert sum(row.seconds for row in rows) == pytest.approx(b.seconds - a.seconds, abs=1e-6)
        assert sum(row.bytes for row in rows) == b.bytes - a.bytes
        assert [abs(row.seconds) for row in rows] == sorted((abs(row.seconds) for row in rows), reverse=True)
    back = diff_rows(b, a, full=True)
    assert sum(row.seconds for row in back) == pytest.approx(a.seconds - b.seconds, abs=1e-6)
    assert diff_text(a, b) and diff_text(b, a, full=True)


# ------------------------------------------------------------------------------------------------------- command line


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for plan, path in zip(two_plans(), paths, strict=True):
        plan.save(path)
    return paths


def test_diff_prints_the_text_and_exits_with_0(call, files):
    assert call("diff", *files) == (0, diff_text(*two_plans()) + "\n", "")
    assert call("diff", files[0], files[0])[:2] == (0, diff_text(two_plans()[0], two_plans()[0]) + "\n")
    assert call("diff", "--help")[0] == 0


def test_diff_as_json_holds_both_plans_and_every_row(call, files):
    code, out, err = call("diff", *files, "--json")
    fields = json.loads(out)
    assert (code, err) == (0, "")
    assert fields["a"]["method"] == "data-parallel" and fields["b"]["seconds"] == pytest.approx(7e-3)
    assert fields["seconds"] == pytest.approx(-3e-3) and fields["bytes"] == 9000 and fields["peak_bytes"] == -1000
    assert fields["remarks"] == [] and fields["same"] is False
    assert fields["rows"][0] == {
        "node": "layers.*.up.linear",
        "count": 3,
        "a": {"cut": "axis0-1:b", "seconds": pytest.approx(6e-3), "bytes": 3000},
        "b": {"cut": "axis0:b axis1:h", "seconds": pytest.approx(1.5e-3), "bytes": 0},
        "seconds": pytest.approx(-4.5e-3),
        "bytes": -3000,
    }
    assert len(json.loads(call("diff", *files, "--json", "--full")[1])["rows"]) == 8
    assert json.loads(call("diff", files[0], files[0], "--json")[1])["same"] is True


def test_a_file_that_is_no_plan_is_refused(call, files, tmp_path):
    (tmp_path / "junk.json").write_text("[]")
    code, out, err = call("diff", files[0], tmp_path / "junk.json")
    assert (code, out) == (2, "") and "junk.json is damaged" in err
    assert call("diff", files[0], tmp_path / "missing.json")[0] == 2


# -------------------------------------------------------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    "names, text",
    [
        (("node", "gpu"), "node,gpu:b"),
        (("gpu0", "gpu1"), "gpu0-1:b"),
        (("gpu0", "gpu2"), "gpu0,gpu2:b"),
        (("gpu" + "1" * 5000, "gpu"), f"gpu{'1' * 5000},gpu:b"),
    ],
)
def test_axes_that_do_the_same_are_named_together_whatever_their_names(names, text):
    axes = tuple(MeshAxis(name, 2, 1e9, 0.0) for name in names)
    plan = plan_of(node("n", ("b", "b")), on=msgspec.structs.replace(MACHINE, axes=axes))
    assert cut_text(plan, ("b", "b")) == text


def test_batch_and_sequence_are_two_cuts_though_their_labels_differ_in_a_number():
    does = "ids_0 ids_1 -> ids_0 ids_1, exp(x)"
    nodes = [node(f"layers.{k}.act", (f"ids_{k % 2}", None), does=does) for k in range(4)]
    assert [(row.count, row.cut) for row in plan_rows(plan_of(*nodes))] == [(2, "axis0:ids_0"), (2, "axis0:ids_1")]


def test_a_chain_of_numbered_labels_is_cut_alike_in_all_layers():
    def layer(k, cut):
        return node(f"layers.{k}.linear", (cut, None), does=f"b h_{k}, h_{k} h_{k + 1} -> b h_{k + 1}, x * y, sum")

    read = [layer(k, f"h_{k}") for k in range(8, 12)]
    written = [layer(k, f"h_{k + 1}") for k in range(8, 12)]
    assert {cut_kind(one) for one in read} == {(("h", 0), None)}
    assert {cut_kind(one) for one in written} == {(("h", 1), None)}
    assert label_family([*read, *written]) == {f"h_{k}": f"h_{k}" for k in range(8, 13)}


@pytest.mark.parametrize(
    "does, work",
    [
        ("parameter (q_a q_b) f", "values at rest"),
        ("state ", "values at rest"),
        ("b f, f h -> b h, x * y, sum", "sums of products"),
        ("b h, b h -> , y * x, sum", "sums of products"),
        ("b h, b h -> b h, x * y", "pointwise"),
        ("b h -> b, x, logsumexp", "other aggregations"),
        ("b h, h -> b, where(x > 0, x * y, 0), sum", "other aggregations"),
        ("b h -> b h, where(x > 0, x, y)", "pointwise"),
        ("b h -> (b h), x", "copies and moves"),
        ("attention: b h [k] -> b h; sum k", "kernels"),
        ("aten.topk: b [k] -> b [n]", "kernels"),
        ("", "values at rest"),
    ],
)
def test_the_kind_of_work_is_read_from_the_expression(does, work):
    assert work_of(does) == work
