"""`einsplit run`: plan (or take a plan), run on devices, and compare with the original."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

import click

from einsplit.api import compile_plan, open_session
from einsplit.cli.common import as_json, print_json, progress, target_argument, users_code
from einsplit.cli.plan import searched, strict_option
from einsplit.cli.target import load_target
from einsplit.einsum.kinds import tensor_dtype
from einsplit.report import refuse_whole
from einsplit.solver.machine import load_machine
from einsplit.solver.plan import Plan
from einsplit.solver.plan.explain import headline
from einsplit.solver.units import bytes_text, seconds_text

if TYPE_CHECKING:
    import torch


@click.command(epilog="Example: einsplit run model.py:example --devices 2 --backend ray --check")
@target_argument
@click.option("--plan", "plan_file", type=click.Path(dir_okay=False), help="A plan file, instead of a search.")
@click.option("--devices", type=int, help="How many devices, where no plan file says.  [default: 2]")
@click.option("--machine", help="cpu, cpu-N, or a machine file, where no plan file says.  [default: cpu]")
@click.option("--backend", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=3, show_default=True, help="Steps to run.")
@click.option("--check", is_flag=True, help="Run the original too, and print the largest difference.")
@strict_option
@as_json
def run(
    target: str,
    plan_file: str | None,
    devices: int | None,
    machine: str | None,
    backend: str,
    steps: int,
    check: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Run what FILE.py:NAME returns on several devices.

    NAME is a function of no arguments that returns (function or module, args) or a Graph. A Graph runs on random
    tensors (seed 0).
    """
    if plan_file is not None and (devices is not None or machine is not None):
        raise click.UsageError("--plan says which machine and how many devices; leave out --devices and --machine")
    given = Plan.load(plan_file) if plan_file is not None else None
    if devices is None and machine in (None, "cpu"):
        devices = 2
    chosen = load_machine(machine or "cpu", devices) if given is None else given.machine
    with progress(f"tracing {target}"), users_code():
        found = load_target(target)
        graph, captured = found.traced()
    if strict:
        refuse_whole(graph)
    made = given if given is not None else searched(graph, chosen)
    program = compile_plan(made, graph)
    tensors = found.tensors(captured)
    feeds = {name: tensors[name] for name in program.feeds}
    times = []
    with (
        progress(f"starting {program.num_devices} {backend} devices") as say,
        open_session(program, backend) as session,
    ):
        for name in program.parameters:
            session.put(name, tensors[name])
        for number in range(steps):
            say(f"step {number + 1} of {steps} on {program.num_devices} {backend} devices")
            start = time.perf_counter()
            fetches = session.step(feeds)
            times.append(time.perf_counter() - start)
        moved = [traffic.bytes_sent for traffic in session.traffic]
    predicted = sum(program.predicted_bytes(collective) for collective in program.collectives)
    outputs = {name: [tensor_dtype(tensor), *tensor.shape] for name, tensor in fetches.items()}
    difference = None
    if check:
        with progress(f"running {target} itself"), users_code():
            difference = largest_difference(fetches, found.expected(captured))
    if as_json:
        fields: dict[str, object] = {"backend": backend, "devices": program.num_devices, "step_seconds": times}
        fields |= {"bytes_predicted": predicted, "bytes_moved": moved, "outputs": outputs, "difference": difference}
        print_json(fields)
        return
    click.echo(headline(made))
    for name, (dtype, *shape) in outputs.items():
        click.echo(f"{name}: {dtype}{shape}")
    click.echo(f"{steps} steps on {program.num_devices} {backend} devices, median {seconds_text(median(times))}")
    # One figure where all devices sent as much.
    counted = ", ".join(map(bytes_text, moved if len(set(moved)) > 1 else moved[:1]))
    click.echo(f"bytes sent by each device: {bytes_text(predicted)} predicted, {counted} moved")
    if difference is not None:
        click.echo(f"largest difference from the original: {difference:.3g}")


def largest_difference(fetches: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest absolute difference of two sets of tensors; equal infinities and NaNs do not differ."""
    import torch  # only to run

    worst = 0.0
    for name, tensor in expected.items():
        wide = torch.complex128 if tensor.is_complex() else torch.float64
        got, wanted = fetches[name].to(wide), tensor.to(wide)
        same = (got == wanted) | (got.isnan() & wanted.isnan())
        gap = (got - wanted).abs().masked_fill(same, 0.0)
        if gap.numel():
            worst = max(worst, gap.nan_to_num(nan=float("inf")).max().item())
    return worst
