"""A mutated plan file is refused or is a true and legal plan, and reading it executes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from random import Random

import numpy as np
import pytest
import torch

from einsplit.api import compile_plan
from einsplit.errors import PlanError
from einsplit.evaluate import evaluate
from einsplit.runtime.local import LocalSession
from einsplit.solver.plan import decode_plan, realise
from einsplit.solver.plan import format as plan_file
from tests.doors.plan.damages import DATA, GRAPH, JUNK, PLAN, REFUSED, ROOT, changed, fields

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
