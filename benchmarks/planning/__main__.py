"""The command: `python -m benchmarks.planning --cache FOLDER`: what `python -m benchmarks planning` does, to go on with
after an interruption, or a part of it."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.planning import TITLE
from benchmarks.planning.fast import fast
from benchmarks.planning.machines import MACHINES
from benchmarks.planning.measure import JOBS, cases_tables
from benchmarks.planning.models import MODELS
from benchmarks.report import report, save


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cache", required=True, type=click.Path(file_okay=False, path_type=Path), help="Keeps what is found.")
@click.option("--jobs", default=JOBS, show_default=True, help="Processes at once; those of `fast` run alone.")
@click.option("--model", "models", multiple=True, type=click.Choice(list(MODELS)), help="These models only.")
@click.option("--machine", "machines", multiple=True, type=click.Choice(list(MACHINES)), help="These machines only.")
@click.option("--every", is_flag=True, help="All shapes on finer meshes, too.")
@click.option("--no-fast", is_flag=True, help="Leave out the measurement of time and memory.")
@click.option("--quick", is_flag=True, help="Only see that everything runs.")
@click.option("--save", "is_saved", is_flag=True, help="Write benchmarks/results/planning.md and planning_cases.md.")
def main(
    cache: Path,
    jobs: int,
    models: tuple[str, ...],
    machines: tuple[str, ...],
    every: bool,
    no_fast: bool,
    quick: bool,
    is_saved: bool,
) -> None:
    """Measure and print; cases of this commit that stand in the cache are not done again."""
    first = [] if no_fast else [fast(quick)]
    of_cases = cases_tables(quick, cache, jobs, is_saved, models or tuple(MODELS), machines or tuple(MACHINES), every)
    text = report("planning", TITLE, [*first, *of_cases])
    click.echo(text)
    if is_saved:
        click.echo(f"written to {save('planning', text)}", err=True)


if __name__ == "__main__":
    main()
