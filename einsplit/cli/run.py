"""`einsplit run`: plan (or take a plan), run on devices, and compare with the original."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

import click

from einsplit.api import compile_plan, open_session
from einsplit.cli.common import as_json, print_json, progress, target_argument
from einsplit.cli.target import Target, TargetError, load_target, random_inputs
from einsplit.solver.explain import bytes_text, headline, seconds_text
from einsplit.solver.machine import load_machine
from einsplit.solver.plan import Plan
from einsplit.solver.planner import make_plan

if TYPE_CHECKING:
    import torch

    from einsplit.capture import Captured


@click.command(epilog="Example: einsplit run model.py:example --devices 2 --backend ray --check")
@target_argument
@click.option("--plan", "plan_file", type=click.Path(dir_okay=False), help="A plan file; without it a plan is searched.")
@click.option("--devices", type=int, help="How many devices, where no plan file says.  [default: 2]")
@click.option("--machine", help="cpu, cpu-N, or a machine file, where no plan file says.  [default: cpu]")
@click.option("--backend", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=3, show_default=True, help="Steps to run.")
@click.option("--check", is_flag=True, help="Run the original too, and print the largest difference.")
@as_json
def run(
    target: str,
    plan_file: str | None,
    devices: int | None,
    machine: str | None,
    backend: str,
    steps: int,
    check: bool,
    as_json: bool,
) -> None:
    """Run what FILE.py:NAME returns on several devices.

    A Graph that comes without tensors runs on random ones (seed 0).
    """
    if plan_file is not None and (devices is not None or machine is not None):
        raise click.UsageError("--plan says which machine and how many devices; leave out --devices and --machine")
    given = Plan.load(plan_file) if plan_file is not None else None
    chosen = load_machine(machine or "cpu", devices or (2 if machine is None and devices is None else devices))
    with progress(f"tracing {target}"):
        found = load_target(target)
        captured = found.capture()
    graph = captured.graph if captured is not None else found.graph
    assert graph is not None
    with progress(f"planning {len(graph.nodes)} nodes"):
        made = given if given is not None else make_plan(graph, chosen)
        program = compile_plan(made, graph)
    tensors = _tensors(found, captured)
    times = []
    with progress(f"running on {program.num_devices} {backend} devices"), open_session(program, backend) as session:
        for name in program.parameters:
            session.put(name, tensors[name])
        feeds = {name: tensors[name] for name in program.feeds}
        for _ in range(steps):
            start = time.perf_counter()
            fetches = session.step(feeds)
            times.append(time.perf_counter() - start)
        moved = [traffic.bytes_sent for traffic in session.traffic]
    predicted = sum(program.predicted_bytes(collective) for collective in program.collectives)
    difference = _difference(found, captured, fetches) if check else None
    outputs = {name: [str(t.dtype).removeprefix("torch."), *t.shape] for name, t in fetches.items()}
    if as_json:
        fields: dict[str, object] = {"backend": backend, "devices": program.num_devices, "step_seconds": times}
        fields |= {"bytes_predicted": predicted, "bytes_moved": moved, "outputs": outputs, "difference": difference}
        print_json(fields)
        return
    click.echo(headline(made))
    for name, (dtype, *shape) in outputs.items():
        click.echo(f"{name}: {dtype}{shape}")
    click.echo(f"{steps} steps on {program.num_devices} {backend} devices, median {seconds_text(median(times))}")
    click.echo(f"bytes sent by each device: {bytes_text(predicted)} predicted, {', '.join(map(bytes_text, moved))} moved")
    if difference is not None:
        click.echo(f"largest difference from the original: {difference:.3g}")


def _tensors(target: Target, captured: Captured | None) -> dict[str, torch.Tensor]:
    """Every input of the program by name."""
    if captured is None:
        assert target.graph is not None
        return random_inputs(target.graph)
    from einsplit.capture.structure import split_structure  # loads torch

    _, found = split_structure((target.args, target.kwargs))
    feeds = dict(zip(captured.feeds, (tensor for _, tensor in found), strict=True))
    return {**captured.tensors, **feeds}


def _difference(target: Target, captured: Captured | None, fetches: dict[str, torch.Tensor]) -> float:
    """The largest absolute difference from what the original returns."""
    if captured is None or target.function is None:
        raise TargetError("--check compares with the original function, and this target is a Graph")
    import torch  # only to run

    from einsplit.capture.structure import split_structure

    with torch.no_grad():
        _, expected = split_structure(target.function(*target.args, **target.kwargs))
    pairs = zip(captured.outputs, expected, strict=True)
    worst = [(fetches[name].double() - tensor.double()).abs().max().item() for name, (_, tensor) in pairs]
    return max(worst)
