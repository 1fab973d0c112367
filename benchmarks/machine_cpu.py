"""What one core of this machine does, in the terms of a Machine, beside the starting values of the preset `cpu`."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.exchange import SIZES, over_gloo, over_threads
from benchmarks.report import Table, median_call_seconds
from einsplit.solver.machine import cpu
from einsplit.solver.units import bytes_text, seconds_text

TITLE = "One core of this machine"
MATMUL_SIZES = (32, 64, 128, 256, 512, 1024, 2048)
PASS_BYTES = (1 << 16, 1 << 20, 1 << 23, 1 << 26, 1 << 28)


def measure(quick: bool) -> list[Table]:
    """The tables; `quick` only sees that everything runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as devices do
    try:
        budget = 0.01 if quick else 1.0
        return [preset(), matmul(budget, quick), memory(budget, quick), launch(budget), exchange(3 if quick else 31)]
    finally:
        torch.set_num_threads(before)


def preset() -> Table:
    machine = cpu(2)
    link = machine.axes[0]
    rows = [
        ("flops_per_second", f"{machine.flops_per_second:.3g}"),
        ("memory_bytes_per_second", f"{machine.memory_bytes_per_second:.3g}"),
        ("launch_seconds", f"{machine.launch_seconds:.3g}"),
        ("link: bytes_per_second", f"{link.bytes_per_second:.3g}"),
        ("link: latency_seconds", f"{link.latency_seconds:.3g}"),
    ]
    return Table("The preset", "What `cpu-N` is priced with, to hold the measured beside it.", ("rate", "value"), rows)


def matmul(budget: float, quick: bool) -> Table:
    rows = []
    for n in MATMUL_SIZES[:4] if quick else MATMUL_SIZES:
        x, y, out = torch.rand(n, n), torch.rand(n, n), torch.empty(n, n)
        seconds = median_call_seconds(partial(torch.matmul, x, y, out=out), budget)
        rows.append((f"{n}", seconds_text(seconds), f"{2 * n**3 / seconds / 1e9:.3g}"))
    note = "float32, one thread, n x n by n x n, median; 2 n^3 operations."
    return Table("Matrix products", note, ("n", "time", "10^9 operations/s"), rows)


def memory(budget: float, quick: bool) -> Table:
    rows = []
    for nbytes in PASS_BYTES[:2] if quick else PASS_BYTES:
        x, out = torch.rand(nbytes // 4), torch.empty(nbytes // 4)
        seconds = median_call_seconds(partial(torch.add, x, 1.0, out=out), budget)
        fresh = median_call_seconds(partial(torch.add, x, 1.0), budget)
        rates = (f"{2 * nbytes / taken / 1e9:.3g}" for taken in (seconds, fresh))
        rows.append((bytes_text(nbytes), seconds_text(seconds), *rates))
    note = (
        "`x + 1`, float32, one thread, median: bytes read and written per second; into storage that is there, and into "
        "new storage as every node of a Program does."
    )
    return Table("A pass over memory", note, ("tensor", "time", "GB/s", "GB/s, new storage"), rows)


def launch(budget: float) -> Table:
    x, pair, square = torch.rand(8), torch.rand(8, 8), torch.rand(8, 8)
    calls = {
        "add, 8 elements": lambda: x + x,
        "matmul, 8 x 8": lambda: pair @ square,
        "reshape and transpose, 8 x 8": lambda: pair.reshape(4, 2, 8).transpose(0, 1),
    }
    rows = [(name, seconds_text(median_call_seconds(call, budget, least=100))) for name, call in calls.items()]
    return Table("Overhead of a small operation", "Median, from Python.", ("operation", "time"), rows)


def exchange(repeats: int) -> Table:
    rows = []
    for size, threads, gloo in zip(SIZES, over_threads(repeats), over_gloo(repeats), strict=True):
        rates = [f"{size / seconds / 1e9:.3g}" for seconds in (threads, gloo)]
        rows.append((bytes_text(size), seconds_text(threads), rates[0], seconds_text(gloo), rates[1]))
    note = (
        f"All-to-all of two devices that are ready, median of {repeats}, the slower of the two: bytes that each sends, "
        "over threads of one process, and over gloo between two processes, which is what Ray workers use."
    )
    columns = ("each sends", "threads", "GB/s", "gloo", "GB/s")
    return Table("An exchange between two devices", note, columns, rows)
