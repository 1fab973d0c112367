"""The measurement as a whole: `python -m benchmarks planning`, or its parts, by `python -m benchmarks.planning`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.planning.fast import fast
from benchmarks.planning.machines import MACHINES
from benchmarks.planning.models import MODELS
from benchmarks.planning.run import run, tasks
from benchmarks.planning.tables import every_case, summary
from benchmarks.report import Table, report, save

CASES, CASES_TITLE = "planning_cases", "Planning: every case"
JOBS = 2
QUICK = (("6 matrices",), ("cpu-4", "h100x8 as 2x2x2"))


def everything(quick: bool) -> list[Table]:
    """All tables but the one of all cases, which is written beside; `quick` only sees that everything runs."""
    with tempfile.TemporaryDirectory() as folder:
        return [fast(quick), *cases_tables(quick, Path(folder), JOBS, not quick)]


def cases_tables(
    quick: bool,
    folder: Path,
    jobs: int,
    saved: bool,
    models: Sequence[str] = tuple(MODELS),
    machines: Sequence[str] = tuple(MACHINES),
    every: bool = False,
) -> list[Table]:
    """What the cases show; the lines of what is found are kept in the folder, and every case is written if `saved`."""
    folder.mkdir(parents=True, exist_ok=True)
    todo = tasks(folder, *QUICK, every=False)[:2] if quick else tasks(folder, models, machines, every)
    found = run(todo, jobs, say)
    if saved:
        say(f"written to {save(CASES, report('planning', CASES_TITLE, [every_case(found)]))}")
    return summary(found)


def say(text: str) -> None:
    """To whoever waits."""
    print(text, file=sys.stderr, flush=True)
