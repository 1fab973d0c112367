"""How long planning takes, with its bound, and the memory it needs: a process for each figure.

Peak memory needs that: the peak of a process never falls.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import msgspec

from benchmarks.capture import peak_bytes
from benchmarks.planning.case import cpu_seconds
from benchmarks.planning.models import Model, Shape, llama
from benchmarks.report import ROOT, Table
from einsplit.solver.machine import load_machine
from einsplit.solver.planner import make_plan
from einsplit.solver.units import seconds_text

TURNS = 3
SHAPE = Shape(4, 2048)
SIZES = {"Llama-3-8B": (4096, 14336, 32), "Llama-3.1-405B": (16384, 53248, 128)}  # hidden, intermediate, heads
NO_LIMIT = 2**62


@dataclass(frozen=True, slots=True)
class Row:
    """What one process does. `is_limited`: whether the machine's memory is kept to."""

    size: str
    layers: int
    machine: str
    is_limited: bool = True
    asked_seconds: float | None = None


ROWS = (
    Row("Llama-3-8B", 32, "h100x8", asked_seconds=5.0),
    Row("Llama-3-8B", 32, "h100x8x8", asked_seconds=10.0),
    Row("Llama-3-8B", 32, "h100x8x2048", asked_seconds=30.0),
    Row("Llama-3.1-405B", 32, "h100x8", is_limited=False),
    Row("Llama-3.1-405B", 126, "h100x8", is_limited=False),
)
QUICK = (Row("Llama-3-8B", 1, "h100x2"),)


@dataclass(frozen=True, slots=True)
class Taken:
    """One process: seconds of both parts, what was found, and peak bytes."""

    capture_seconds: float
    plan_seconds: float
    plan_cpu_seconds: float
    nodes: int
    step_seconds: float
    gap: float | None
    status: str
    peak_bytes: int


def fast(quick: bool) -> Table:
    """The table; `quick` only sees that everything runs."""
    note = (
        f"A step of training with AdamW on a batch of {SHAPE} tokens, bfloat16. Median of {TURNS} processes for each "
        "row, one at a time. `planned in` includes the bound, where there is one (meshes of at most two axes); `CPU` "
        "is the time of all its cores; `with capture` begins at the config and is tracing, gradients, update and plan. "
        "`peak` is of the process, with torch and transformers, which tracing loads. Where memory is `unlimited` the "
        "plan need not fit, so that depth alone differs between two rows."
    )
    columns = (
        *("model", "layers", "machine", "memory", "nodes", "planned in", "asked", "CPU", "with capture"),
        *("a step", "gap", "status", "peak"),
    )
    return Table("Fast", note, columns, [_cells(row, quick) for row in (QUICK if quick else ROWS)])


def _cells(row: Row, quick: bool) -> tuple[str, ...]:
    turns = [_taken(row) for _ in range(1 if quick else TURNS)]
    last = turns[-1]
    planned, cpu, both = (
        statistics.median(figures)
        for figures in zip(
            *((t.plan_seconds, t.plan_cpu_seconds, t.plan_seconds + t.capture_seconds) for t in turns), strict=True
        )
    )
    return (
        row.size,
        str(row.layers),
        row.machine,
        "kept to" if row.is_limited else "unlimited",
        str(last.nodes),
        seconds_text(planned),
        "-" if row.asked_seconds is None else seconds_text(row.asked_seconds),
        seconds_text(cpu),
        seconds_text(both),
        seconds_text(last.step_seconds),
        "no bound" if last.gap is None else f"{100 * last.gap:.2g} %",
        last.status,
        f"{max(t.peak_bytes for t in turns) / 2**20:,.0f} MiB",
    )


def _taken(row: Row) -> Taken:
    command = [sys.executable, "-m", "benchmarks.planning.fast", msgspec.json.encode(row).decode()]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return msgspec.json.decode(done.stdout, type=Taken)


def taken(row: Row) -> Taken:
    """Captured and planned in this process."""
    hidden, intermediate, heads = SIZES[row.size]
    start = time.perf_counter()
    graph = Model(llama(hidden, intermediate, heads, row.layers), "bfloat16", (SHAPE,)).graph(SHAPE, train=True)
    captured, cpu = time.perf_counter(), cpu_seconds()
    plan = make_plan(graph, load_machine(row.machine), memory_bytes=None if row.is_limited else NO_LIMIT)
    planned, used = time.perf_counter(), cpu_seconds() - cpu
    return Taken(
        capture_seconds=captured - start,
        plan_seconds=planned - captured,
        plan_cpu_seconds=used,
        nodes=len(graph.nodes),
        step_seconds=plan.seconds,
        gap=plan.gap,
        status=plan.status,
        peak_bytes=peak_bytes(),
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(taken(msgspec.json.decode(sys.argv[1], type=Row))))
