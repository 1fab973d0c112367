"""A plan as a page: complete, self-contained, and harmless whatever the plan says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import time
from html.parser import HTMLParser
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsplit.errors import PlanError
from einsplit.report.page import page, write_page
from einsplit.solver.machine import Machine, MeshAxis
from einsplit.solver.plan import Plan, Words
from einsplit.solver.plan.explain import headline
from einsplit.solver.plan.words import NOTES
from einsplit.solver.sharding import Sum
from einsplit.solver.units import seconds_text
from tests.doors.graphs import machine
from tests.doors.plan.made import layered, node, plan_of, with_memory

EVIL = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "</style><svg onload=alert(1)>",
    "</title><b>bold</b>",
    "\"'><a href='javascript:alert(1)'>x</a>",
    "<!-- <script> ]]> &lt;b&gt; &#60;b&#62; ${rows} $graph {0} %s",
    "line\u2028line\u2029\x00\x1b[2J\r\n\t\x7f\u202egnal\ufeff\ud800",
    "a" * 10_000,
    "<" * 10_000,
    "é漢🙂" * 3000,
    "_1" * 5000 + "." * 5000,
    "",
]


class Read(HTMLParser):
    """The elements of a page, by a parser that is not ours: tags with attributes, and the text of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        self.texts.append((self.tags[-1][0] if self.tags else "", data))

    def inside(self, tag):
        return [text for found, text in self.texts if found == tag]

    def having(self, attribute, tag=None):
        return [attrs for found, attrs in self.tags if attribute in attrs and tag in (None, found)]

    def data(self):
        script = next(k for k, (tag, attrs) in enumerate(self.tags) if attrs.get("id") == "data")
        assert self.tags[script][0] == "script"
        return json.loads(next(text for text in self.inside("script") if text.startswith("{")))


# --------------------------------------------------------------------------------------------------- self-contained


