"""Hostile plan and machine files: a typed error each, soon, and nothing is opened, imported, executed or started."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from einsplit.errors import EinsplitError, MachineError, PlanError
from einsplit.solver.machine import decode_machine, load_machine
from einsplit.solver.plan import Plan, decode_plan, realise
from tests.doors.plan.damages import DATA, GRAPH
from tests.doors.plan.hostile import CODE, FILES, MEGABYTE, PICKLE, STRANGERS, value
from tests.doors.plan.test_plan_mutations import MUTATIONS, delete, digit, drop, flip, repeat, swap
from tests.doors.plan.test_plan_mutations import replace as other_kind
from tests.solver.machines.test_files import TEXT, changed

SECONDS = 1.0  # of this process, for one file
HARM = ("import", "exec", "compile", "os.", "subprocess", "socket", "ctypes", "pickle", "marshal", "code.", "shutil.")
WATCHED: list[tuple[str, str]] | None = None  # what is seen now, while somebody watches


def watch(event: str, arguments: tuple[object, ...]) -> None:
    if WATCHED is not None and (event == "open" or event.startswith(HARM)):
        WATCHED.append((event, str(arguments[0])[:200] if arguments else ""))


sys.addaudithook(watch)  # for good: there is no way to take one off


@contextmanager
def harmless(*opened: object) -> Iterator[None]:
    """Within it no file is opened but these, in that order, and nothing is imported, executed or started; in time."""
    global WATCHED
    WATCHED, started = [], time.process_time()
    try:
        yield
    finally:
        taken, seen, WATCHED = time.process_time() - started, WATCHED, None
    assert seen == [("open", str(path)) for path in opened]
    assert taken < SECONDS, f"{taken:.1f} s"


def refused(read: Callable[[], object], error: type[EinsplitError]) -> str:
    with pytest.raises(error) as caught:
        read()
    return str(caught.value)


def test_the_watch_sees_what_is_harmful(tmp_path: Path) -> None:
    global WATCHED
    WATCHED = []
    (tmp_path / "x").write_bytes(b"")
    eval("1 + 1")
    seen, WATCHED = WATCHED, None
    assert {"open", "exec", "compile"} <= {event for event, _ in seen}


# ---------------------------------------------------------------------------------------------------------- plans


@pytest.mark.parametrize("data", [data for _, data in FILES], ids=[name for name, _ in FILES])
def test_a_hostile_plan_file_is_refused_with_its_place(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(data)
    refused(lambda: Plan.load(path), PlanError)  # what is loaded when an error is first made, is now
    with harmless(path):
        told = refused(lambda: Plan.load(path), PlanError)
    assert told.startswith(f"plan file {path} is damaged: ")
    assert "$" in told or "(byte " in told or "decode byte" in told or "recursion" in told or "`" in told


@pytest.mark.parametrize("data", [data for _, data in STRANGERS], ids=[name for name, _ in STRANGERS])
def test_a_plan_of_something_else_is_refused_by_the_graph(data: bytes) -> None:
    with harmless():
        told = refused(lambda: realise(decode_plan(data), GRAPH), PlanError)
    assert told.startswith(("$.", "this plan was made for another graph: "))


@pytest.mark.parametrize("place", [["peak_bytes"], ["nodes", 4, "live_bytes"]], ids=["peak", "live"])
def test_a_plan_that_is_wrong_about_memory_is_refused_by_the_graph(place: list[str | int]) -> None:
    told = refused(lambda: realise(decode_plan(value(place, 1)), GRAPH), PlanError)
    assert "_bytes" in told


def test_there_are_more_than_fifty_of_them() -> None:
    assert len({data for _, data in FILES + STRANGERS}) == len(FILES) + len(STRANGERS) > 80


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "file:///etc/passwd", "http://127.0.0.1/plan", "|touch hacked", CODE]
)
def test_a_name_is_a_file_and_nothing_else(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with harmless(name):
        told = refused(lambda: Plan.load(name), PlanError)
    assert told.startswith(f"plan file {name} ")
    assert not list(tmp_path.iterdir())


def mutate_plans(number: int, seed: int) -> int:
    """How many mutated files are refused; the others are read, and are for the graph or are not."""
    random, told = Random(seed), 0
    for _ in range(number):
        data = DATA
        for _ in range(random.choice((1, 1, 1, 2, 5))):
            try:
                data = random.choice(MUTATIONS)(random, data)
            except (ValueError, KeyError, IndexError, TypeError, AttributeError, LookupError):
                data = random.choice((flip, delete, repeat))(random, data)  # it is no JSON any more
        with harmless():
            try:
                plan = decode_plan(data)
            except PlanError as error:
                told += 1
                assert str(error).startswith("plan file plan ")
                continue
        try:
            realise(plan, GRAPH)
        except PlanError as error:
            told += 1
            assert str(error).startswith(("$", "this plan was made for another graph: "))
    return told


def test_2000_mutated_plan_files_are_refused_or_read() -> None:
    assert 1500 < mutate_plans(2000, seed=1) < 2000


@pytest.mark.slow
def test_100000_mutated_plan_files_are_refused_or_read() -> None:
    assert mutate_plans(100_000, seed=2) > 75_000


# ------------------------------------------------------------------------------------------------------- machines

GOOD = TEXT.encode()
GOOD_AXIS = {"name": "lan", "size": 2, "bytes_per_second": 1e8, "latency_seconds": 1e-3}
MACHINES: list[tuple[str, bytes]] = [
    ("a pickle", PICKLE),
    ("code", CODE.encode()),
    ("a byte order mark", b"\xef\xbb\xbf" + GOOD),
    ("UTF-16", TEXT.encode("utf-16")),
    ("a null byte", b"\0" + GOOD),
    ("no UTF-8", GOOD.replace(b"desk", b"\xff", 1)),
    ("a lone surrogate", GOOD.replace(b"desk", b"\\ud800", 1)),
    ("1e999999", GOOD.replace(b"2000000000.0", b"1e999999", 1)),
    ("a million digits", GOOD.replace(b"2000000000.0", b"9" * 10**6, 1)),
    ("a size of a million digits", GOOD.replace(b'"size": 2', b'"size": ' + b"9" * 10**6, 1)),
    ("a size that is a numeric string", changed(["axes", 0, "size"], "2")),
    ("a size that is true", changed(["axes", 0, "size"], True)),
    ("a size below nothing", changed(["axes", 0, "size"], -(2**63))),
    ("bandwidth with a unit", changed(["axes", 0, "bytes_per_second"], "100 MB/s")),
    ("bandwidth below nothing", changed(["axes", 0, "bytes_per_second"], -1e8)),
    ("a negative zero of memory", changed(["memory_bytes"], -0.0)),
    ("axes that are a path", changed(["axes"], "/etc/passwd")),
    ("axes as deep as a stack", GOOD.replace(b'"axes": [', b'"axes": ' + b"[" * 100_000, 1)),
    ("a dtype that is code", changed(["matmul_flops_per_second", CODE], 1.0)),
    ("a dtype that is a path", changed(["matmul_flops_per_second", "../../etc/passwd"], 1.0)),
    ("rates for a list", changed(["matmul_flops_per_second"], [1.0])),
    ("a class to make", changed(["__class__"], "os.system")),
    ("a name that is an object", changed(["name"], {"$ref": "file:///etc/passwd"})),
    ("a hundred thousand axes", changed(["axes"], [{}] * 10**5)),
    ("no axes and no numbers", b"{}"),
]  # fmt: skip
LONG = [
    ("a field of a megabyte", changed([MEGABYTE], 1)),
    ("a dtype of a megabyte", changed(["matmul_flops_per_second", MEGABYTE], 1.0)),
    ("an axis of a megabyte", changed(["axes", 0], {**GOOD_AXIS, "name": MEGABYTE, "size": 1})),
    ("an axis that clears the terminal", changed(["axes", 0], {**GOOD_AXIS, "name": "\x1b[2J", "size": 1})),
]
OF_MACHINES = (flip, delete, repeat, digit, swap, drop, other_kind)


@pytest.mark.parametrize("data", [data for _, data in MACHINES], ids=[name for name, _ in MACHINES])
def test_a_hostile_machine_file_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    path.write_bytes(data)
    refused(lambda: load_machine(str(path)), MachineError)
    with harmless(str(path)):
        told = refused(lambda: load_machine(str(path)), MachineError)
    assert told.startswith(f"machine file {path}: ")


def test_500_mutated_machine_files_are_refused_or_are_machines() -> None:
    random, told = Random(3), 0
    for _ in range(500):
        data = random.choice(OF_MACHINES)(random, GOOD)
        with harmless():
            try:
                found = decode_machine(data, "m.json")
            except MachineError as error:
                told += 1
                assert str(error).startswith("machine file m.json: ")
                continue
        assert 1 <= found.num_devices <= 2**16 and found.memory_bytes > 0
    assert 250 < told < 500


def test_what_a_hostile_file_is_told_is_no_longer_than_a_screen_and_can_be_printed() -> None:
    """A text of a megabyte is not repeated."""
    told = {name: refused(lambda data=data: realise(decode_plan(data), GRAPH), PlanError) for name, data in FILES}
    told |= {name: refused(lambda data=data: realise(decode_plan(data), GRAPH), PlanError) for name, data in STRANGERS}
    told |= {name: refused(lambda data=data: decode_machine(data, "m.json"), MachineError) for name, data in LONG}
    assert {name: text[:100] for name, text in told.items() if len(text) > 2000} == {}
    assert [name for name, text in told.items() if not text.replace("\n", "").isprintable()] == []
