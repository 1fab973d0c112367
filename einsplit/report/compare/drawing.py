"""A comparison as an SVG or PNG: a bar for each plan, its seconds split into computing and moving tensors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from einsplit.errors import PlanError
from einsplit.report.compare.rows import OURS, Row
from einsplit.solver.plan import Plan
from einsplit.solver.units import bytes_text, seconds_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".svg", ".png")
COMPUTE, MOVING = "#1f6fb2", "#d1632a"
PALE = 0.5  # opacity of rivals
WIDEST = 12.0  # times ours: a longer bar is broken off, so that the others can still be told apart


def check_drawing(path: str) -> None:
    """Raises PlanError for a file name that is no picture's, or a place where no file can be."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise PlanError(f"plot {path}: a plot is a file whose name ends in {' or '.join(SUFFIXES)}")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise PlanError(f"plot {path} cannot be written: there is no folder {folder}")


def draw(rows: Sequence[Row], ours: Plan, title: str, path: str) -> None:
    """Write the picture, in one step. Raises PlanError where that fails."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_drawing(path)
    planned = [(row, row.plan) for row in rows if row.plan is not None]
    none = [f"{row.name}: {row.why_not}" for row in rows if row.plan is None]
    figure = Figure(figsize=(10, 1.6 + 0.42 * len(planned) + 0.18 * len(none)), layout="constrained")
    FigureCanvasAgg(figure)
    _draw_bars(figure.subplots(), planned, ours)
    devices = f"{ours.machine.num_devices} devices of {ours.machine.name}"
    figure.suptitle(f"{title} over {devices}: predicted time of a step", fontsize=11)
    if none:
        figure.supxlabel("No plan:  " + "\n".join(none), fontsize=7.5, color="#555555", x=0.01, ha="left")
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    metadata = {"Date": None} if target.suffix.lower() == ".svg" else None
    try:
        try:
            # Names inside an SVG are made of the salt: the same comparison gives the same file.
            with mpl.rc_context({"svg.hashsalt": "einsplit"}):
                figure.savefig(partial, dpi=120, metadata=metadata)
            partial.replace(target)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise PlanError(f"plot {path} cannot be written: {error.strerror or error}") from error


def _draw_bars(plot: Axes, planned: Sequence[tuple[Row, Plan]], ours: Plan) -> None:
    """The cheapest on top; behind each bar its figures."""
    widest = min(max(plan.seconds for _, plan in planned), WIDEST * ours.seconds)
    for at, (row, plan) in enumerate(planned):
        opacity = 1.0 if row.name == OURS else PALE
        shown, compute = min(plan.seconds, widest), min(row.compute_seconds, widest)
        plot.barh(at, compute, color=COMPUTE, alpha=opacity, height=0.66)
        plot.barh(at, shown - compute, left=compute, color=MOVING, alpha=opacity, height=0.66)
        broken = " (bar broken off)" if plan.seconds > shown else ""
        figures = f"{seconds_text(plan.seconds)}  x {row.ratio(ours):.2f}{broken}"
        plot.annotate(
            figures,
            (shown, at),
            xytext=(5, 5),
            textcoords="offset points",
            va="center",
            fontsize=9,
            fontweight="bold" if row.name == OURS else "normal",
        )
        sent = f"{bytes_text(plan.bytes)} sent" + (f", {bytes_text(plan.peak_bytes)} held" if plan.peak_bytes else "")
        plot.annotate(
            f"{sent}{'; ' if row.how else ''}{row.how}",
            (shown, at),
            xytext=(5, -6),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color="#555555",
        )
    plot.set_yticks(range(len(planned)), [row.name for row, _ in planned])
    for label, (row, _) in zip(plot.get_yticklabels(), planned, strict=True):
        label.set_fontweight("bold" if row.name == OURS else "normal")
    plot.set_ylim(len(planned) - 0.4, -0.6)  # the first on top
    plot.set_xlim(0, widest * 1.45)  # room for the figures
    plot.xaxis.set_major_formatter(lambda value, _: seconds_text(value))
    plot.axvline(ours.seconds, color="#333333", linewidth=0.8, linestyle=":", zorder=0)
    plot.grid(True, axis="x", alpha=0.25)
    plot.set_axisbelow(True)
    plot.spines[["top", "right"]].set_visible(False)
    plot.barh([0], [0], color=COMPUTE, label="computing")
    plot.barh([0], [0], color=MOVING, label="moving tensors")
    plot.legend(fontsize=8, loc="upper right", frameon=False)
