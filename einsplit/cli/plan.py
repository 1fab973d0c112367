"""`einsplit plan`: trace, search, print, save."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import click

from einsplit.cli.common import as_json, print_json, progress
from einsplit.cli.subject import Subject, subject_options
from einsplit.errors import PlanError
from einsplit.graph import Graph
from einsplit.report import refuse_whole
from einsplit.solver.machine import Machine, load_machine, with_mesh
from einsplit.solver.pins import Pin, as_pins, kept_from
from einsplit.solver.plan import Plan
from einsplit.solver.plan.cache import Question, cache_folder, cached_plan
from einsplit.solver.planner import METHODS, make_plan
from einsplit.solver.search.watch import Standing
from einsplit.solver.units import bytes_of, bytes_text, seconds_text

strict_option = click.option("--strict", is_flag=True, help="Refuse a program of which a kernel runs whole.")

RIVALS = ("data-parallel", "whole")  # methods whose price is printed beside the plan's


@click.command(
    epilog="Example: einsplit plan model.py:example --devices 4 -o plan.json\n\n"
    "Example: einsplit plan --hf config.json --batch 8 --seq 4096 --train --machine cpu-8\n\n"
    "Example: einsplit plan model.py:example --machine h100x8x8 --pin '@batch=node' --pin '[*.weight]=gpu, whole'"
)
@subject_options
@click.option("--devices", type=int, help="How many devices to cut over; a machine of its own size needs none.")
@click.option(
    "--machine",
    default="cpu",
    show_default=True,
    help="cpu, cpu-N, h100x8, h100x8x16 (see `einsplit machines`), or a machine file.",
)
@click.option("--method", type=click.Choice(list(METHODS)), default="search", show_default=True, help="How to search.")
@click.option("--mesh", metavar="2x2x2", help="The machine's devices as mesh axes, from the slowest link.")
@click.option("--pin", "pins", multiple=True, metavar="PIN", help="Keep this, as above; may be given several times.")
@click.option(
    "--pins-from",
    multiple=True,
    metavar="PLAN.json[:NODE]",
    help="Nodes, those named or all, keep the cut they have in a plan file.",
)
@click.option("--memory", metavar="40GB", help="What a device may hold at once, if not all of the machine's.")
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="After so long take the best plan so far.",
)
@click.option("--no-cache", is_flag=True, help="Plan anew, and do not keep the plan for the next time.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write the plan to this file.")
@strict_option
@as_json
def plan(
    subject: Subject,
    devices: int | None,
    machine: str,
    method: str,
    mesh: str | None,
    pins: Sequence[str],
    pins_from: Sequence[str],
    memory: str | None,
    time_limit: float | None,
    no_cache: bool,
    output: str | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Find how to cut what FILE.py:NAME returns, and print the plan.

    NAME is a function of no arguments that returns (function or module, args) or a Graph. Nothing is run.

    With --hf a model is planned from its config alone, as it stands in a folder of Hugging Face: without weights, and
    without a network. Its kind is looked up in the installed transformers; no code that comes with it is run.

    What a --pin says is kept, whatever that costs:

    \b
      NODE=AXIS:LABEL ...    these nodes do this: w=gpu:h, w=node:b gpu:whole, w=whole
      @LABEL=AXIS ...        these mesh axes cut the label wherever it may be cut: @batch=node
      @LABEL=whole           none does; @LABEL=AXIS:whole: this one does not
      [TENSOR]=AXIS, ...     it rests with its dimensions cut so: [w]=gpu, whole; * leaves one free
    NODE, AXIS and LABEL are as `einsplit explain` prints them; * and ? stand for any characters.

    A plan once found is read from the cache in the user's own folder, and checked, the next time; EINSPLIT_CACHE names
    another folder, or says `off`.
    """
    if devices is None and machine == "cpu":
        raise click.UsageError("say over how many devices to cut, such as --devices 2, or name a --machine")
    chosen = load_machine(machine, devices)
    if mesh is not None:
        chosen = with_mesh(chosen, mesh)
    held = None if memory is None else bytes_of(memory)
    pinned = (*as_pins(pins), *map(kept_from, pins_from))
    if output is not None:
        _check_writable(output)  # now, not after the search
    start = time.perf_counter()
    with progress(f"tracing {subject.name}") as say:
        graph = subject.graph(say)
    if strict:
        refuse_whole(graph)
    traced = time.perf_counter()
    question = Question(graph, chosen, method, pinned, {"memory_bytes": held})
    made, kept_in = cached_plan(
        question,
        lambda: searched(graph, chosen, method, pinned, time_limit, held),
        None if no_cache else cache_folder(),
    )
    planned = time.perf_counter()
    if output is not None:
        made.save(output)
    with progress(f"pricing {' and '.join(RIVALS)}"):
        rivals = {name: make_plan(graph, chosen, name) for name in RIVALS}
    if as_json:
        print_json(
            summary(made)
            | {"trace_seconds": traced - start, "plan_seconds": planned - traced}
            | {"from_cache": None if kept_in is None else str(kept_in)}
            | {"rivals": {name: {"seconds": rival.seconds, "bytes": rival.bytes} for name, rival in rivals.items()}}
        )
        return
    click.echo(str(made))
    click.echo(f"\ntraced in {seconds_text(traced - start)}, planned in {seconds_text(planned - traced)}")
    if kept_in is not None:
        click.echo(f"from the cache: {kept_in} (--no-cache plans anew)")
    for name, rival in rivals.items():
        click.echo(f"{name}: {seconds_text(rival.seconds)} a step, {bytes_text(rival.bytes)} sent by each device")
    if output is not None:
        click.echo(f"written to {output}")


def searched(
    graph: Graph,
    machine: Machine,
    method: str = "search",
    pins: Sequence[Pin] = (),
    limit_seconds: float | None = None,
    memory_bytes: int | None = None,
) -> Plan:
    """The plan, with a line on the terminal that tells how the search goes."""
    what = f"planning {len(graph.nodes)} nodes over {machine.num_devices} devices"
    with progress(what) as say:
        return make_plan(
            graph,
            machine,
            method,
            lambda standing: say(f"{what}: {standing_text(standing)}"),
            limit_seconds=limit_seconds,
            memory_bytes=memory_bytes,
            keep_on_interrupt=True,
            pins=pins,
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
