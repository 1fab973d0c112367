"""`einsplit compare`: our plan beside those that experts and a published optimizer would make."""

from __future__ import annotations

import sys

import click

from einsplit.cli.common import as_json, print_json, progress
from einsplit.cli.plan import searched, summary
from einsplit.cli.subject import Subject, subject_options
from einsplit.report.compare import Row, cheaper_lines, compared, compared_text
from einsplit.solver.machine import load_machine
from einsplit.solver.plan import Plan

FAULT = 1  # the exit code where a rival is cheaper although our search was done


@click.command(
    epilog="Example: einsplit compare model.py:example --devices 4 --plot compare.svg\n\n"
    "Example: einsplit compare --hf config.json --batch 8 --seq 4096 --train --machine cpu-8"
)
@subject_options
@click.option("--devices", type=int, help="How many devices to cut over; a machine of its own size needs none.")
@click.option("--machine", default="cpu", show_default=True, help="cpu, cpu-N, or a machine file (JSON).")
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw the comparison into this file, .svg or .png.")
@as_json
def compare(subject: Subject, devices: int | None, machine: str, plot: str | None, as_json: bool) -> None:
    """Plan what FILE.py:NAME returns, and print what plans made in other ways would cost.

    The others are data parallel, ZeRO-1, 2 and 3, Megatron's tensor parallel, with and without its sequence parallel,
    Ulysses, expert parallel, data times tensor parallel, the EinDecomp dynamic program of 2024, and no cutting at all.
    Each is the cheapest plan of its kind, and priced as ours is. Nothing is run.
    """
    if devices is None and machine == "cpu":
        raise click.UsageError("say over how many devices to cut, such as --devices 2, or name a --machine")
    if plot is not None:
        from einsplit.report.compare.drawing import check_drawing

        check_drawing(plot)  # now, not after the search
    chosen = load_machine(machine, devices)
    with progress(f"tracing {subject.name}") as say:
        graph = subject.graph(say)
    ours = searched(graph, chosen)
    with progress("planning as others do") as say:
        rows = compared(graph, ours, lambda name: say(f"planning as others do: {name}"))
    if plot is not None:
        from einsplit.report.compare.drawing import draw  # loads matplotlib

        with progress(f"drawing {plot}"):
            draw(rows, ours, subject.name, plot)
    if as_json:
        cheaper = [row.name for row in rows if row.is_cheaper(ours)]
        print_json({"ours": summary(ours), "plans": [_fields(row, ours) for row in rows], "cheaper": cheaper})
    else:
        click.echo(compared_text(rows, ours))
        if plot is not None:
            click.echo(f"\nwritten to {plot}")
    warning = cheaper_lines(rows, ours)
    if warning:
        click.echo("\n".join(warning), err=True)
        if ours.status != "stopped":
            sys.exit(FAULT)


def _fields(row: Row, ours: Plan) -> dict[str, object]:
    """Seconds of one step, bytes sent by each device; null where there is no plan."""
    plan = row.plan
    return {
        "name": row.name,
        "seconds": None if plan is None else plan.seconds,
        "times_ours": row.ratio(ours),
        "compute_seconds": None if plan is None else row.compute_seconds,
        "bytes": None if plan is None else plan.bytes,
        "peak_bytes": None if plan is None else plan.peak_bytes or None,
        "how": row.how,
        "why_not": row.why_not,
    }
