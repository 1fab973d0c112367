"""A process of its own: one model in one shape, captured once, planned on one machine after the other.

A line of JSON is written as soon as a machine is done.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.planning.case import Case, case_of, cpu_seconds
from benchmarks.planning.models import MODELS
from einsplit.errors import EinsplitError


class Task(msgspec.Struct, frozen=True):
    """What one process is to do."""

    commit: str
    model: str
    shape: int  # its number
    train: bool
    machines: tuple[str, ...]
    lines: str  # the file to write to

    @property
    def cases(self) -> Sequence[Case]:
        """What is to be found."""
        shape, mode = str(MODELS[self.model].shapes[self.shape]), "train" if self.train else "infer"
        return [
            Case(commit=self.commit, model=self.model, shape=shape, mode=mode, machine=name) for name in self.machines
        ]


def work(task: Task) -> None:
    """Find all, and write each."""
    model, start = MODELS[task.model], cpu_seconds()
    try:
        graph = model.graph(model.shapes[task.shape], task.train)
    except EinsplitError as error:
        for case in task.cases:
            append(task.lines, msgspec.structs.replace(case, error=f"not captured: {error}"))
        return
    captured = cpu_seconds() - start
    for case in task.cases:
        append(task.lines, case_of(msgspec.structs.replace(case, capture_cpu_seconds=captured), graph))


def append(lines: str, case: Case) -> None:
    with Path(lines).open("ab") as file:
        file.write(msgspec.json.encode(case) + b"\n")


if __name__ == "__main__":
    work(msgspec.json.decode(sys.argv[1], type=Task))
