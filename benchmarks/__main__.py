"""The command: `python -m benchmarks [NAME ...]`, or `make bench`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from benchmarks import capture, demo_step, machine_cpu, planning
from benchmarks.report import Table, report, save

BENCHMARKS: dict[str, tuple[str, Callable[[bool], Sequence[Table]]]] = {
    "capture": (capture.TITLE, capture.measure),
    "planning": (planning.TITLE, planning.measure),
    "machine_cpu": (machine_cpu.TITLE, machine_cpu.measure),
    "demo_step": (demo_step.TITLE, demo_step.measure),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option("--quick", is_flag=True, help="Only see that everything runs: few repeats, no result file.")
def main(names: tuple[str, ...], quick: bool) -> None:
    """Measure, print, and write benchmarks/results/NAME.md; all benchmarks unless some are named.

    Leave the machine alone meanwhile: nothing here can tell another program's load from its own.
    """
    for name in names or BENCHMARKS:
        title, measure = BENCHMARKS[name]
        click.echo(f"measuring {name}", err=True)
        text = report(name, title, measure(quick))
        click.echo(text)
        if not quick:
            click.echo(f"written to {save(name, text)}", err=True)


if __name__ == "__main__":
    main()
