"""`einsplit run`: plan (or take a plan), run on devices, and compare with the original."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import click

from einsplit.api import compile_plan, open_session
from einsplit.cli.common import as_json, print_json, progress, target_argument, users_code
from einsplit.cli.plan import searched, strict_option
from einsplit.cli.target import load_target
from einsplit.einsum.kinds import tensor_dtype
from einsplit.report import refuse_whole
from einsplit.solver.machine import Machine, load_machine
from einsplit.solver.plan import Plan
from einsplit.solver.plan.explain import headline
from einsplit.solver.program import Program
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
    chosen = _plan_or_machine(plan_file, devices, machine)
    with progress(f"tracing {target}"), users_code():
        found = load_target(target)
        graph, captured = found.traced()
    if strict:
        refuse_whole(graph)
    made = chosen if isinstance(chosen, Plan) else searched(graph, chosen)
    program = compile_plan(made, graph)
    ran = _run_steps(program, found.tensors(captured), backend, steps)
    difference = None
    if check:
        with progress(f"running {target} itself"), users_code():
            difference = largest_difference(ran.fetches, found.expected(captured))
    if as_json:
        print_json(_fields(program, backend, ran, difference))
    else:
        click.echo("\n".join([headline(made), *_lines(program, backend, ran, difference)]))


def _plan_or_machine(plan_file: str | None, devices: int | None, machine: str | None) -> Plan | Machine:
    """What the options say of how to cut: the plan of a file, or the machine to search a plan for."""
    if plan_file is None:
        return load_machine(machine or "cpu", 2 if devices is None and machine in (None, "cpu") else devices)
    if devices is not None or machine is not None:
        raise click.UsageError("--plan says which machine and how many devices; leave out --devices and --machine")
    return Plan.load(plan_file)


@dataclass(frozen=True, slots=True)
class _Ran:
    """What came of running a Program."""

    fetches: dict[str, torch.Tensor]  # of the last step
    seconds: list[float]  # one for each step
    moved: list[int]  # bytes that each device sent in the last step

    @property
    def outputs(self) -> dict[str, list[object]]:
        """Dtype and sizes by name."""
        return {name: [tensor_dtype(tensor), *tensor.shape] for name, tensor in self.fetches.items()}


def _run_steps(program: Program, tensors: Mapping[str, torch.Tensor], backend: str, steps: int) -> _Ran:
    """Steps on the same feeds, with a line on the terminal that counts them."""
    feeds = {name: tensors[name] for name in program.feeds}
    what = f"{program.num_devices} {backend} devices"
    seconds = []
    with progress(f"starting {what}") as say, open_session(program, backend) as session:
        for name in program.parameters:
            session.put(name, tensors[name])
        for number in range(steps):
            say(f"step {number + 1} of {steps} on {what}")
            start = time.perf_counter()
            fetches = session.step(feeds)
            seconds.append(time.perf_counter() - start)
        return _Ran(fetches, seconds, [traffic.bytes_sent for traffic in session.traffic])


def _predicted_bytes(program: Program) -> int:
    """Bytes that each device sends in a step."""
    return sum(program.predicted_bytes(collective) for collective in program.collectives)


def _fields(program: Program, backend: str, ran: _Ran, difference: float | None) -> dict[str, object]:
    return {
        "backend": backend,
        "devices": program.num_devices,
        "step_seconds": ran.seconds,
        "bytes_predicted": _predicted_bytes(program),
        "bytes_moved": ran.moved,
        "outputs": ran.outputs,
        "difference": difference,
    }


def _lines(program: Program, backend: str, ran: _Ran, difference: float | None) -> Iterator[str]:
    for name, (dtype, *shape) in ran.outputs.items():
        yield f"{name}: {dtype}{shape}"
    steps = f"{len(ran.seconds)} steps on {program.num_devices} {backend} devices"
    yield f"{steps}, median {seconds_text(median(ran.seconds))}"
    # One figure where all devices sent as much.
    moved = ", ".join(map(bytes_text, ran.moved if len(set(ran.moved)) > 1 else ran.moved[:1]))
    yield f"bytes sent by each device: {bytes_text(_predicted_bytes(program))} predicted, {moved} moved"
    if difference is not None:
        yield f"largest difference from the original: {difference:.3g}"


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
