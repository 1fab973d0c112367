"""The plan cache: the same question is answered from disk, and nothing that lies there is trusted or fails a plan."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import msgspec
import pytest

from einsplit.builder import Builder
from einsplit.einsum import einsum
from einsplit.solver.pins import as_pins, kept_from
from einsplit.solver.plan import Plan, cache
from einsplit.solver.plan.cache import Question, cache_folder, cached_plan
from einsplit.solver.planner import make_plan
from tests.doors.cli.lines import ROOT
from tests.doors.graphs import machine, mlp_graph

GRAPH, MACHINE = mlp_graph(), machine(2, 2)
QUESTION = Question(GRAPH, MACHINE, "search")
PLAN = make_plan(GRAPH, MACHINE)


def asked(folder: Path | None, question: Question = QUESTION, made: Plan = PLAN) -> tuple[Plan, Path | None]:
    """The answer, where a search would give `made`."""
    return cached_plan(question, lambda: made, folder)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file that answers the question, in a folder of plans."""
    asked(tmp_path / "plans")
    (found,) = (tmp_path / "plans").iterdir()
    return found


def test_a_plan_is_answered_from_its_file_which_is_a_plan_file(file: Path) -> None:
    def fail() -> Plan:
        raise AssertionError("searched again")

    assert cached_plan(QUESTION, fail, file.parent) == (PLAN, file)
    assert Plan.load(file) == PLAN and file.read_bytes() == PLAN.to_json()


@pytest.mark.parametrize("bits", [0o000, 0o022])
def test_folder_and_files_are_the_users_own(tmp_path: Path, bits: int) -> None:
    before = os.umask(bits)
    try:
        asked(tmp_path / "deep" / "plans")
    finally:
        os.umask(before)
    (found,) = (tmp_path / "deep" / "plans").iterdir()
    assert stat.S_IMODE(found.parent.stat().st_mode) == 0o700 and stat.S_IMODE(found.stat().st_mode) == 0o600


def test_what_changes_a_plan_changes_its_key() -> None:
    builder = Builder()
    x = builder.input("x", (6, 8), "float32", labels=["b", "f"])
    renamed = builder.build({"y": einsum("b f -> b f", x, join="x + x")})
    other_name = msgspec.structs.replace(renamed.nodes[1], name="elsewhere")
    nodes = (renamed.nodes[0], other_name, *renamed.nodes[2:])
    moved = type(renamed)(nodes, renamed.sizes, renamed.outputs, renamed.updates)
    assert moved == renamed  # but its plan's rows are called otherwise
    pins = as_pins(["@h=axis0"])
    questions = [
        QUESTION,
        Question(mlp_graph(batch=8), MACHINE, "search"),
        Question(GRAPH, machine(4), "search"),
        Question(GRAPH, msgspec.structs.replace(MACHINE, flops_per_second=2e7), "search"),
        Question(GRAPH, msgspec.structs.replace(MACHINE, matmul_flops_per_second={"float32": 1e9}), "search"),
        Question(GRAPH, MACHINE, "sweep"),
        Question(GRAPH, MACHINE, "search", pins),
        Question(GRAPH, MACHINE, "search", as_pins(["@h=axis1"])),
        Question(GRAPH, MACHINE, "search", (kept_from(PLAN),)),
        Question(GRAPH, MACHINE, "search", (kept_from(make_plan(GRAPH, MACHINE, "whole")),)),
        Question(GRAPH, MACHINE, "search", (), {"memory_bytes": 5}),
        Question(renamed, MACHINE, "search"),
        Question(moved, MACHINE, "search"),
    ]
    keys = [question.key for question in questions]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 64 and set(key) <= set("0123456789abcdef") for key in keys)


def test_the_version_and_the_planners_own_text_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = QUESTION.key
    monkeypatch.setattr(cache, "_own_version", lambda: "another")
    assert QUESTION.key != before
    monkeypatch.undo()
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    assert QUESTION.key != before


def test_the_key_is_that_of_other_processes() -> None:
    code = "from tests.doors.plan.test_cache import QUESTION; print(QUESTION.key)"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        found = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == QUESTION.key


def test_a_stopped_search_is_not_kept(tmp_path: Path) -> None:
    stopped = msgspec.structs.replace(PLAN, status="stopped", bound=None, gap=None)
    assert asked(tmp_path / "plans", made=stopped) == (stopped, None)
    assert not (tmp_path / "plans").exists()


