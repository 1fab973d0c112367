"""Parallelized: a function or module, its traced programs, and the sessions that run them."""

from __future__ import annotations

import functools
import inspect
import os
import threading
import types
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, ParamSpec, TypeVar, cast

import torch

from einsplit.api import compile_plan, open_session
from einsplit.capture import Captured, capture
from einsplit.errors import PlanError, RunError
from einsplit.parallelized.gradients import without_gradients
from einsplit.parallelized.signature import Signature, call_signature
from einsplit.parallelized.versions import version_of
from einsplit.report import refuse_whole
from einsplit.runtime.session import Session
from einsplit.solver.machine import Machine
from einsplit.solver.plan import Plan
from einsplit.solver.planner import make_plan
from einsplit.solver.prepare import computed
from einsplit.solver.program import Program

MAX_SESSIONS = 4  # call signatures whose devices stay alive; the least recently used goes first
MAX_TRACES = 32  # call signatures whose programs are kept

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class _Compiled:
    """One call signature: what was traced, planned and compiled, and the session that runs it."""

    signature: Signature
    captured: Captured
    plan: Plan
    program: Program
    session: Session | None = None
    shipped: dict[str, object] = field(default_factory=dict)  # version of every parameter the devices have

    def close(self) -> None:
        """Stop the devices; what was traced and planned is kept."""
        session, self.session = self.session, None
        self.shipped.clear()
        if session is not None:
            session.close()


