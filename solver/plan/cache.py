"""Plans on disk, by what they depend on: the same question is not searched twice.

    key   = sha256(graph, its names, machine, method, options, pins, einsplit's version and own text, format of plans)
    value = the plan file itself, as `Plan.save` writes it: data, checked like any other

A file found is no plan yet: it is decoded, put on the graph, priced anew and written anew, and is taken only where that
gives it back, byte for byte, and where it keeps the pins. Of all that stands in it only the search's own word is left:
the status, and the bound. Whatever is damaged, stale or foreign is ignored, and overwritten by the next plan. The cache
is a convenience: no fault of a disk, a folder or a file fails a plan.
"""

from __future__ import annotations

import math
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from einsplit.errors import EinsplitError
from einsplit.graph import Graph
from einsplit.solver.machine import Machine
from einsplit.solver.pins import Pin, apart, limits_of, pin_key
from einsplit.solver.plan.format import FORMAT, MAX_FILE_BYTES, Plan, decode_plan, realise
from einsplit.solver.plan.write import written
from einsplit.solver.problem.problem import Problem

ENVIRONMENT = "EINSPLIT_CACHE"  # `off`, or a folder for the plans
OFF = ("off", "0", "no", "false")
MAX_FILES = 256
MAX_BYTES = 256 * 2**20
ROUNDING = 1e-9  # between sums in another order, relative
LEAST_SECONDS = 1e-12  # likewise, of differences of such
ABANDONED_SECONDS = 3600.0  # a file half written by a process that has ended
ENDING, PARTIAL = ".plan.json", ".partial"


def cache_folder() -> Path | None:
    """Where plans are kept: $EINSPLIT_CACHE, else `einsplit/plans` in the user's cache; None where that is `off`."""
    named = os.environ.get(ENVIRONMENT, "")
    if named.lower() in OFF:
        return None
    if named:
        return Path(named)
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):  # a relative one is to be ignored, says the XDG base directory specification
        home = os.path.expanduser("~")
        if not os.path.isabs(home):  # nobody's home
            return None
        root = os.path.join(home, ".cache")
    return Path(root) / "einsplit" / "plans"


@dataclass(frozen=True, slots=True)
class Question:
    """What a plan is asked for; `options` are all others that change what is planned."""

    graph: Graph
    machine: Machine
    method: str
    pins: Sequence[Pin] = ()
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """64 hexadecimal digits, equal for equal questions.

        Names and source lines of inner nodes are no part of a graph's hash, but of a plan, and pins are by name.
        """
        names = [(node.name, node.source) for node in self.graph.nodes]
        machine = msgspec.json.encode(self.machine, order="deterministic")
        asked = (self.method, sorted(self.options.items()), [pin_key(pin) for pin in self.pins])
        parts = (self.graph.hash, names, machine, asked, _own_version(), FORMAT)
        return sha256(repr(parts).encode(errors="backslashreplace")).hexdigest()


def cached_plan(question: Question, make: Callable[[], Plan], folder: Path | None) -> tuple[Plan, Path | None]:
    """The plan kept in the folder, and its file; else what `make` makes, which is kept from now on, and None.

    A plan whose search was stopped is not kept: with more time it would be another. No folder: nothing is kept.
    """
    if folder is None:
        return make(), None
    path = folder / f"{question.key}{ENDING}"
    found = _load(path, question)
    if found is not None:
        return found, path
    made = make()
    if made.status != "stopped":
        _keep(path, made.to_json())
    return made, None


def _load(path: Path, question: Question) -> Plan | None:
    """The plan in a file, if it answers the question."""
    try:
        plan = _checked(_read(path), question)
    except (EinsplitError, OSError, ValueError, ArithmeticError, RecursionError):
        return None
    with suppress(OSError):
        os.utime(path)  # the oldest go first: those that nobody has asked for
    return plan


def _keep(path: Path, data: bytes) -> None:
    """Write the file, if that can be, and make room for it."""
    if len(data) > MAX_FILE_BYTES:
        return
    with suppress(OSError, ValueError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(path, data)
        _make_room(path)


def _make_room(newest: Path) -> None:
    """Drop the oldest plans past the limits, and what was left half written; files of other names stay."""
    count = size = 0
    for found, status in sorted(_files(newest.parent), key=lambda row: (row[0] != newest, -row[1].st_mtime)):
        if found.name.endswith(PARTIAL):
            unwanted = time.time() - status.st_mtime > ABANDONED_SECONDS
        else:
            count, size = count + 1, size + status.st_size
            unwanted = count > MAX_FILES or size > MAX_BYTES
        if unwanted and found != newest:
            with suppress(OSError):  # another process was faster
                found.unlink()


@cache
def _own_version() -> str:
    """The version, and the text of what plans: in a checkout that changes while the version stands."""
    try:
        number = version("einsplit")
    except PackageNotFoundError:  # a checkout on the path
        number = ""
    digest = sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        with suppress(OSError):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return f"{number} {digest.hexdigest()}"


def _checked(data: bytes, question: Question) -> Plan:
    """The plan that a file's bytes are. Raises ValueError or EinsplitError where they do not answer the question."""
    plan = decode_plan(data)
    if plan.machine != question.machine or plan.method != question.method or plan.status == "stopped":
        raise ValueError("of another machine or method, or not searched to the end")
    found = realise(plan, question.graph)
    limits = limits_of(found.problem.memo, question.pins)
    graph, machine, tables = found.problem.graph, found.problem.machine, found.problem.tables
    pinned = Problem(graph, machine, tables, apart(found.problem.memo, limits), limits)
    # Written as it was: with what is pinned, which also says of a choice that breaks a pin that there is none such.
    again = written(plan.graph, plan.method, plan.status, replace(found, problem=pinned), plan.bound)
    if plan.to_json() != data or not _are_equal(msgspec.to_builtins(again), msgspec.to_builtins(plan)):
        raise ValueError("not what einsplit writes")
    return plan


def _are_equal(one: object, other: object) -> bool:
    """But for rounding: a plan of a deep graph is summed layer by layer when it is read, at once when it is made."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=LEAST_SECONDS)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_are_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_are_equal, one, other))
    return one == other


def _read(path: Path) -> bytes:
    """A file's bytes. Raises OSError or ValueError for a link, a pipe, a folder, somebody else's file, a huge one."""
    # Without blocking: a pipe in place of the file would wait for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        foreign = hasattr(os, "geteuid") and status.st_uid != os.geteuid()
        if not stat.S_ISREG(status.st_mode) or foreign or status.st_size > MAX_FILE_BYTES:
            raise ValueError("no file of ours")
        return file.read(MAX_FILE_BYTES + 1)


def _write(path: Path, data: bytes) -> None:
    """Put the bytes there in one step: two processes at once leave one whole file."""
    number, name = tempfile.mkstemp(suffix=PARTIAL, prefix=f".{path.name}.", dir=path.parent)  # of mode 0600
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        os.replace(name, path)
    finally:
        with suppress(OSError):
            os.unlink(name)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Our own files in the folder."""
    with os.scandir(folder) as rows:
        for row in rows:
            if row.name.endswith(ENDING) or (ENDING in row.name and row.name.endswith(PARTIAL)):
                with suppress(OSError):
                    if row.is_file(follow_symlinks=False):
                        yield Path(row.path), row.stat(follow_symlinks=False)
