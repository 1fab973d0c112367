"""`parallelize`: checks what it is given, and wraps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar, overload

from einsplit.api import as_plan, check_backend, machine_for
from einsplit.errors import EinsplitError
from einsplit.parallelized.wrapper import Parallelized
from einsplit.solver.machine import Machine
from einsplit.solver.plan import Plan

P = ParamSpec("P")
R = TypeVar("R")


@overload
def parallelize(
    function: Callable[P, R],
    *,
    devices: int | None = None,
    backend: str = "local",
    machine: Machine | str | Path | None = None,
    plan: Plan | str | Path | None = None,
    strict: bool = False,
) -> Parallelized[P, R]: ...


@overload
def parallelize(
    function: None = None,
    *,
    devices: int | None = None,
    backend: str = "local",
    machine: Machine | str | Path | None = None,
    plan: Plan | str | Path | None = None,
    strict: bool = False,
) -> Callable[[Callable[P, R]], Parallelized[P, R]]: ...


def parallelize(
    function: Callable[P, R] | None = None,
    *,
    devices: int | None = None,
    backend: str = "local",
    machine: Machine | str | Path | None = None,
    plan: Plan | str | Path | None = None,
    strict: bool = False,
) -> Parallelized[P, R] | Callable[[Callable[P, R]], Parallelized[P, R]]:
    """Run a torch function or module on several devices, by a plan that is found at its first call.

    >>> fast = einsplit.parallelize(model, devices=2)            # a module, or
    >>> @einsplit.parallelize(devices=2, backend="ray")          # a decorator on a function
    ... def attention(q, k, v): ...

    `backend`: "local", a thread per device in this process, or "ray", a worker process per device. `plan`: a plan or
    plan file made before, instead of a search; it says for which machine. `machine`: see `einsplit.plan`.
    `strict=True`: a call of which a kernel runs whole, on every device, raises CaptureError.

    Raises, before anything is traced, MachineError for a device count that is not positive or that the machine does
    not have, PlanError for a plan file that is none, RunError for an unknown back end.
    """
    if isinstance(function, int):
        raise EinsplitError(f"parallelize({function}): name the device count, parallelize(devices={function})")
    check_backend(backend)
    given = as_plan(plan) if plan is not None else None
    chosen = machine_for(given, machine, devices)

    def wrap(inner: Callable[P, R]) -> Parallelized[P, R]:
        if isinstance(inner, type):
            name = inner.__name__
            raise EinsplitError(
                f"parallelize takes a module, not the class {name}: parallelize({name}(...), devices=2)"
            )
        if not callable(inner):
            raise EinsplitError(f"parallelize takes a function or a module, not {type(inner).__name__}")
        if isinstance(inner, Parallelized):
            raise EinsplitError(f"{inner!r} is parallelized already")
        return Parallelized(inner, chosen, backend, given, strict)

    return wrap if function is None else wrap(function)
