"""A plan that cuts and moves something, and what may happen to its file."""

from __future__ import annotations

import json
from pathlib import Path

from einsplit.api import plan as make
from einsplit.solver.plan import FORMAT
from tests.doors.graphs import machine, mlp_graph

ROOT = Path(__file__).parents[3]
GRAPH = mlp_graph()
PLAN = make(GRAPH, machine(2, 2))


def fields():
    return json.loads(PLAN.to_json())


def changed(place, value):
    """The file with one value replaced; `place` is keys and indices."""
    tree = fields()
    *inner, last = place
    part = tree
    for key in inner:
        part = part[key]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return json.dumps(tree).encode()


REFUSED = [
    # the graph and the plan do not fit
    ("nodes left out", ["nodes", -1], ..., "$.nodes: "),
    (
        "unknown label",
        ["nodes", 2, "cut", 0],
        "nobody",
        "$.nodes[2].cut[0] (w1): axis 'axis0' cannot be nobody\n  It can be whole",
    ),
    (
        "label of another node",
        ["nodes", 2, "cut", 0],
        "b",
        "$.nodes[2].cut[0] (w1): axis 'axis0' cannot be b\n  It can be whole",
    ),
    (
        "addends of an input",
        ["nodes", 2, "cut", 0],
        {"sum": [0]},
        "$.nodes[2].cut[0] (w1): axis 'axis0' cannot be sum(x0)",
    ),
    ("unknown class", ["digits", "nobody"], [0], "$.digits: 'nobody' is no extent class of the graph"),
    ("another node", ["nodes", 2, "does"], "parameter q r", "$.nodes[2] (w1): the plan says 'parameter q r'"),
    # wrong by itself
    ("axis out of range", ["digits", "b"], [2], "$.digits['b']: [2] are not different axes of a machine that has 2"),
    ("negative axis", ["digits", "b"], [-1], "$.digits['b']: [-1] are not different axes"),
    ("axis twice", ["digits", "b"], [0, 0], "$.digits['b']: [0, 0] are not different axes"),
    ("too few choices", ["nodes", 1, "cut"], [None], "$.nodes[1].cut: 1 choices for 2 mesh axes"),
    ("too many choices", ["nodes", 1, "cut"], [None] * 3, "$.nodes[1].cut: 3 choices for 2 mesh axes"),
    ("negative bytes", ["bytes"], -1, "$.bytes: -1, and must be finite and not negative"),
    ("negative seconds", ["nodes", 1, "seconds"], -1.0, "$.nodes[1].seconds: -1.0, and must be finite"),
    ("a bound above the plan", ["bound"], 1e9, "$.bound: bound 1000000000.0 and gap 0.0 do not fit"),
    # prices that are not true
    ("cheaper than it is", ["seconds"], PLAN.seconds * (1 - 1e-6), "$.bound: bound"),
    ("dearer than it is", ["seconds"], PLAN.seconds * (1 + 1e-6), "$.bound: bound"),
    ("a gap that is none", ["gap"], 0.5, "$.bound: bound"),
    ("a node cheaper than it is", ["nodes", 4, "seconds"], PLAN.nodes[4].seconds / 2, "$.nodes[4] ("),
    ("bytes that are not moved", ["bytes"], PLAN.bytes + 1, f"{PLAN.bytes:,} bytes in all, and the plan sends "),
    ("bytes of a node", ["nodes", 7, "bytes"], 7, "7 bytes; these choices on this machine"),
    ("words that are not moved", ["nodes", 6, "words", "moved"], 11, '$.nodes[6].words (einsum_3): the plan says {"mo'),
    ("a bound that is none", ["nodes", 4, "words", "bound"], 32.0, "$.nodes[4].words (einsum): the plan says"),
    ("a grid that is not the best", ["nodes", 4, "words", "grid"], 37.0, "$.nodes[4].words (einsum): the plan says"),
    ("words of one node left out", ["nodes", 6, "words"], None, "the plan says null, and it is "),
    ("words of a node that has none", ["nodes", 0, "words"], {"moved": 0}, ", and it is null"),
    ("words below 0", ["nodes", 6, "words", "moved"], -1, "$.nodes[6].words.moved: -1, and must be finite"),
    ("more words than there can be", ["nodes", 6, "words", "moved"], 10**400, "$.nodes[6].words.moved: 1000"),
    ("more bytes than there can be", ["nodes", 6, "live_bytes"], 10**400, "$.nodes[6].live_bytes: 1000"),
    ("bytes below 0 on an axis", ["bytes_by_axis", "axis1"], -1, "$.bytes_by_axis['axis1']: -1, and must be finite"),
    ("a bound beyond floats", ["nodes", 6, "words", "bound"], "inf", "`$.nodes[6].words.bound`"),
    ("a runner-up dearer than it is", ["nodes", 4, "runner_up_seconds"], 1.0, "$.nodes[4].runner_up_seconds ("),
    ("another machine", ["machine", "flops_per_second"], 1e12, "The file was changed by hand, or written by"),
    # schema
    ("no nodes", ["nodes"], ..., "missing required field `nodes`"),
    ("unknown field", ["colour"], "red", "contains unknown field `colour`"),
    ("unknown field of a node", ["nodes", 0, "colour"], "red", "`$.nodes[0]`"),
    ("text for a number", ["seconds"], "1", "`$.seconds`"),
    ("number for text", ["nodes", 2, "name"], 5, "`$.nodes[2].name`"),
    ("number for a choice", ["nodes", 2, "cut", 0], 5, "`$.nodes[2].cut[0]`"),
    ("unknown status", ["status"], "certain", "`$.status`"),
    ("machine with one axis of 1", ["machine", "axes", 0, "size"], 1, "size is 1, and an axis has at least 2"),
    ("machine too large", ["machine", "axes", 0, "size"], 10**9, "at most 65,536"),
    # versions
    (
        "newer format",
        ["format"],
        FORMAT + 1,
        f"has format {FORMAT + 1}, and this einsplit reads up to {FORMAT}.\n  Use the",
    ),
    ("format 0", ["format"], 0, "has format 0, and formats count from 1"),
    ("negative format", ["format"], -7, "has format -7, and formats count from 1"),
    ("format as text", ["format"], "1", "`$.format`"),
    ("format as a fraction", ["format"], 1.5, "`$.format`"),
    ("no format", ["format"], ..., "missing required field `format`"),
]


