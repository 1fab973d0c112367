"""The doors in Python: trace a program, plan it, compile the plan, open a session on it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from einsplit.errors import EinsplitError, MachineError, PlanError, RunError, did_you_mean, type_text
from einsplit.graph import Graph
from einsplit.report import refuse_whole
from einsplit.solver.machine import Machine, check_devices, load_machine
from einsplit.solver.pins import Pin, as_pins
from einsplit.solver.plan import Plan, realise
from einsplit.solver.plan.cache import Question, cache_folder, cached_plan
from einsplit.solver.planner import make_plan
from einsplit.solver.program import Program
from einsplit.solver.program.lower import lowered
from einsplit.solver.search.watch import Progress

if TYPE_CHECKING:
    from einsplit.runtime.session import Session

BACKENDS = ("local", "ray")


def trace(function: Callable[..., object], *args: object, strict: bool | None = None, **kwargs: object) -> Graph:
    """The Graph of `function(*args, **kwargs)`: a torch function or module, forward only, for these shapes.

    >>> graph = einsplit.trace(model, torch.zeros(4, 256, dtype=torch.int64))
    >>> print(graph)

    Raises CaptureError, with the user's own line, for what cannot be traced without guessing; with `strict=True` also
    where a kernel runs whole, on every device.
    """
    if not callable(function) or isinstance(function, type):
        raise EinsplitError(f"trace takes a function or a module and its arguments, not {type_text(function)}")
    if strict is not None and _takes_strict(function):
        advice = "Give the function its own by functools.partial(function, strict=...)."
        raise EinsplitError("both trace and the function have an argument `strict`", advice)
    from einsplit.capture import capture  # loads torch

    graph = capture(function, args, kwargs).graph
    if strict:
        refuse_whole(graph)
    return graph


def _takes_strict(function: Callable[..., object]) -> bool:
    """Whether a function, or a module's forward, names an argument `strict` that is not bound yet."""
    if isinstance(function, functools.partial) and "strict" in function.keywords:
        return False
    try:
        parameters = inspect.signature(getattr(function, "forward", function)).parameters
    except (TypeError, ValueError):  # built in, without a signature
        return False
    return "strict" in parameters


def plan(
    graph: Graph,
    machine: Machine | str | Path | int,
    method: str = "search",
    progress: Progress | None = None,
    limit_seconds: float | None = None,
    memory_bytes: int | None = None,
    pins: Sequence[Pin | str] = (),
    cache: bool = False,
) -> Plan:
    """How to cut the graph over a machine: a device count, the name of a machine or of its file, or a Machine.

    >>> print(einsplit.plan(graph, 4))
    >>> einsplit.plan(graph, "cluster.json").save("plan.json")
    >>> einsplit.plan(graph, 8, pins=["@batch=cpu0", "[up_proj.weight]=cpu1, whole"])

    Methods: `search` (default), `sweep`, `joint`, `ilp`, `brute`, and the rivals: `data-parallel`, `zero-3`, `megatron`
    and others (`einsplit plan --help` lists them). A device holds at most `memory_bytes`, all of its memory unless
    given. Over a mesh of at most two axes a
    searched plan has a bound: seconds below which no plan is, over the digit tables tried. `progress(standing)` is
    called while searching, with the best seconds and the bound so far; after `limit_seconds` the best plan so far is
    returned. What `pins` fix is kept (`einsplit.solver.pins.text` has their grammar). With `cache`, a plan that was
    searched before is read from the user's cache, and others are kept there; a call leaves nothing on disk unasked.
    Raises PlanError for an unknown method, for what a method cannot plan, where no plan fits and for pins that cannot
    be kept, MachineError for a machine that is not there.
    """
    if not isinstance(graph, Graph):
        raise PlanError(f"plan takes a Graph, not {type_text(graph)}: plan(trace(model, x), 4)")
    question = Question(graph, as_machine(machine), method, as_pins(pins), {"memory_bytes": memory_bytes})

    def make() -> Plan:
        return make_plan(graph, question.machine, method, progress, limit_seconds, memory_bytes, pins=question.pins)

    return cached_plan(question, make, cache_folder() if cache else None)[0]


def as_machine(machine: Machine | str | Path | int, devices: int | None = None) -> Machine:
    """A Machine from what users give for one; `devices` says how many it must have."""
    if isinstance(machine, Machine):
        if devices is not None and devices != machine.num_devices:
            raise MachineError(f"devices={devices!r}: machine {machine.name!r} has {machine.num_devices}")
        return machine
    if isinstance(machine, (str, Path)):
        return load_machine(str(machine), devices)
    if not isinstance(machine, (int, float)):  # a float is a count too, a wrong one, and is told so
        raise MachineError(
            f"a machine is a Machine, a name (cpu-4), a file or a device count, not {type_text(machine)}"
        )
    return load_machine("cpu", machine)


def machine_for(given: Plan | None, machine: Machine | str | Path | None, devices: int | None) -> Machine:
    """The machine that a plan, a machine and a device count agree on."""
    if given is None:
        return as_machine("cpu" if machine is None else machine, devices)
    own = given.machine
    if machine is not None and as_machine(machine, devices) != own:
        raise PlanError(f"the plan is for machine {own.name!r}, which is not the machine given: leave machine out")
    if devices is not None and check_devices(devices) != own.num_devices:
        raise MachineError(f"devices={devices}: the plan is for {own.num_devices}; leave devices out")
    return own


def compile_plan(plan: Plan | str | Path, graph: Graph) -> Program:
    """The Program of a Plan (or plan file) for its Graph. Raises PlanError where the two do not fit.

    >>> program = compile_plan("plan.json", einsplit.trace(model, x))
    """
    return lowered(realise(as_plan(plan), graph)).program


def as_plan(plan: Plan | str | Path) -> Plan:
    """A Plan from what users give for one."""
    if isinstance(plan, Plan):
        return plan
    if not isinstance(plan, (str, Path)):
        raise PlanError(f"plan is a Plan or the name of a plan file, not {type_text(plan)}")
    return Plan.load(plan)


def open_session(program: Program, backend: str = "local") -> Session:
    """A session that runs the Program: `local`, a thread per device, or `ray`, a worker process per device.

    >>> with open_session(program, "ray") as session:
    ...     session.put("weight", weight)
    ...     fetches = session.step({"x": x})

    Raises RunError for an unknown back end, and where the devices cannot be started.
    """
    check_backend(backend)
    if backend == "local":
        from einsplit.runtime.local import LocalSession  # loads torch

        return LocalSession(program)
    from einsplit.runtime.cluster import RaySession  # loads ray

    return RaySession(program)


def check_backend(backend: object) -> None:
    """Raises RunError unless it is the name of a back end."""
    if backend not in BACKENDS:
        near = did_you_mean(backend, BACKENDS) if isinstance(backend, str) else ""
        raise RunError(f"unknown backend {backend!r}: it is one of {', '.join(BACKENDS)}. {near}".rstrip())
