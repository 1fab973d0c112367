"""A plan file is data: what is written comes back, what is damaged is refused with its place, nothing is executed."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from einsplit.api import compile_plan
from einsplit.api import plan as make
from einsplit.errors import PlanError
from einsplit.evaluate import evaluate
from einsplit.runtime.local import LocalSession
from einsplit.solver.plan import FORMAT, Plan, decode_plan, realise
from einsplit.solver.plan import format as plan_file
from einsplit.solver.sharding import Sum
from tests.doors.graphs import machine, mlp_graph

ROOT = Path(__file__).parents[2]
GRAPH = mlp_graph()
PLAN = make(GRAPH, machine(2, 2))


@pytest.fixture
def path(tmp_path):
    PLAN.save(tmp_path / "plan.json")
    return tmp_path / "plan.json"


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


REFUSED = [
    # the graph and the plan do not fit
    ("nodes left out", ["nodes", 3], ..., "$.nodes: "),
    (
        "unknown label",
        ["nodes", 2, "cut", 0],
        "nobody",
        "$.nodes[2].cut[0] (w1): axis 'axis0' cannot be nobody; it can",
    ),
    (
        "label of another node",
        ["nodes", 2, "cut", 0],
        "b",
        "$.nodes[2].cut[0] (w1): axis 'axis0' cannot be b; it can be",
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
    ("a bound above the plan", ["bound"], 1e9, "$.bound: bound 1000000000.0 and gap None do not fit"),
    # prices that are not true
    ("cheaper than it is", ["seconds"], PLAN.seconds * (1 - 1e-6), "$: the plan says"),
    ("a node cheaper than it is", ["nodes", 4, "seconds"], PLAN.nodes[4].seconds / 2, "$.nodes[4] ("),
    ("bytes that are not moved", ["bytes"], PLAN.bytes + 1, f"{PLAN.bytes + 1:,} bytes; these choices on this machine"),
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
        f"has format {FORMAT + 1}, and this einsplit reads up to {FORMAT}: use the",
    ),
    ("format 0", ["format"], 0, "has format 0, and formats count from 1"),
    ("negative format", ["format"], -7, "has format -7, and formats count from 1"),
    ("format as text", ["format"], "1", "`$.format`"),
    ("format as a fraction", ["format"], 1.5, "`$.format`"),
    ("no format", ["format"], ..., "missing required field `format`"),
]


@pytest.mark.parametrize("place, value, told", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_changed_file_is_refused_with_its_place(place, value, told, path):
    path.write_bytes(changed(place, value))
    with pytest.raises(PlanError) as caught:
        realise(Plan.load(path), GRAPH)
    assert told in str(caught.value)


DATA = PLAN.to_json()
JUNK = [
    ("empty", b"", "Input data was truncated"),
    ("blank", b" \n", "Input data was truncated"),
    ("binary junk", bytes(range(256)) * 8, "damaged"),
    ("no UTF-8", DATA.replace(b'"x"', b'"\xff"', 1), "damaged"),
    ("a truncated file", DATA[: len(DATA) // 2], "Input data was truncated"),
    ("trailing text", DATA + b"x", "damaged"),
    ("two plans", DATA + DATA, "damaged"),
    ("deep lists", b"[" * 100_000, "damaged"),
    ("deep objects", b'{"format":' * 100_000, "damaged"),
    ("deep nesting in a field", DATA.replace(b'"nodes": [', b'"nodes": ' + b"[" * 100_000, 1), "damaged"),
    ("a huge whole number", DATA.replace(b'"format": 1', b'"format": ' + b"9" * 5000, 1), "damaged"),
    ("a number beyond floats", changed(["seconds"], 1.0).replace(b'"seconds": 1.0', b'"seconds": 1e999', 1), "damaged"),
    ("NaN", changed(["seconds"], float("nan")), "damaged"),
    ("Infinity", changed(["seconds"], float("inf")), "damaged"),
    ("a list", b"[]", "damaged"),
    ("null", b"null", "damaged"),
    ("a pickle", pickle.dumps({"format": 1}), "damaged"),
    ("a key twice", DATA.replace(b'"bytes": ', b'"bytes": 7,\n  "bytes": ', 1), "damaged: $.bytes stands twice"),
    ("a node's key twice", DATA.replace(b'"does":', b'"name":"x","does":', 1), "damaged: $.nodes[0].name stands twice"),
    ("a class twice", DATA.replace(b'"digits": {', b'"digits": {"b":[0],', 1), "damaged: $.digits.b stands twice"),
]


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


# ------------------------------------------------------------------------------------------------------ mutations


def places(tree, at=()):
    """The places of all values of a JSON tree."""
    yield at
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, part in parts:
        yield from places(part, (*at, key))


def get(tree, place):
    for key in place:
        tree = tree[key]
    return tree


def put(tree, place, value):
    get(tree, place[:-1])[place[-1]] = value


def flip(random, data):
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]


def delete(random, data):
    at = random.randrange(len(data))
    return data[:at] + data[at + random.randint(1, 20) :]


def repeat(random, data):
    at, length = random.randrange(len(data)), random.randint(1, 200)
    return data[: at + length] + data[at:]


def digit(random, data):
    """Another digit in a number: still JSON."""
    at = random.choice([k for k, byte in enumerate(data) if chr(byte).isdigit()])
    return data[:at] + str(random.randrange(10)).encode() + data[at + 1 :]


def swap(random, data):
    """Two values of one type change places."""
    tree = json.loads(data)
    kinds = {}
    for place in list(places(tree))[1:]:
        kinds.setdefault(type(get(tree, place)), []).append(place)
    one, two = random.sample(random.choice([row for row in kinds.values() if len(row) > 1]), 2)
    first, second = get(tree, one), get(tree, two)
    if one != two[: len(one)] and two != one[: len(two)]:
        put(tree, one, second)
        put(tree, two, first)
    return json.dumps(tree).encode()


def replace(random, data):
    """A value by one of another kind."""
    tree = json.loads(data)
    values = [None, True, -1, 0, 3, 2**70, 1e308, -0.0, "", "b", "\u001b[2J", [], {}, [0], {"sum": [0]}, {"sum": [9]}]
    put(tree, random.choice(list(places(tree))[1:]), random.choice(values))
    return json.dumps(tree).encode()


def drop(random, data):
    tree = json.loads(data)
    *inner, last = random.choice(list(places(tree))[1:])
    del get(tree, inner)[last]
    return json.dumps(tree).encode()


def choose(random, data):
    """Another choice for a node: what a user might edit by hand."""
    tree = json.loads(data)
    cut = random.choice(tree["nodes"])["cut"]
    cut[random.randrange(len(cut))] = random.choice([None, "b", "f", "h", "g", {"sum": [0]}, {"sum": [0, 1]}])
    return json.dumps(tree).encode()


MUTATIONS = (flip, delete, repeat, digit, swap, replace, drop, choose)


@pytest.fixture(scope="module")
def right():
    """Feeds, and what the graph means for them."""
    random = np.random.default_rng(0)
    arrays = {name: random.standard_normal(GRAPH.shape(at)).astype("float32") for name, at in GRAPH.inputs.items()}
    return arrays, evaluate(GRAPH, arrays)


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_a_mutated_file_is_refused_or_is_a_true_and_legal_plan(mutate, right):
    random = Random(mutate.__name__)
    survivors = set()
    for _ in range(60):
        data = mutate(random, DATA)
        try:
            plan = decode_plan(data)
            found = realise(plan, GRAPH)
        except PlanError as error:
            assert str(error)
            continue
        price = found.problem.price(found.shardings)
        assert plan.seconds == pytest.approx(price.seconds, rel=1e-9) and plan.bytes == price.bytes_sent
        str(plan)
        survivors.add(tuple(found.shardings))
    arrays, expected = right
    for shardings in survivors:  # nearly always the plan itself: a name, a source line or nothing has changed
        assert_runs(shardings, arrays, expected)


def assert_runs(shardings, arrays, expected):
    rows = zip(fields()["nodes"], shardings, strict=True)
    assert all(row["cut"] == json.loads(plan_file._compact(cut)) for row, cut in rows)
    program = compile_plan(PLAN, GRAPH)
    with LocalSession(program) as session:
        for name in program.parameters:
            session.put(name, torch.from_numpy(arrays[name]))
        fetches = session.step({name: torch.from_numpy(arrays[name]) for name in program.feeds})
    for name, value in expected.items():
        np.testing.assert_allclose(fetches[name].numpy(), value, rtol=1e-5, atol=1e-5)


AUDIT = """
import sys
from einsplit.solver.plan import Plan
from einsplit.errors import PlanError
seen = []
watched = ("import", "open", "exec", "compile", "subprocess", "os.", "socket", "ctypes", "pickle", "marshal", "code.")
def watch(event, arguments):
    if event.startswith(watched) and not (event == "open" and arguments[0] in sys.argv[1:]):
        seen.append((event, str(arguments)[:200]))
sys.addaudithook(watch)
told = 0
for path in sys.argv[1:]:
    try:
        Plan.load(path)
    except PlanError as error:
        told += 1
print(told, seen)
"""


def test_reading_any_file_imports_opens_and_executes_nothing(tmp_path):
    files = []
    random = Random(1)
    for number, (_, data, _) in enumerate(JUNK):
        files.append(tmp_path / f"junk{number}.json")
        files[-1].write_bytes(data)
    for number, (_, place, value, _) in enumerate(REFUSED):
        files.append(tmp_path / f"refused{number}.json")
        files[-1].write_bytes(changed(place, value))
    for number in range(40):
        files.append(tmp_path / f"mutated{number}.json")
        files[-1].write_bytes(MUTATIONS[number % len(MUTATIONS)](random, DATA))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", AUDIT, *map(str, files)]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    told, seen = printed.split(" ", 1)
    assert int(told) >= len(JUNK) and seen == "[]\n"
