"""A result file: what was run, on what, and tables in Markdown."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True, slots=True)
class Table:
    """`note` says what was measured and how."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        rows = [self.columns, *self.rows]
        widths = [max(3, *(len(row[k]) for row in rows)) for k in range(len(self.columns))]
        lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        return "\n".join([f"## {self.title}", "", self.note, "", lines[0], rule, *lines[1:]])


def report(name: str, title: str, tables: Sequence[Table]) -> str:
    """The text of a result file; every figure in it comes from this run."""
    head = [
        f"# {title}",
        "",
        f"- command: `python -m benchmarks {name}`",
        f"- commit: {commit()}",
        f"- hardware: {hardware()}",
        f"- software: Python {platform.python_version()}, torch {version('torch')}, ray {version('ray')}",
        f"- date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
    ]
    return "\n".join(head) + "\n\n" + "\n\n".join(map(str, tables)) + "\n"


def save(name: str, text: str) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    path.write_text(text, encoding="utf-8")
    return path


def commit() -> str:
    """The commit that was measured, and whether the tree differed from it (results aside)."""
    try:
        head = git("rev-parse", "HEAD").strip()
        changed = git("status", "--porcelain", "--", ".", ":!benchmarks/results").strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown (no git)"
    return head + (" with uncommitted changes" if changed else "")


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def hardware() -> str:
    """Cores this process may use, and the name of the processor."""
    names: tuple[str, ...] = ()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = tuple(dict.fromkeys(line.partition(":")[2].strip() for line in lines if line.startswith("model name")))
    except OSError:
        pass  # no Linux
    return f"{len(os.sched_getaffinity(0))} cores of {', '.join(names) or platform.processor() or 'unknown'}"


def median_call_seconds(call: Callable[[], object], budget_seconds: float, least: int = 5) -> float:
    """Median seconds of a call, over as many calls as fit in the budget after one to warm up, but at least `least`."""
    call()
    taken: list[float] = []
    deadline = time.perf_counter() + budget_seconds
    while len(taken) < least or time.perf_counter() < deadline:
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)
