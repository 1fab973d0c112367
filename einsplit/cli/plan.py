"""`einsplit plan`: trace, search, print, save."""

from __future__ import annotations

import time

import click

from einsplit.cli.common import as_json, print_json, progress, target_argument
from einsplit.cli.target import load_target
from einsplit.solver.explain import bytes_text, seconds_text
from einsplit.solver.machine import load_machine
from einsplit.solver.plan import Plan
from einsplit.solver.planner import METHODS, make_plan


@click.command(epilog="Example: einsplit plan model.py:example --devices 4 -o plan.json")
@target_argument
@click.option("--devices", type=int, help="How many devices to cut over; may be left out where the machine says.")
@click.option("--machine", default="cpu", show_default=True, help="cpu, cpu-N, or a machine file (JSON).")
@click.option("--method", type=click.Choice(list(METHODS)), default="sweep", show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write the plan to this file.")
@as_json
def plan(target: str, devices: int | None, machine: str, method: str, output: str | None, as_json: bool) -> None:
    """Find how to cut what FILE.py:NAME returns, and print the plan.

    NAME is a function of no arguments that returns (function or module, args) or a Graph. Nothing is run.
    """
    chosen = load_machine(machine, devices)
    start = time.perf_counter()
    with progress(f"tracing {target}"):
        found = load_target(target)
        captured = found.capture()
    graph = captured.graph if captured is not None else found.graph
    assert graph is not None
    traced = time.perf_counter()
    with progress(f"planning {len(graph.nodes)} nodes over {chosen.num_devices} devices"):
        made = make_plan(graph, chosen, method)
    planned = time.perf_counter()
    if output is not None:
        made.save(output)
    if as_json:
        print_json(summary(made) | {"trace_seconds": traced - start, "plan_seconds": planned - traced})
        return
    click.echo(str(made))
    click.echo(f"\ntraced in {seconds_text(traced - start)}, planned in {seconds_text(planned - traced)}")
    for rival in ("data-parallel", "whole"):
        other = make_plan(graph, chosen, rival)
        click.echo(f"{rival}: {seconds_text(other.seconds)} a step, {bytes_text(other.bytes)} sent by each device")
    if output is not None:
        click.echo(f"written to {output}")


def summary(plan: Plan) -> dict[str, object]:
    """The figures of a plan, for --json; seconds of one step, bytes sent by each device."""
    return {
        "seconds": plan.seconds,
        "bound": plan.bound,
        "gap": plan.gap,
        "bytes": plan.bytes,
        "status": plan.status,
        "method": plan.method,
        "machine": plan.machine.name,
        "devices": plan.machine.num_devices,
        "graph": plan.graph,
        "nodes": len(plan.nodes),
    }
