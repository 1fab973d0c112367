"""`einsplit explain --capture`: what can be cut of a program, by which labels, and what runs whole, why and where."""

from __future__ import annotations

import json

import pytest

from einsplit.report import text
from einsplit.report.why import line_text

PROGRAM = """
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(64, 256, bias=False)
        self.down = nn.Linear(256, 64, bias=False)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(3))

    def forward(self, x, scale):
        for layer in self.layers:
            x = layer(x)
        left, values, right = torch.linalg.svd(x)  # whole
        return left, values[:5], right, torch.sqrt(values) * (scale + 1)


def net():
    return Net(), (torch.ones(8, 64), torch.tensor(2.0))


def free():
    return torch.relu, (torch.ones(4, 3),)


def identity():
    return (lambda x: x), (torch.ones(4, 3),)
"""

TOP = """\
27 nodes, 19 of them to compute: 1.59 MFLOP, 541 kB read and written, 393 kB of parameters

nodes  operations   bytes  parameters
   12      99.7 %  96.5 %       100 %  can be cut by 2 labels or more
    2      <0.1 %  <0.1 %         0 %  by 1 label
    5       0.3 %   3.5 %         0 %  by none: every device repeats this work

nodes  operations   bytes  parameters  can be cut by these labels, of these kinds
    6      98.8 %  84.0 %       100 %  x_0=8 up=256 up_1=64
    3      49.4 %  42.0 %      50.0 %    layers.*.up.linear
    3      49.4 %  42.0 %      50.0 %    layers.*.down.linear
    3       0.8 %   9.1 %         0 %  x_0=8 up=256
                                         layers.*.relu
    4       0.3 %   3.5 %         0 %  nothing: runs whole
    3       0.3 %   3.5 %         0 %    linalg_svd
    1      <0.1 %  <0.1 %         0 %    slice
    3       0.1 %   3.4 %         0 %  x_0=8 up_1=64
                                         layers.*.add
"""
SMALL = """\
    3      <0.1 %  <0.1 %         0 %  others: 3 small kinds; --full lists them
"""
FULL = """\
    2      <0.1 %  <0.1 %         0 %  c=8
    1      <0.1 %  <0.1 %         0 %    mul
    1      <0.1 %  <0.1 %         0 %    sqrt
    1      <0.1 %  <0.1 %         0 %  nothing: a single number
                                         add
"""
WHOLE = """\

2 kinds run whole
  linalg_svd: einsplit knows no way to cut aten.linalg_svd.default here
    at net.py:24: left, values, right = torch.linalg.svd(x)  # whole
  slice: slice needs each of its labels whole
    at net.py:25: return left, values[:5], right, torch.sqrt(values) * (scale + 1)
"""
FREE = """\
2 nodes, 1 of them to compute: 24 FLOP, 96 B read and written, 0 B of parameters

nodes  operations   bytes  parameters
    1       100 %   100 %         0 %  can be cut by 2 labels or more
    0         0 %     0 %         0 %  by 1 label
    0         0 %     0 %         0 %  by none: every device repeats this work

nodes  operations   bytes  parameters  can be cut by these labels, of these kinds
    1       100 %   100 %         0 %  arg0_0=4 arg0_1=3
                                         relu
"""
IDENTITY = "1 node, 0 of them to compute: 0 FLOP, 0 B read and written, 0 B of parameters\n"
REFUSED = """\
CaptureError: 2 kernels run whole, and strict refuses that.
  linalg_svd: einsplit knows no way to cut aten.linalg_svd.default here
    at net.py:24: left, values, right = torch.linalg.svd(x)  # whole
  slice: slice needs each of its labels whole
    at net.py:25: return left, values[:5], right, torch.sqrt(values) * (scale + 1)
  Write this with operators that can be cut; or leave strict out, and every device repeats it.
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return "net.py"


@pytest.mark.parametrize(
    "words, told",
    [
        (["net"], TOP + SMALL + WHOLE),
        (["net", "--full"], TOP + FULL + WHOLE),
        (["free"], FREE),
        (["identity"], IDENTITY),
    ],
)
def test_the_whole_text(words, told, call, program):
    name, *options = words
    assert call("explain", "--capture", f"{program}:{name}", *options) == (0, told, "")


def test_as_json_there_are_all_kinds_with_counts_labels_and_lines(call, program):
    code, out, err = call("explain", "--capture", f"{program}:net", "--json")
    fields = json.loads(out)
    rows = {row["kind"]: row for row in fields.pop("rows")}
    assert (code, err) == (0, "")
    for name in ("operations", "bytes", "parameter_bytes"):
        assert fields[name] == sum(row[name] for row in rows.values())
    products = 3 * 2 * 8 * 64 * 256
    assert rows["layers.*.up.linear"] == {
        "kind": "layers.*.up.linear",
        "nodes": 3,
        "operations": products,
        "bytes": 3 * 4 * (8 * 64 + 64 * 256 + 8 * 256),
        "parameter_bytes": 3 * 4 * 64 * 256,
        "labels": {"x_0": 8, "up": 256, "up_1": 64},
        "whole": {},
        "why": "",
        "source": "net.py:13",
    }
    assert rows["slice"]["why"] == "slice needs each of its labels whole" and rows["slice"]["labels"] == {}
    assert list(rows["slice"]["whole"].values()) == [8, 5] and rows["slice"]["source"] == "net.py:25"
    assert fields["nodes"] == 27 and rows["add"]["why"] == "a single number"


def test_a_graph_is_explained_too_by_its_expressions(call, targets):
    code, out, err = call("explain", "--capture", f"{targets}:GRAPH")
    assert (code, err) == (0, "") and "b f, f h -> b h, x * y, sum\n" in out


def test_no_line_is_wider_than_100_columns(call, tmp_path):
    long = "a_label_of_somebodys_model_that_has_a_long_name"
    lines = [
        "import einsplit",
        f"NAMES = [f'{long}_{{k}}' for k in range(4)]",
        "builder = einsplit.Builder()",
        "x = builder.input('x', (2, 3, 4, 5), 'float32', labels=NAMES)",
        "text = ' '.join(NAMES)",
        "y = einsplit.einsum(f'{text} -> {text}', x, join='exp(x) + exp(x * x)')",
        "GRAPH = builder.build({'y': y})",
    ]
    (tmp_path / "long.py").write_text("\n".join(lines))
    code, out, _ = call("explain", "--capture", f"{tmp_path}/long.py:GRAPH", "--full")
    assert code == 0 and max(map(len, out.splitlines())) <= text.WIDTH
    assert f"{long}_0=2" in out and "exp(x * x)" in out


def test_a_program_is_no_plan_file_and_the_error_says_what_to_write(call, program):
    code, out, err = call("explain", f"{program}:net")
    assert (code, out) == (2, "")
    assert err.endswith("net.py:net is a program, not a plan file: einsplit explain --capture net.py:net\n")


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_strict_refuses_what_runs_whole_and_takes_what_does_not(verb, call, program):
    assert call(verb, f"{program}:net", "--devices", 2, "--strict") == (2, "", REFUSED)
    assert call(verb, f"{program}:free", "--devices", 2, "--strict")[0] == 0


@pytest.mark.parametrize(
    "part, total, told",
    [
        (0, 0, "0 %"), (0, 7, "0 %"), (7, 7, "100 %"), (1, 10**6, "<0.1 %"), (5, 10**4, "0.1 %"), (1, 3, "33.3 %"),
        (10**6 - 1, 10**6, "99.9 %"), (999, 1000, "99.9 %"), (4, 10**4, "<0.1 %"),
    ],
)  # fmt: skip
def test_only_all_is_100_percent_and_only_nothing_is_0(part, total, told):
    assert text.percent_text(part, total) == told


def test_a_line_is_shown_without_the_folders_that_a_reader_knows(tmp_path, monkeypatch):
    (tmp_path / "model.py").write_text("x = 1\n    y = x  \n")
    monkeypatch.chdir(tmp_path)
    here = f"{tmp_path}/model.py"
    assert line_text(f"{here}:2", short=True) == "at model.py:2: y = x"
    assert line_text(f"{here}:2") == f"at {here}:2: y = x"
    assert line_text("/lib/site-packages/some/model.py:7", short=True) == "at some/model.py:7"
    assert line_text("/gone/model.py:7", short=True) == "at /gone/model.py:7"
    assert line_text("") == ""
