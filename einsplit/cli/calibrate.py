"""`einsplit calibrate`: measure this machine, and write a machine file."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from einsplit.calibrate import BACKENDS, Calibration, Row
from einsplit.calibrate import calibrate as measured
from einsplit.calibrate.drawing import check_drawing, draw
from einsplit.cli.common import as_json, print_json, progress
from einsplit.errors import MachineError
from einsplit.solver.machine import save_machine
from einsplit.solver.units import seconds_text

COLUMNS = ("what", "size", "measured", "fitted", "error")


@click.command(epilog="Example: einsplit calibrate --devices 2 -o machine.json --plot fit.svg")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write the machine to this file.")
@click.option("--devices", type=int, default=2, show_default=True, help="How many devices at once, a thread each.")
@click.option("--backend", type=click.Choice(BACKENDS), default="threads", show_default=True, help="What joins them.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw fit against measurement: fit.svg or fit.png.")
@click.option("--quick", is_flag=True, help="A few seconds, and rougher figures.")
@as_json
def calibrate(output: str | None, devices: int, backend: str, plot: str | None, quick: bool, as_json: bool) -> None:
    """Measure this machine as the runtime uses it, and fit the figures that plans are priced with.

    Multiplications by size and dtype, passes over memory, small and large joins, and exchanges along each mesh axis,
    on all devices at once. Leave the machine alone meanwhile. `einsplit plan --machine machine.json` takes the file.
    """
    if plot is not None:
        check_drawing(plot)
    for path in (output, plot):
        if path is not None:
            _check_writable(path)  # now, not after the measuring
    with progress(f"calibrating {devices} devices") as say:
        found = measured(devices, backend, quick, say)
    if output is not None:
        save_machine(found.machine, output)
    if plot is not None:
        draw(found, plot)
    if as_json:
        print_json(_fields(found))
        return
    click.echo(f"{calibration_table(found)}\n\n{found.machine}")
    for path in (output, plot):
        if path is not None:
            click.echo(f"written to {path}")


def calibration_table(found: Calibration) -> str:
    """A row for each sample, and for each kind the error of half of its samples and of the worst."""
    cells = [COLUMNS, *(_cells(row) for row in found.rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    kinds = dict.fromkeys(row.kind for row in found.rows)
    told = [f"{kind}: {_errors([row for row in found.rows if row.kind == kind])}" for kind in kinds]
    return "\n".join([*lines, "", *told])


def _cells(row: Row) -> tuple[str, ...]:
    return (row.kind, row.what, seconds_text(row.measured), seconds_text(row.fitted), f"{100 * row.error:+.0f} %")


def _errors(rows: list[Row]) -> str:
    errors = sorted(100 * abs(row.error) for row in rows)
    return f"{len(rows)} samples, half of them within {errors[len(rows) // 2]:.0f} %, all within {errors[-1]:.0f} %"


def _fields(found: Calibration) -> dict[str, object]:
    """A calibration for --json; seconds."""
    rows = [
        {"kind": row.kind, "what": row.what, "measured": row.measured, "fitted": row.fitted, "error": row.error}
        for row in found.rows
    ]
    return {"machine": msgspec.to_builtins(found.machine), "samples": rows}


def _check_writable(path: str) -> None:
    """Raises MachineError for a place where no file can be."""
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise MachineError(f"{path} cannot be written: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise MachineError(f"{path} cannot be written: folder {folder} is not writable")
