"""Planning a train step of Llama-3-8B over eight and sixty-four devices: seconds, the bound, and the memory it takes.

Every row has a process of its own, since the peak of a process never falls.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from benchmarks.capture import peak_bytes, train_step_of
from benchmarks.report import ROOT, Table
from einsplit.solver.machine import Machine, MeshAxis
from einsplit.solver.planner import make_plan
from einsplit.solver.units import seconds_text

TITLE = "Planning a train step of Llama-3-8B"
ROWS = ((4, "2x4"), (32, "2x4"), (32, "2x2x2"), (32, "8x8"))  # layers, mesh


@dataclass(frozen=True, slots=True)
class Planned:
    """One process: seconds of each part, what was found, and peak bytes."""

    capture_seconds: float
    plan_seconds: float
    certified_seconds: float
    nodes: int
    step_seconds: float
    gap: float | None
    peak_bytes: int


def measure(quick: bool) -> list[Table]:
    """The table; `quick` only sees that everything runs."""
    rows = [(layers, mesh, _planned(layers, mesh)) for layers, mesh in (((1, "2"),) if quick else ROWS)]
    note = (
        "A batch of 4 x 2048 tokens, float32, every parameter trained with AdamW. `captured in` is tracing, gradients "
        "and update; `planned in` the search; `with bound` the search and the linear programs that bound it (meshes of "
        "at most two axes). Devices: 494 TFLOP/s, 3.35 TB/s and 80 GB each, over links of 450 GB/s (the slower axis of "
        "two: 50 GB/s) and 3 us of latency. Rates: NVIDIA's data sheet of the H100 SXM, TF32 without sparsity, and one "
        "port of 400 Gbit/s; the latency is a guess."
    )
    columns = ("layers", "mesh", "captured in", "planned in", "with bound", "nodes", "priced at", "gap", "peak")
    return [Table("By depth and mesh", note, columns, [_row(*row) for row in rows])]


def _row(layers: int, mesh: str, found: Planned) -> tuple[str, ...]:
    times = map(seconds_text, (found.capture_seconds, found.plan_seconds, found.certified_seconds))
    gap = "none" if found.gap is None else f"{100 * found.gap:.2g} %"
    peak = f"{found.peak_bytes / 2**20:,.0f} MiB"
    return (str(layers), mesh, *times, str(found.nodes), seconds_text(found.step_seconds), gap, peak)


def machine(mesh: str) -> Machine:
    """The slower axis first; one of several is between hosts."""
    sizes = [int(size) for size in mesh.split("x")]
    rates = [5e10 if k == 0 and len(sizes) == 2 else 4.5e11 for k in range(len(sizes))]
    axes = [MeshAxis(f"axis{k}", size, rate, 3e-6) for k, (size, rate) in enumerate(zip(sizes, rates, strict=True))]
    return Machine(
        name="h100",
        axes=tuple(axes),
        flops_per_second=4.94e14,
        memory_bytes_per_second=3.35e12,
        memory_bytes=8e10,
        launch_seconds=3e-6,
    )


def _planned(layers: int, mesh: str) -> Planned:
    command = [sys.executable, "-m", "benchmarks.planning", str(layers), mesh]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return msgspec.json.decode(done.stdout, type=Planned)


def plan_step_of(layers: int, mesh: str) -> Planned:
    """Llama-3-8B's config with that many layers: captured and planned in this process."""
    times = [time.perf_counter()]
    _, graph = train_step_of(layers)
    times.append(time.perf_counter())
    found = make_plan(graph, machine(mesh))
    times.append(time.perf_counter())
    captured, planned, certified = (b - a for a, b in pairwise(times))
    return Planned(captured, planned, certified, len(graph.nodes), found.seconds, found.gap, peak_bytes())


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(plan_step_of(int(sys.argv[1]), sys.argv[2])))
