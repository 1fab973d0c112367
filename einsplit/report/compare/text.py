"""Rows of a comparison as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from einsplit.report.compare.rows import Row, fits
from einsplit.solver.plan import Plan
from einsplit.solver.units import bytes_text, seconds_text

HEAD = ("plan", "a step", "times ours", "compute", "sent", "held", "how")


def compared_text(rows: Sequence[Row], ours: Plan) -> str:
    """One line for each plan, and one for each rival that has none.

    Where a rival is cheaper than ours, which would be a defect, the last lines say so.
    """
    table = [HEAD, *(_cells(row, row.plan, ours) for row in rows if row.plan is not None)]
    widths = [max(len(cells[k]) for cells in table) for k in range(len(HEAD))]
    lines = [_line(cells, widths) for cells in table]
    none = [f"{row.name}: no plan: {row.why_not}" for row in rows if row.plan is None]
    parts = (lines, none, cheaper_lines(rows, ours))
    return "\n\n".join("\n".join(part) for part in parts if part)


def cheaper_lines(rows: Sequence[Row], ours: Plan) -> list[str]:
    """What is to be said of rivals that are cheaper than ours."""
    names = [f"{row.name} ({100 - 100 * (row.ratio(ours) or 0.0):.2g} % less)" for row in rows if row.is_cheaper(ours)]
    if not names:
        return []
    why = (
        "the search was stopped before it was done: let it run."
        if ours.status == "stopped"
        else "this is a defect of einsplit: please report it, with the program and the machine."
    )
    return [f"CHEAPER THAN OUR PLAN: {', '.join(names)}", f"  {why}"]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Words to the left, figures to the right."""
    padded = (
        cell.ljust(width) if head in ("plan", "how") else cell.rjust(width)
        for head, cell, width in zip(HEAD, cells, widths, strict=True)
    )
    return "  ".join(padded).rstrip()


def _cells(row: Row, plan: Plan, ours: Plan) -> tuple[str, ...]:
    held = "unknown" if not plan.peak_bytes else bytes_text(plan.peak_bytes) + ("" if fits(plan) else " (too much)")
    return (
        row.name,
        seconds_text(plan.seconds),
        f"{row.ratio(ours):.2f}",
        seconds_text(row.compute_seconds),
        bytes_text(plan.bytes),
        held,
        row.how,
    )
