"""`@parallelize`: a function or module that runs on all devices, and otherwise behaves as it did."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from einsplit.api import as_machine, compile_plan, open_session
from einsplit.capture import Captured, capture
from einsplit.capture.structure import split_structure
from einsplit.errors import EinsplitError
from einsplit.runtime.session import Session
from einsplit.runtime.versions import version_of
from einsplit.solver.machine import Machine
from einsplit.solver.plan import Plan
from einsplit.solver.planner import make_plan
from einsplit.solver.program import Program

MAX_SESSIONS = 4  # call signatures whose workers stay alive; the least recently used goes first


@dataclass(slots=True)
class _Compiled:
    """One call signature: what was traced, planned and compiled, and the session that runs it."""

    captured: Captured
    plan: Plan
    program: Program
    session: Session
    shipped: dict[str, object] = field(default_factory=dict)  # version of every parameter the devices have


class Parallelized:
    """A function or module, traced at its first call for each shape of its arguments, planned, and run on devices.

    Results are ordinary torch tensors in the structure of the original, without gradients. Parameters stay with the
    devices and are sent again only when they have changed. Attributes are those of the original. `close()` (or leaving a
    `with` block) stops the devices; a later call starts them again.
    """

    def __init__(
        self, function: Callable[..., object], machine: Machine, backend: str, given: Plan | str | Path | None
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self._machine = machine
        self._backend = backend
        self._given = given
        self._compiled: OrderedDict[str, _Compiled] = OrderedDict()

    def __call__(self, *args: object, **kwargs: object) -> object:
        template, found = split_structure((args, kwargs))
        compiled = self._compile(args, kwargs, template, found)
        for name, tensor in compiled.captured.tensors.items():
            version = version_of(tensor)
            if compiled.shipped.get(name) != version:
                compiled.session.put(name, tensor)
                compiled.shipped[name] = version
        tensors = [tensor for _, tensor in found]
        feeds = dict(zip(compiled.captured.feeds, tensors, strict=True))
        try:
            fetches = compiled.session.step(feeds)
        except BaseException:
            self.close()  # the devices no longer agree: the next call starts afresh
            raise
        return compiled.captured.rebuild(fetches)

    def plan(self, *args: object, **kwargs: object) -> Plan:
        """The plan for a call with these arguments; nothing is run."""
        captured = capture(self._function, args, kwargs)
        return self._plan(captured)

    def session(self, *args: object, **kwargs: object) -> Session:
        """The session that runs calls with these arguments, for its traffic counters."""
        template, found = split_structure((args, kwargs))
        return self._compile(args, kwargs, template, found).session

    def close(self) -> None:
        """Stop the devices. A second call does nothing."""
        while self._compiled:
            self._compiled.popitem()[1].session.close()

    def __enter__(self) -> Parallelized:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> object:
        return getattr(self.__dict__["_function"], name)

    def _compile(
        self, args: tuple[object, ...], kwargs: dict[str, object], template: object, found: list[tuple[str, torch.Tensor]]
    ) -> _Compiled:
        shapes = [(path, tuple(tensor.shape), str(tensor.dtype)) for path, tensor in found]
        key = repr((shapes, template, getattr(self._function, "training", None)))
        if key in self._compiled:
            self._compiled.move_to_end(key)
            return self._compiled[key]
        captured = capture(self._function, args, kwargs)
        plan = self._plan(captured)
        program = compile_plan(plan, captured.graph)
        while len(self._compiled) >= MAX_SESSIONS:
            self._compiled.popitem(last=False)[1].session.close()
        compiled = _Compiled(captured, plan, program, open_session(program, self._backend))
        self._compiled[key] = compiled
        return compiled

    def _plan(self, captured: Captured) -> Plan:
        if self._given is None:
            return make_plan(captured.graph, self._machine)
        return self._given if isinstance(self._given, Plan) else Plan.load(self._given)


def parallelize(
    function: Callable[..., object] | None = None,
    *,
    devices: int | None = None,
    backend: str = "local",
    machine: Machine | str = "cpu",
    plan: Plan | str | Path | None = None,
) -> Parallelized | Callable[[Callable[..., object]], Parallelized]:
    """Run a torch function or module on several devices, by a plan that is found at its first call.

    >>> fast = einsplit.parallelize(model, devices=2)            # a module, or
    >>> @einsplit.parallelize(devices=2, backend="ray")          # a decorator on a function

    `backend`: "local", a thread per device in this process, or "ray", a worker process per device. `plan`: a plan made
    before, instead of a search. Raises MachineError for a device count that the machine does not have.
    """
    chosen = as_machine(machine, devices)
    if isinstance(function, int):
        raise EinsplitError(f"parallelize({function}): name the device count, parallelize(devices={function})")
    if function is None:
        return lambda inner: parallelize(inner, devices=devices, backend=backend, machine=machine, plan=plan)  # type: ignore[return-value]
    if isinstance(function, type):
        raise EinsplitError(
            f"parallelize takes a module, not the class {function.__name__}: parallelize({function.__name__}(...), devices=2)"
        )
    if not callable(function):
        raise EinsplitError(f"parallelize takes a function or a module, not {type(function).__name__}")
    return Parallelized(function, chosen, backend, plan)