def test_a_page_allows_no_network_and_runs_nothing_but_its_own_script():
    text = page(layered(3))
    read = Read(text)
    policy = next(a["content"] for a in read.having("http-equiv") if a["http-equiv"] == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        own = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert not [a for name in ("src", "href", "srcset", "action", "style", "xlink:href") for a in read.having(name)]
    assert not re.search(r"https?:|@import|url\((?!#)|\bfetch\(|XMLHttp|WebSocket|innerHTML|eval", text)
    assert len(read.having("id", "script")) == 1 and [tag for tag, _ in read.tags].count("script") == 2


def test_the_script_and_the_page_know_the_same_elements():
    text = page(layered(2))
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    ids = {attrs["id"] for attrs in Read(text).having("id")}
    assert set(re.findall(r'getElementById\("(\w+)"\)', script)) <= ids


# ------------------------------------------------------------------------------------------------------- what it shows


def test_the_header_has_the_words_of_explain():
    plan = msgspec.structs.replace(layered(2), bound=0.04, gap=0.05, status="folded", peak_bytes=5_000_000)
    plan = msgspec.structs.replace(plan, bound=plan.seconds / 1.05)
    first, second, held = headline(plan).splitlines()
    text = page(plan)
    for words in (
        first,
        *second.split("; ", 1),
        held.removeprefix("each device holds at most "),
        "at most 5 % above",
        "5 MB",
        seconds_text(plan.bound),
        "axis0:2 × axis1:2",
    ):
        assert words in text


def test_repeated_layers_are_one_box_and_one_row_with_their_sums():
    plan = layered(7, width=2)
    boxes = Read(page(plan)).data()["boxes"]
    linear = next(box for box in boxes if box["name"] == "layers.*.part1.linear")
    assert linear["sort"][1] == 7 and linear["sort"][3] == 7000
    assert linear["sort"][4] == pytest.approx(7 * 2e-3) and linear["sort"][6] == 2e-4
    # x, and a weight and a linear of each part; the copies are edges
    assert len(boxes) == 5
    assert sum(box["sort"][4] for box in boxes) == pytest.approx(plan.seconds)
    assert sum(box["sort"][3] for box in boxes) == plan.bytes


def test_each_box_has_a_row_a_drawing_and_a_tooltip_with_price_bytes_and_runner_up():
    read = Read(page(layered(4)))
    numbers = {box["at"] for box in read.data()["boxes"]}
    assert {int(a["data-row"]) for a in read.having("data-row", "tr")} == numbers
    assert {int(a["data-box"]) for a in read.having("data-box", "g")} == numbers
    assert "layers.*.part3.linear ×4\ncut by axis0:h_0 axis1:b\n16 ms, 12 kB moved\nrunner-up axis0:b +200 us" in (
        read.inside("title")
    )


def test_words_stand_in_the_table_the_panel_and_the_tooltip_and_are_summed():
    told = [Words(3_000_000, 2_000_000.0, 2_500_000.0), Words(500, 0.0, 0.0), Words(7), None]
    plan = plan_of(*(node(f"n{chr(97 + k)}", words=words) for k, words in enumerate(told)))
    text = page(plan)
    read = Read(text)
    assert re.findall(r"<button type=\"button\">([^<]*)</button></th></tr>", text) == ["/ grid"]
    rows = re.findall(r'<tr data-row="\d" class="">(.*?)</tr>', text)
    assert [re.findall(r'<td class="n">([^<]*)</td>', row)[-3:] for row in rows] == [
        ["3M", "1.50x", "1.20x"],
        ["500", "over 0", "over 0"],
        ["7", "", ""],
        ["", "", ""],
    ]
    boxes = read.data()["boxes"]
    assert [dict(box["facts"])["words"] for box in boxes] == [
        "3M, 1.50x bound, 1.20x grid",
        "500, bound 0, grid 0",
        "7",
        "",
    ]
    largest = sys.float_info.max
    assert [box["sort"][7:] for box in boxes] == [
        [3_000_000, 1.5, 1.2],
        [500, largest, largest],
        [7, -1, -1],
        [-1, -1, -1],
    ]
    assert [title.partition("words ")[2] for title in read.inside("title")[-4:]] == [
        "3M, 1.50x bound, 1.20x grid",
        "500, bound 0, grid 0",
        "7",
        "",
    ]
    assert (
        "<p>each device sends 3M words; vs isolated operators 1.50x their bounds (3M of 2M), "
        "1.20x their best grids (3M of 2.5M)</p><ul><li>A reduction counts" in text
    )
    assert [note for note in NOTES if note not in "".join(read.inside("li"))] == []
    assert "isolated operators" not in page(layered(2))


def test_edges_join_operands_to_readers_through_copies_that_cost_nothing():
    read = Read(page(layered(3, width=2)))
    names = {box["at"]: box["name"] for box in read.data()["boxes"]}
    edges = {tuple(names[int(at)] for at in a["data-edge"].split()) for a in read.having("data-edge")}
    part = "layers.*.part"
    assert edges == {
        ("x", f"{part}0.linear"),
        (f"{part}0.weight", f"{part}0.linear"),
        (f"{part}0.linear", f"{part}1.linear"),
        (f"{part}1.weight", f"{part}1.linear"),
        (f"{part}1.linear", f"{part}0.linear"),  # into the next layer
    }
    up = [a for a in read.having("data-edge") if a["class"] == "up"]
    assert [tuple(names[int(at)] for at in a["data-edge"].split()) for a in up] == [
        (f"{part}1.linear", f"{part}0.linear")
    ]


def test_a_layer_that_is_one_box_does_not_read_itself():
    edges = [a["data-edge"] for a in Read(page(layered(3, width=1))).having("data-edge")]
    assert edges == ["0 2", "1 2"]


@given(st.lists(st.lists(st.integers(0, 40), max_size=3), min_size=1, max_size=40))
@settings(max_examples=40)
def test_operands_stand_above_their_readers_and_no_two_boxes_overlap(wanted):
    nodes = [
        node(f"node{chr(97 + k % 26)}{'z' * (k // 26)}", reads=tuple(sorted({r % k for r in found})) if k else ())
        for k, found in enumerate(wanted)
    ]
    read = Read(page(plan_of(*nodes)))
    place = {
        int(a["data-box"]): tuple(map(float, re.findall(r"[\d.]+", a["transform"]))) for a in read.having("data-box")
    }
    assert len(place) == len(nodes)
    drawn = {tuple(map(int, a["data-edge"].split())) for a in read.having("data-edge")}
    assert drawn == {(r, at) for at, one in enumerate(nodes) for r in one.reads}
    assert all(place[read][1] + 40 < place[reader][1] for read, reader in drawn)
    spots = sorted(place.values())
    assert all(a[0] != b[0] or b[1] - a[1] > 40 for a, b in pairwise(spots))
    assert all(b[0] - a[0] > 184 for a in spots for b in spots if a[1] == b[1] and a[0] < b[0])


def test_a_box_is_coloured_by_what_each_axis_does():
    nodes = [
        node("first", ("b", None), 5.0, does="b h -> b h, exp(x)"),
        node("second", (Sum((0,)), "h_1"), 2.0, does="b h_1 -> b h_1, exp(x)"),
        node("third", ("h_2", "h_2"), 1.0, does="b h_2 -> b h_2, exp(x)"),
    ]
    text = page(plan_of(*nodes))
    found = [re.findall(r'<rect class="(c\d|whole|sum)"', part) for part in text.split('<g class="box"')[1:]]
    assert found == [["c0", "whole"], ["sum", "c1"], ["c1"]]  # h_1 and h_2 never meet: one label of two layers
    legend = re.search(r'<ul class="legend">(.*?)</ul>', text)[1]
    assert re.findall(r'class="(\w+)"></i>(\w+)', legend) == [
        ("c0", "b"),
        ("c1", "h"),
        ("whole", "whole"),
        ("sum", "sum"),
    ]


def test_labels_that_stand_together_have_colours_of_their_own():
    nodes = [
        node(f"n{k}", (label, None), does="ids_0 ids_1 -> ids_0 ids_1, exp(x)")
        for k, label in enumerate(["ids_0", "ids_1"])
    ]
    assert re.search(r'"c0"></i>ids_0</li><li><i class="c1"></i>ids_1<', page(plan_of(*nodes)))


def test_labels_beyond_the_palette_share_a_colour():
    nodes = [node(f"n{chr(97 + k)}", (f"l{chr(97 + k)}", None), 20.0 - k) for k in range(12)]
    text = page(plan_of(*nodes))
    assert '<i class="c8"></i>4 other labels' in text and '<i class="c9"' not in text


def test_memory_is_drawn_with_its_peak_and_left_out_where_unknown():
    plan = layered(2, width=1)
    assert 'id="memory"' not in page(plan)
    held = [10, 20, 40_000_000, 30, 20, 10, 0]
    text = page(with_memory(plan, held))
    path = re.search(r'class="held" d="(.*?)"', text)[1]
    heights = [float(h) for h in re.findall(r"V([\d.]+)H", path)]
    assert len(heights) == len(held) and heights.index(min(heights)) == 2 and min(heights) == 0
    assert "<b>40 MB</b>" in text and "node 3 of 7" in text and "4 % of a device" in text


def test_memory_of_many_nodes_keeps_its_peak():
    plan = layered(300)
    held = [1000] * len(plan.nodes)
    held[1234] = 10**9
    path = re.search(r'class="held" d="(.*?)"', page(with_memory(plan, held)))[1]
    heights = [float(h) for h in re.findall(r"V([\d.]+)H", path)]
    assert len(heights) <= 600 and heights.count(0.0) == 1


def test_bars_say_where_bytes_and_seconds_go():
    plan = plan_of(
        node("product", does="b f, f h -> b h, x * y, sum", seconds=4.0),
        node("norm", does="b h -> b, x, max", seconds=0.5),
        node("act", does="b h -> b h, where(x > 0, x, sum)", seconds=0.25),
        node("copy", does="b h -> b h, x", seconds=2.0),
        node("topk", does="topk: b [k] -> b [n]", seconds=1.0),
        node("weight", does="parameter f h", seconds=0.125),
        node("sent", does="b h -> b h, x", seconds=0.0, nbytes=15_000),
        bytes_by_axis={"axis0": 3_000, "axis0 x axis1": 12_000},
    )
    bars = re.findall(
        r'<tr><th scope="row">([^<]*)</th><td class="bar">.*?width="([\d.]+)".*?<td>([^<]*)</td>', page(plan)
    )
    assert bars == [
        ("axis0 x axis1", "100.00", "12 kB"),
        ("axis0", "25.00", "3 kB"),
        ("sums of products", "100.00", "4 s"),
        ("copies and moves", "50.00", "2 s"),
        ("kernels", "25.00", "1 s"),
        ("other aggregations", "12.50", "500 ms"),
        ("pointwise", "6.25", "250 ms"),
        ("values at rest", "3.12", "125 ms"),
    ]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_nodes_on_one_device_make_a_page(count):
    nodes = [node(f"n{k}", (), reads=(k - 1,) if k else ()) for k in range(count)]
    read = Read(page(plan_of(*nodes, on=machine())))
    assert len(read.having("data-box")) == len(read.having("data-row")) == count
    assert "one device" in "".join(read.inside("h1"))


# -------------------------------------------------------------------------------------------------------------- size


def by_letters(number: int) -> str:
    return "".join(chr(97 + int(digit)) for digit in str(number))


@pytest.mark.parametrize("folds", [True, False])
def test_five_thousand_nodes_are_a_page_of_less_than_a_megabyte_in_two_seconds(folds):
    if folds:
        plan = layered(270, width=6)
    else:  # every name its own kind
        many = [
            node(f"block.{by_letters(k)}.linear", seconds=1e-3 + k * 1e-9, reads=tuple(range(max(0, k - 3), k)))
            for k in range(5000)
        ]
        plan = plan_of(*many)
    assert len(plan.nodes) > 4800
    start = time.process_time()
    text = page(plan)
    assert time.process_time() - start < 2.0
    assert len(text.encode()) < 1_000_000
    read = Read(text)
    assert len(read.having("data-box")) == len(read.having("data-row")) == (13 if folds else 600)
    assert ("and 4,400 more kinds" in text) is not folds


# ---------------------------------------------------------------------------------------------------------- harmless


def hostile(text: str, other: str) -> Plan:
    """A plan of which every text is hostile, wherever one can stand."""
    axes = (MeshAxis(text, 2, 1e9, 0.0), MeshAxis(other + "!", 2, 1e9, 0.0))
    on = Machine(
        name=text, axes=axes, flops_per_second=1e9, memory_bytes_per_second=1e9, memory_bytes=1e9, launch_seconds=0.0
    )
    texts = {"does": text, "source": text, "live_bytes": 7}
    nodes = [
        node(text, (text, None), 1.0, 5, runner_up=(other, text), **texts),
        node(other, (other, text), 2.0, reads=(0,), **texts),
    ]
    return plan_of(*nodes, on=on, graph=text, method=text, bytes_by_axis={text: 5}, peak_bytes=7)


def outline(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Elements and the names of their attributes, without those whose number depends on the cut."""
    return [(tag, tuple(attrs)) for tag, attrs in Read(text).tags if tag not in ("i", "li", "rect")]


PLAIN = page(hostile("plain", "other"))


@pytest.mark.parametrize("text", EVIL, ids=[repr(text[:24]) for text in EVIL])
def test_hostile_texts_add_no_element_no_attribute_and_no_script(text):
    found = page(hostile(text, "other"))
    assert outline(found) == outline(PLAIN)
    assert all(char.isprintable() or char == "\n" for char in found)
    assert not [name for _, attrs in Read(found).tags for name in attrs if name.startswith("on")]
    found.encode()  # no lone surrogate is left
    assert len(found) < 60_000


def test_what_json_holds_cannot_end_its_script():
    text = page(hostile("</script><!--\u2028&", "]]>"))
    block = text.split('id="data">', 1)[1].split("</script>", 1)[0]
    assert not set(block) & set("<>&'\u2028\u2029") and block.isascii()
    assert json.loads(block)["boxes"][0]["name"] == "</script><!--?&"


@given(st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=30)
def test_any_text_is_harmless(text, other):
    if text != other + "!":
        assert outline(page(hostile(text, other))) == outline(PLAIN)


def test_figures_at_the_end_of_what_numbers_hold_make_a_page():
    huge = 1.7e308
    nodes = [
        node(f"n.{k}.x", seconds=huge, nbytes=2**62, runner_up=("b", "b"), runner_up_seconds=huge) for k in range(3)
    ]
    tiny = node("tiny", seconds=5e-324)
    plan = msgspec.structs.replace(plan_of(tiny), nodes=(*nodes, tiny))
    assert {box["sort"][1] for box in Read(page(plan)).data()["boxes"]} == {3, 1}


# ------------------------------------------------------------------------------------------------------------ the file


def test_explain_writes_the_page(call, plan_path, tmp_path):
    target = tmp_path / "plan.html"
    code, out, err = call("explain", plan_path, "--html", target)
    plan = Plan.load(plan_path)
    assert (code, out, err) == (0, f"{headline(plan)}\nwritten to {target}\n", "")
    assert target.read_text(encoding="utf-8") == page(plan)
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


@pytest.mark.parametrize("option", ["--json", "--full", "--words", "--capture"])
def test_a_page_goes_with_no_other_form(option, call, plan_path, tmp_path):
    code, _, err = call("explain", plan_path, "--html", tmp_path / "x.html", option)
    assert code == 2 and "leave out --capture, --json, --full and --words" in err and not (tmp_path / "x.html").exists()


def test_a_page_is_replaced_in_one_step_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "page.html"
    target.write_text("old")

    def fails(self, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(type(target), "write_bytes", fails)
        with pytest.raises(PlanError, match=r"^page .*page\.html cannot be written: No space left on device$"):
            write_page(layered(1), target)
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
    write_page(layered(1), target)
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(PlanError, match="cannot be written: No such file or directory"):
        write_page(layered(1), tmp_path / "missing" / "page.html")