class Parallelized(Generic[P, R]):
    """A function or module, traced at its first call for each shape of its arguments, planned, and run on devices.

    >>> with einsplit.parallelize(model, devices=2, backend="ray") as fast, torch.no_grad():
    ...     logits = fast(input_ids).logits

    Results are ordinary torch tensors in the structure of the original, without gradients: where the original's would
    require them, going backward through these raises RunError (`train_step` trains). Parameters stay with the
    devices and are sent again only when they have changed. Attributes are those of the original, but for `close`,
    `plan` and `session`.

    A call whose arguments have other shapes, strides, dtypes, `requires_grad` flags or plain values, and a
    module whose training flag or parameters were exchanged, is traced anew. What else the original reads is fixed at
    that time. Calls from several threads run one after the other. `close()` (or leaving a `with` block) stops the
    devices; a later call starts them again, and so does the first one in a forked child.
    """

    def __init__(
        self, function: Callable[P, R], machine: Machine, backend: str, given: Plan | None, strict: bool = False
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self._machine = machine
        self._backend = backend
        self._given = given
        self._strict = strict
        self._compiled: OrderedDict[Hashable, _Compiled] = OrderedDict()
        self._lock = threading.RLock()
        self._pid = os.getpid()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._here():
            signature = call_signature(self._function, args, kwargs)
            compiled = self._compile(signature, args, kwargs)
            fetches = self._step(compiled, signature)
        sources = (*signature.tensors, *compiled.captured.tensors.values())
        return cast(R, compiled.captured.rebuild(without_gradients(sources, fetches)))

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> Plan:
        """The plan for a call with these arguments; nothing is run."""
        with self._here():
            return self._compile(call_signature(self._function, args, kwargs), args, kwargs).plan

    def session(self, *args: P.args, **kwargs: P.kwargs) -> Session:
        """The session that runs calls with these arguments, for its traffic counters."""
        with self._here():
            return self._open(self._compile(call_signature(self._function, args, kwargs), args, kwargs))

    def close(self) -> None:
        """Stop the devices. A second call does nothing."""
        with self._here():
            for compiled in self._compiled.values():
                compiled.close()

    def __enter__(self) -> Parallelized[P, R]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        name = getattr(self._function, "__qualname__", type(self._function).__name__)
        return f"<parallelized {name} on {self._machine.name}, {self._backend}>"

    def __get__(self, instance: object, owner: type | None = None) -> object:
        """As functions do, so that a method can be decorated."""
        return self if instance is None else types.MethodType(self, instance)

    def __getattr__(self, name: str) -> object:
        if name == "_function":  # not there yet: this object is being copied
            raise AttributeError(name)
        value = getattr(self._function, name)
        is_own_method = inspect.ismethod(value) and value.__self__ is self._function
        return self._returning_self(value) if is_own_method else value

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("_") or not isinstance(self.__dict__.get("_function"), torch.nn.Module):
            object.__setattr__(self, name, value)
        else:
            setattr(self._function, name, value)

    def _returning_self(self, method: Callable[..., object]) -> Callable[..., object]:
        """`fast.eval()` and the like return `fast`, not the module behind it."""

        @functools.wraps(method)
        def call(*args: object, **kwargs: object) -> object:
            result = method(*args, **kwargs)
            return self if result is self._function else result

        return call

    def _here(self) -> AbstractContextManager[object]:
        """The lock. In a forked child, where the threads of its parent are not, devices are started anew.

        Raises RunError in the child of a process that has workers: they would answer to both.
        """
        if self._pid != os.getpid():
            if self._backend != "local" and any(compiled.session is not None for compiled in self._compiled.values()):
                raise RunError(
                    f"{self!r} has its workers in process {self._pid}, of which this one is a fork.\n"
                    "  Start processes by multiprocessing's method 'spawn', or fork before the first call."
                )
            self._pid, self._lock = os.getpid(), threading.RLock()
            for compiled in self._compiled.values():
                compiled.close()
        return self._lock

    def _step(self, compiled: _Compiled, signature: Signature) -> dict[str, torch.Tensor]:
        session = self._open(compiled)
        try:
            for name, tensor in compiled.captured.tensors.items():
                version = version_of(tensor)
                if compiled.shipped.get(name) != version:
                    session.put(name, tensor)
                    compiled.shipped[name] = version
            return session.step(compiled.captured.feed(signature.tensors))
        except BaseException:  # Ctrl-C too: whatever ends a step midway, the devices no longer agree
            compiled.close()  # the next call starts new ones
            raise

    def _open(self, compiled: _Compiled) -> Session:
        if compiled.session is None:
            alive = [other for other in self._compiled.values() if other.session is not None]
            for oldest in alive[: max(0, len(alive) + 1 - MAX_SESSIONS)]:
                oldest.close()
            compiled.session = open_session(compiled.program, self._backend)
        return compiled.session

    def _compile(self, signature: Signature, args: tuple[object, ...], kwargs: dict[str, object]) -> _Compiled:
        known = self._compiled.get(signature.call)
        if known is not None and known.signature.parameters == signature.parameters:
            self._compiled.move_to_end(signature.call)
            return known
        captured = capture(self._function, args, kwargs)
        if self._strict:
            refuse_whole(captured.graph)
        plan, program = self._planned(captured, signature)
        if known is not None:
            known.close()
        while len(self._compiled) >= MAX_TRACES:
            self._compiled.popitem(last=False)[1].close()
        self._compiled[signature.call] = compiled = _Compiled(signature, captured, plan, program)
        self._compiled.move_to_end(signature.call)
        return compiled

    def _planned(self, captured: Captured, signature: Signature) -> tuple[Plan, Program]:
        graph = captured.graph
        own = computed(graph).hash
        for other in self._compiled.values():
            if other.plan.graph == own:
                return other.plan, other.program
        plan = self._given if self._given is not None else make_plan(graph, self._machine)
        try:
            program = compile_plan(plan, graph)
        except PlanError as error:
            tensors = zip(captured.feeds, signature.tensors, strict=True)
            shapes = [f"{name} {tensor.dtype} {list(tensor.shape)}".replace("torch.", "") for name, tensor in tensors]
            raise PlanError(f"{error}\n  This call has {', '.join(shapes) or 'no tensors'}.") from error
        return plan, program
