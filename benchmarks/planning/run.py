"""All cases: a process for each model, shape and mode, several at once; what is found already is not found again.

Lines of one commit lie in files of one folder. A process that dies, or takes too long, is told as the error of the
case it was at, and the cases after that are given to another.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from benchmarks.planning.case import Case
from benchmarks.planning.machines import FINER
from benchmarks.planning.models import MODELS
from benchmarks.planning.worker import Task, append
from benchmarks.report import ROOT, commit

WORKER_SECONDS = 3600.0

Say = Callable[[str], None]


def tasks(folder: Path, models: Iterable[str], machines: Sequence[str], every: bool) -> list[Task]:
    """Every model in every shape, trained and evaluated, on all machines of at most two mesh axes.

    On finer meshes in its first shape only, unless `every`.
    """
    own = commit()
    return [
        Task(own, name, number, train, tuple(wanted), str(folder / f"{_file(name)}-{number}-{mode}.jsonl"))
        for name in models
        for number in range(len(MODELS[name].shapes))
        for mode, train in (("train", True), ("infer", False))
        if (wanted := [machine for machine in machines if every or number == 0 or machine not in FINER])
    ]


def run(todo: Sequence[Task], jobs: int, say: Say) -> list[Case]:
    """What is found, in the order of the tasks."""
    with ThreadPoolExecutor(jobs) as pool:
        return [case for found in pool.map(lambda task: _finished(task, say), todo) for case in found]


def _finished(task: Task, say: Say) -> list[Case]:
    while True:
        found = {case.machine: case for case in _read(task)}
        missing = tuple(name for name in task.machines if name not in found)
        if not missing:
            return [found[name] for name in task.machines]
        rest = msgspec.structs.replace(task, machines=missing)
        first = rest.cases[0]
        say(f"{' '.join(first.subject)}: {', '.join(missing)}")
        fault = _faulted(rest)
        if first.machine not in {case.machine for case in _read(task)}:
            append(task.lines, msgspec.structs.replace(first, error=fault or "the process ended without a word"))


def _faulted(task: Task) -> str:
    """What went wrong in the process, if anything."""
    command = [sys.executable, "-m", "benchmarks.planning.worker", msgspec.json.encode(task).decode()]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WORKER_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer in {WORKER_SECONDS:,.0f} s"
    return f"exit code {done.returncode}: {' '.join(done.stderr.splitlines()[-1:])}" if done.returncode else ""


def _read(task: Task) -> list[Case]:
    """The lines written so far by this commit; a line that a death cut short is none."""
    path = Path(task.lines)
    found: list[Case] = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            case = msgspec.json.decode(line, type=Case)
        except msgspec.DecodeError:
            continue
        if case.commit == task.commit:
            found.append(case)
    return found


def _file(model: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in model)