def test_a_stopped_plan_that_lies_there_is_not_taken(file: Path) -> None:
    file.write_bytes(msgspec.structs.replace(PLAN, status="stopped", bound=None, gap=None).to_json())
    assert asked(file.parent) == (PLAN, None)


def foreign(plan: Plan, **changes: object) -> bytes:
    return msgspec.structs.replace(plan, **changes).to_json()


def renamed_nodes(plan: Plan) -> bytes:
    rows = tuple(msgspec.structs.replace(row, name="\x1b[2J") for row in plan.nodes)
    return msgspec.structs.replace(plan, nodes=rows).to_json()


HOSTILE = {
    "empty": b"",
    "a half": PLAN.to_json()[: len(PLAN.to_json()) // 2],
    "nonsense": b"\x00\xff" * 1000,
    "a pickle": b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94.",
    "deep": b"[" * 100_000,
    "deep nodes": b'{"format": 2, "nodes": ' + b"[" * 50_000,
    "a huge number": PLAN.to_json().replace(b'"bytes": ', b'"bytes": ' + b"9" * 5000, 1),
    "infinite": PLAN.to_json().replace(b'"seconds": ', b'"seconds": 1e999', 1),
    "another graph": make_plan(mlp_graph(batch=8), MACHINE).to_json(),
    "another machine": make_plan(GRAPH, machine(4)).to_json(),
    "another rate": make_plan(GRAPH, msgspec.structs.replace(MACHINE, launch_seconds=1e-6)).to_json(),
    "another method": make_plan(GRAPH, MACHINE, "sweep").to_json(),
    "another price": foreign(PLAN, seconds=PLAN.seconds / 2, bound=None, gap=None),
    "another peak": foreign(PLAN, peak_bytes=PLAN.peak_bytes + 1),
    "other bytes by axis": foreign(PLAN, bytes_by_axis={"nowhere": PLAN.bytes}),
    "other names": renamed_nodes(PLAN),
    "a later format": PLAN.to_json().replace(b'"format": 2', b'"format": 3'),
    "one blank more": PLAN.to_json() + b" ",
    "keys twice": PLAN.to_json().replace(b'  "method"', b'  "method": "sweep",\n  "method"', 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_the_plan_is_ignored_and_overwritten(name: str, file: Path) -> None:
    assert HOSTILE[name] != PLAN.to_json()
    file.write_bytes(HOSTILE[name])
    assert asked(file.parent) == (PLAN, None)
    assert asked(file.parent) == (PLAN, file)


def test_bytes_changed_at_random_are_the_plan_or_are_ignored(file: Path) -> None:
    random, good = Random(3), PLAN.to_json()
    ignored = 0
    for _ in range(150):
        data = bytearray(good)
        for _ in range(random.randint(1, 3)):
            data[random.randrange(len(data))] = random.randrange(256)
        file.write_bytes(data)
        found, where = asked(file.parent)
        claims = {"status": found.status}  # the search's own word
        assert msgspec.structs.replace(PLAN, **claims) == found
        ignored += where is None
    assert ignored > 140


def test_a_plan_that_breaks_the_pins_is_ignored(tmp_path: Path) -> None:
    question = Question(GRAPH, MACHINE, "search", as_pins(["@b=whole"]))
    assert any("b" in node.cut for node in PLAN.nodes)
    path = tmp_path / f"{question.key}{cache.ENDING}"
    path.write_bytes(PLAN.to_json())
    assert asked(tmp_path, question)[1] is None


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_text("kept")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link(path: Path) -> None:
    target = path.parent.parent / "elsewhere.json"
    target.write_bytes(PLAN.to_json())
    path.symlink_to(target)


def a_loop(path: Path) -> None:
    path.symlink_to(path.name)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(cache.MAX_FILE_BYTES + 1)


@pytest.mark.parametrize("put", [a_folder, a_pipe, a_link, a_loop, a_device, too_large])
def test_what_is_no_file_of_ours_is_not_read(put, file: Path) -> None:
    file.unlink()
    put(file)
    start = time.monotonic()
    assert asked(file.parent) == (PLAN, None)
    assert time.monotonic() - start < 5
    if put is a_folder:
        assert (file / "inside").read_text() == "kept"
    elif put is not too_large:
        assert not file.is_symlink() and asked(file.parent) == (PLAN, file)
    assert not [path for path in file.parent.iterdir() if path.name.endswith(cache.PARTIAL)]


def test_somebody_elses_file_is_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    assert asked(file.parent) == (PLAN, None)


@pytest.mark.parametrize("where", ["a file", "/dev/null/plans", "/proc/plans", "a\0b", "x" * 5000])
def test_a_folder_that_cannot_be_fails_no_plan(where: str, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("mine")
    assert asked(tmp_path / where) == (PLAN, None)
    assert (tmp_path / "a file").read_text() == "mine"


@pytest.mark.parametrize("call", ["open", "replace", "mkstemp", "scandir", "utime"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), PermissionError(13, "Permission denied")])
def test_no_fault_of_a_disk_fails_a_plan(
    call: str, error: OSError, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*rest: object, **more: object) -> None:
        raise error

    owner = cache.tempfile if call == "mkstemp" else os
    with monkeypatch.context() as patch:
        patch.setattr(owner, call, fail)
        assert asked(file.parent)[0] == PLAN
        assert asked(tmp_path / "new")[0] == PLAN
    for folder in (file.parent, tmp_path / "new"):
        if folder.exists():
            assert not [path for path in folder.iterdir() if path.name.endswith(cache.PARTIAL)]


def test_a_disk_that_fills_while_writing_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b"damaged")
    fdopen = os.fdopen

    class Full:
        def __init__(self, number: int) -> None:
            self.file = fdopen(number, "wb")

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *rest: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", lambda number, mode: Full(number) if mode == "wb" else fdopen(number, mode))
    assert asked(file.parent) == (PLAN, None)
    assert [path.name for path in file.parent.iterdir()] == [file.name] and file.read_bytes() == b"damaged"


def test_the_oldest_are_dropped_and_files_of_others_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_FILES", 3)
    (tmp_path / "notes.txt").write_text("mine")
    questions = [Question(GRAPH, MACHINE, "search", (), {"number": k}) for k in range(5)]
    paths = [tmp_path / f"{question.key}{cache.ENDING}" for question in questions]
    for k, question in enumerate(questions[:3]):
        asked(tmp_path, question)
        os.utime(paths[k], (1000 + k, 1000 + k))
    assert asked(tmp_path, questions[0])[1] == paths[0]  # asked for: now the newest
    asked(tmp_path, questions[3])
    assert [path.exists() for path in paths] == [True, False, True, True, False]
    monkeypatch.setattr(cache, "MAX_BYTES", len(PLAN.to_json()) * 2)
    asked(tmp_path, questions[4])
    assert sum(path.exists() for path in paths) == 2 and paths[4].exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_an_ended_process_left_half_written_is_dropped_in_time(file: Path) -> None:
    old, new = (file.with_name(f".{file.name}.{name}{cache.PARTIAL}") for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1000, 1000))
    asked(file.parent, Question(GRAPH, MACHINE, "search", (), {"number": 1}))
    assert not old.exists() and new.exists()


def test_processes_at_once_leave_one_whole_plan(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from tests.doors.plan.test_cache import asked, PLAN\n"
        "for _ in range(30):\n"
        "    for path in Path('plans').glob('*.json'): path.unlink(missing_ok=True)\n"
        "    assert asked(Path('plans'))[0] == PLAN\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in running:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
    assert [path.name for path in (tmp_path / "plans").iterdir()] == [f"{QUESTION.key}{cache.ENDING}"]
    assert asked(tmp_path / "plans")[1] is not None


@pytest.mark.parametrize(
    "named, root, home, expected",
    [
        ("", "", "/home/u", "/home/u/.cache/einsplit/plans"),
        ("", "/var/c", "/home/u", "/var/c/einsplit/plans"),
        ("", "relative", "/home/u", "/home/u/.cache/einsplit/plans"),
        ("/there", "/var/c", "/home/u", "/there"),
        ("off", "/var/c", "/home/u", None),
        ("OFF", "", "/home/u", None),
    ],
)
def test_where_plans_are_kept(named, root, home, expected, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("EINSPLIT_CACHE", named), ("XDG_CACHE_HOME", root), ("HOME", home)):
        monkeypatch.setenv(name, value)
    assert cache_folder() == (None if expected is None else Path(expected))
    assert json.dumps(str(cache_folder()))


def test_without_a_folder_nothing_is_kept() -> None:
    assert asked(None) == (PLAN, None)
