"""Fit against measurement, as an SVG or PNG: points are measured, lines are fitted."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from einsplit.calibrate.fitting import Calibration, Row
from einsplit.errors import MachineError
from einsplit.solver.machine import Machine
from einsplit.solver.units import bytes_text, rate_text, seconds_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".svg", ".png")
COLOURS = ("#1f6fb2", "#d1632a", "#2f8f5b", "#8a4fa8", "#b03a48", "#6b6b6b")


@dataclass(frozen=True, slots=True)
class Panel:
    """One of the plots of seconds: the rows of one kind, over their size, and what the fit says of any size."""

    title: str
    kind: str
    xlabel: str
    unit: str
    seconds: Callable[[Machine, float], float]


PANELS = (
    Panel(
        "Pass over memory",
        "pass",
        "bytes read and written",
        "B",
        lambda machine, size: machine.launch_seconds + size / machine.memory_bytes_per_second,
    ),
    Panel(
        "Joins of several operations",
        "join",
        "scalar operations",
        "",
        lambda machine, size: machine.launch_seconds + size / machine.flops_per_second,
    ),
    Panel(
        "Exchange between devices",
        "exchange",
        "bytes that each device sends",
        "B",
        lambda machine, size: machine.axes[0].latency_seconds + size / machine.axes[0].bytes_per_second,
    ),
)


def check_drawing(path: str) -> None:
    """Raises MachineError for a file name that is no picture's."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise MachineError(f"plot {path}: a plot is a file whose name ends in {' or '.join(SUFFIXES)}")


def draw(found: Calibration, path: str) -> None:
    """Write the picture, in one step. Raises MachineError where that fails."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_drawing(path)
    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    plots = figure.subplots(2, 2).flatten()
    _draw_matmuls(plots[0], found)
    for plot, panel in zip(plots[1:], PANELS, strict=True):
        _draw_seconds(plot, panel, found)
    machine = found.machine
    figure.suptitle(
        f"{machine.name}: points are measured, lines are fitted\n"
        f"{rate_text(machine.flops_per_second, 'FLOP')} in joins, {rate_text(machine.memory_bytes_per_second, 'B')} of "
        f"memory, launch {seconds_text(machine.launch_seconds)}, half size {machine.half_size:.2g}",
        fontsize=11,
    )
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    try:
        try:
            figure.savefig(partial, dpi=110)
            partial.replace(target)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise MachineError(f"plot {path} cannot be written: {error.strerror or error}") from error


def _draw_matmuls(plot: Axes, found: Calibration) -> None:
    """Operations per second over the least dimension: square matrices joined by a line, thin ones with a stroke."""
    machine, rows = found.machine, found.rows
    kinds = list(dict.fromkeys(row.kind for row in rows if row.kind.startswith("matmul")))
    for kind, colour in zip(kinds, cycle(COLOURS), strict=False):
        mine = [row for row in rows if row.kind == kind]
        square = [row for row in mine if row.work == 2 * row.size**3]
        thin = [row for row in mine if row not in square]
        dtype = kind.removeprefix("matmul ")
        sizes = _between(square)
        rates = [2 * n**3 / (machine.launch_seconds + 2 * n**3 / machine.matmul_rate(dtype, n)) for n in sizes]
        plot.plot(sizes, rates, color=colour, label=dtype)
        plot.plot([row.size for row in square], [row.work / row.measured for row in square], "o", color=colour)
        at = [row.size for row in thin]
        plot.plot(at, [row.work / row.measured for row in thin], "o", color=colour, markerfacecolor="white")
        plot.plot(at, [row.work / row.fitted for row in thin], "_", color=colour, markersize=12)
    _scales(plot, "least dimension", "FLOP", "Matrix multiplication")
    plot.set_xscale("log", base=2)
    plot.set_ylabel("operations per second")
    plot.yaxis.set_major_formatter(lambda value, _: rate_text(value, "FLOP"))
    plot.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    plot.xaxis.set_minor_formatter(lambda value, _: "")
    plot.plot([], [], "o", color="grey", markerfacecolor="white", label="thin (stroke: fitted)")
    plot.legend(fontsize=8)


def _draw_seconds(plot: Axes, panel: Panel, found: Calibration) -> None:
    """Seconds over size, between whole powers of ten."""
    rows = [row for row in found.rows if row.kind == panel.kind]
    if not rows:
        plot.text(0.5, 0.5, "one device: nothing to exchange", ha="center", transform=plot.transAxes)
    sizes = _between(rows)
    fitted = [panel.seconds(found.machine, size) for size in sizes]
    measured = [row.measured for row in rows]
    plot.plot(sizes, fitted, color=COLOURS[0], label="fitted")
    plot.plot([row.size for row in rows], measured, "o", color=COLOURS[1], label="measured")
    _scales(plot, panel.xlabel, panel.unit, panel.title)
    plot.set_ylabel("time")
    plot.yaxis.set_major_formatter(lambda value, _: seconds_text(value))
    if rows:
        logs = [math.log10(seconds) for seconds in (*fitted, *measured)]
        plot.set_ylim(10.0 ** math.floor(min(logs)), 10.0 ** math.ceil(max(logs)))
        plot.legend(fontsize=8, loc="upper left")


def _between(rows: Sequence[Row]) -> list[float]:
    """Sizes from the least to the largest, a hundred to a curve."""
    if not rows:
        return []
    least, most = min(row.size for row in rows), max(row.size for row in rows)
    return [least * (most / least) ** (step / 99) for step in range(100)]


def _scales(plot: Axes, xlabel: str, unit: str, title: str) -> None:
    plot.set_xscale("log", base=10)
    plot.set_yscale("log")
    plot.set_xlabel(xlabel)
    plot.set_title(title, fontsize=10)
    plot.grid(True, which="major", alpha=0.3)
    plot.xaxis.set_minor_formatter(lambda value, _: "")
    plot.yaxis.set_minor_formatter(lambda value, _: "")
    plot.xaxis.set_major_formatter(lambda value, _: bytes_text(value) if unit == "B" else count_text(value))


def count_text(count: float) -> str:
    """`10k`, `1M`."""
    return rate_text(count, "").removesuffix("/s").replace(" ", "")
