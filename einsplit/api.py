"""The doors in Python: trace a program, plan it, compile the plan, open a session on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from einsplit.errors import RunError
from einsplit.graph import Graph
from einsplit.solver.lower import lower
from einsplit.solver.machine import Machine, load_machine
from einsplit.solver.plan import Plan, realise
from einsplit.solver.planner import make_plan
from einsplit.solver.program import Program

if TYPE_CHECKING:
    from einsplit.runtime.session import Session

BACKENDS = ("local", "ray")


def trace(function: Callable[..., object], *args: object, **kwargs: object) -> Graph:
    """The Graph of `function(*args, **kwargs)`: a torch function or module, forward only, for these shapes.

    >>> graph = einsplit.trace(model, torch.zeros(4, 256, dtype=torch.int64))

    Raises CaptureError, with the user's own line, for what cannot be traced without guessing.
    """
    from einsplit.capture import capture  # loads torch

    return capture(function, args, kwargs).graph


def plan(graph: Graph, machine: Machine | str | int, method: str = "sweep") -> Plan:
    """How to cut the graph over a machine: a Machine, the name of one (`"cpu-4"`, a machine file), or a device count.

    Methods: `sweep` (default), `joint`, `brute`, `data-parallel`, `whole`. Raises PlanError, MachineError.
    """
    return make_plan(graph, as_machine(machine), method)


def as_machine(machine: Machine | str | int, devices: int | None = None) -> Machine:
    """A Machine from what users give for one."""
    if isinstance(machine, Machine):
        return machine
    return load_machine(machine, devices) if isinstance(machine, str) else load_machine("cpu", machine)


def compile_plan(plan: Plan | str | Path, graph: Graph) -> Program:
    """The Program of a Plan (or plan file) for its Graph. Raises PlanError where the two do not fit."""
    found = plan if isinstance(plan, Plan) else Plan.load(plan)
    real = realise(found, graph)
    return lower(real.graph, found.machine, real.tables, real.shardings, graph.hash)


def open_session(program: Program, backend: str) -> Session:
    """A session that runs the Program: `local`, a thread per device, or `ray`, a worker process per device."""
    if backend not in BACKENDS:
        raise RunError(f"unknown backend {backend!r}: it is one of {', '.join(BACKENDS)}")
    if backend == "local":
        from einsplit.runtime.local import LocalSession  # loads torch

        return LocalSession(program)
    from einsplit.runtime.cluster import RaySession  # loads ray

    return RaySession(program)