DATA = PLAN.to_json()
JUNK = [
    ("empty", b"", "Input data was truncated"),
    ("blank", b" \n", "Input data was truncated"),
    ("binary junk", bytes(range(256)) * 8, "damaged"),
    ("no UTF-8", DATA.replace(b'"x"', b'"\xff"', 1), "damaged"),
    ("a truncated file", DATA[: DATA.index(b"    {")], "Input data was truncated"),
    ("trailing text", DATA + b"x", "damaged"),
    ("two plans", DATA + DATA, "damaged"),
    ("deep lists", b"[" * 100_000, "damaged"),
    ("deep objects", b'{"format":' * 100_000, "damaged"),
    ("deep nesting in a field", DATA.replace(b'"nodes": [', b'"nodes": ' + b"[" * 100_000, 1), "damaged"),
    ("a huge whole number", DATA.replace(b'"format": %d' % FORMAT, b'"format": ' + b"9" * 5000, 1), "damaged"),
    ("a number beyond floats", changed(["seconds"], 1.0).replace(b'"seconds": 1.0', b'"seconds": 1e999', 1), "damaged"),
    ("NaN", changed(["seconds"], float("nan")), "damaged"),
    ("Infinity", changed(["seconds"], float("inf")), "damaged"),
    ("a list", b"[]", "damaged"),
    ("null", b"null", "damaged"),
    ("a pickle", b"\x80\x04\x95\x0f\0\0\0\0\0\0\0}\x94\x8c\x06format\x94K\x01s.", "damaged"),
    ("a key twice", DATA.replace(b'"bytes": ', b'"bytes": 7,\n  "bytes": ', 1), "damaged: $.bytes stands twice"),
    ("a node's key twice", DATA.replace(b'"does":', b'"name":"x","does":', 1), "damaged: $.nodes[0].name stands twice"),
    ("a class twice", DATA.replace(b'"digits": {', b'"digits": {"b":[0],', 1), "damaged: $.digits.b stands twice"),
]
