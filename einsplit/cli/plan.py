"""`einsplit plan`: trace, search, print, save."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from einsplit.cli.common import as_json, print_json, progress
from einsplit.cli.subject import Subject, subject_options
from einsplit.errors import PlanError
from einsplit.graph import Graph
from einsplit.report import refuse_whole
from einsplit.solver.machine import Machine, load_machine
from einsplit.solver.plan import Plan
from einsplit.solver.planner import METHODS, make_plan
from einsplit.solver.search.watch import Standing
from einsplit.solver.units import bytes_text, seconds_text

strict_option = click.option("--strict", is_flag=True, help="Refuse a program of which a kernel runs whole.")

RIVALS = ("data-parallel", "whole")  # methods whose price is printed beside the plan's


@click.command(
    epilog="Example: einsplit plan model.py:example --devices 4 -o plan.json\n\n"
    "Example: einsplit plan --hf config.json --batch 8 --seq 4096 --train --machine cpu-8"
)
@subject_options
@click.option("--devices", type=int, help="How many devices to cut over; a machine of its own size needs none.")
@click.option("--machine", default="cpu", show_default=True, help="cpu, cpu-N, or a machine file (JSON).")
@click.option("--method", type=click.Choice(list(METHODS)), default="search", show_default=True, help="How to search.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write the plan to this file.")
@strict_option
@as_json
def plan(
    subject: Subject, devices: int | None, machine: str, method: str, output: str | None, strict: bool, as_json: bool
) -> None:
    """Find how to cut what FILE.py:NAME returns, and print the plan.

    NAME is a function of no arguments that returns (function or module, args) or a Graph. Nothing is run.

    With --hf a model is planned from its config alone, as it stands in a folder of Hugging Face: without weights, and
    without a network. Its kind is looked up in the installed transformers; no code that comes with it is run.
    """
    if devices is None and machine == "cpu":
        raise click.UsageError("say over how many devices to cut, such as --devices 2, or name a --machine")
    chosen = load_machine(machine, devices)
    if output is not None:
        _check_writable(output)  # now, not after the search
    start = time.perf_counter()
    with progress(f"tracing {subject.name}") as say:
        graph = subject.graph(say)
    if strict:
        refuse_whole(graph)
    traced = time.perf_counter()
    made = searched(graph, chosen, method)
    planned = time.perf_counter()
    if output is not None:
        made.save(output)
    with progress(f"pricing {' and '.join(RIVALS)}"):
        rivals = {name: make_plan(graph, chosen, name) for name in RIVALS}
    if as_json:
        print_json(
            summary(made)
            | {"trace_seconds": traced - start, "plan_seconds": planned - traced}
            | {"rivals": {name: {"seconds": rival.seconds, "bytes": rival.bytes} for name, rival in rivals.items()}}
        )
        return
    click.echo(str(made))
    click.echo(f"\ntraced in {seconds_text(traced - start)}, planned in {seconds_text(planned - traced)}")
    for name, rival in rivals.items():
        click.echo(f"{name}: {seconds_text(rival.seconds)} a step, {bytes_text(rival.bytes)} sent by each device")
    if output is not None:
        click.echo(f"written to {output}")


def searched(graph: Graph, machine: Machine, method: str = "search") -> Plan:
    """The plan, with a line on the terminal that tells how the search goes."""
    what = f"planning {len(graph.nodes)} nodes over {machine.num_devices} devices"
    with progress(what) as say:
        return make_plan(
            graph,
            machine,
            method,
            lambda standing: say(f"{what}: {standing_text(standing)}"),
            keep_on_interrupt=True,
        )


def standing_text(standing: Standing) -> str:
    """How a search stands, on one line."""
    gap = "no bound yet" if standing.gap is None else f"at most {100 * max(standing.gap, 0.0):.2g} % above the cheapest"
    return f"{seconds_text(standing.best)}, {gap}, after {standing.elapsed:.1f} s (Ctrl-C takes the best so far)"


def summary(plan: Plan) -> dict[str, object]:
    """The figures of a plan, for --json; seconds of one step, bytes sent by each device."""
    return {
        "seconds": plan.seconds,
        "bound": plan.bound,
        "gap": plan.gap,
        "bytes": plan.bytes,
        "peak_bytes": plan.peak_bytes,
        "status": plan.status,
        "method": plan.method,
        "machine": plan.machine.name,
        "devices": plan.machine.num_devices,
        "graph": plan.graph,
        "nodes": len(plan.nodes),
    }


def _check_writable(output: str) -> None:
    """Raises PlanError for a place where no file can be."""
    folder = Path(os.path.realpath(output)).parent
    if not folder.is_dir():
        raise PlanError(f"plan file {output} cannot be written: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise PlanError(f"plan file {output} cannot be written: folder {folder} is not writable")
