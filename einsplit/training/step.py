"""TrainStep: the programs of one model's training, by shape of batch, and the session that holds its weights."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from einsplit.api import compile_plan, open_session
from einsplit.capture import Captured, capture
from einsplit.capture.export.gradients import refuse_hooks
from einsplit.capture.structure import Slot
from einsplit.errors import EinsplitError, RunError, type_text
from einsplit.graph import Graph
from einsplit.parallelized.signature import Signature, call_signature
from einsplit.parallelized.versions import version_of
from einsplit.parallelized.wrapper import MAX_TRACES
from einsplit.report import refuse_whole
from einsplit.runtime.session import Session
from einsplit.solver.machine import Machine
from einsplit.solver.plan import Plan
from einsplit.solver.planner import make_plan
from einsplit.solver.program import Program
from einsplit.torch_dtypes import torch_dtype
from einsplit.training.graph import LOSS, train_graph
from einsplit.training.groups import Trained, refuse_outside, refuse_shared_memory, trained
from einsplit.training.losses import refuse_batch


@dataclass(frozen=True, slots=True)
class Settings:
    """How steps are planned and run."""

    machine: Machine
    backend: str
    plan: Plan | None  # to be used, instead of a search
    clip_norm: float | None
    strict: bool


@dataclass(slots=True)
class _Compiled:
    """What one kind of batch was traced, planned and compiled to."""

    signature: Signature  # keeps alive what its key names by identity
    captured: Captured
    trained: Trained
    graph: Graph
    plan: Plan
    program: Program
    shipped: dict[str, object] = field(default_factory=dict)  # version of every tensor that steps leave as it is

    @property
    def changed(self) -> set[str]:
        """The inputs that a step gives a next value."""
        return {name for name, _ in self.program.updates}


class TrainStep:
    """Called with a batch, makes one step and returns the loss of before it. Made by `train_step`.

    Weights and the optimizer's state stay with the devices; `state_dict` fetches the weights. A batch of another shape
    is traced and planned anew, and takes over the state. Use it as a context manager, or call `close`.
    """

    def __init__(
        self, model: torch.nn.Module, loss: Callable[..., Tensor], optimizer: object, settings: Settings
    ) -> None:
        self._model = model
        self._loss = functools.partial(loss, model)
        self._optimizer = optimizer
        self._settings = settings
        self._compiled: dict[Hashable, _Compiled] = {}
        self._running: tuple[_Compiled, Session] | None = None
        self._state: dict[str, Tensor] = {}  # what steps have changed and the running session does not have
        self._is_lost = False
        self._lock = threading.RLock()
        self.num_steps = 0

    def __call__(self, *batch: object) -> Tensor:
        with self._lock:  # steps of several threads are made one after the other
            return self._step(batch)

    def _step(self, batch: tuple[object, ...]) -> Tensor:
        refuse_hooks([self._model])  # registered after the first step, too
        signature = call_signature(self._loss, batch, {})
        compiled = self._compiled_for(signature, batch)
        compiled.trained.refuse_changed()
        session = self._open(compiled)
        self._ship(compiled, session)
        feeds = compiled.captured.feed(signature.tensors)
        for name, rate in compiled.trained.rates.items():
            feeds[name] = torch.tensor(rate(self.num_steps + 1), dtype=torch.float64)
        try:
            fetched = session.step({name: tensor for name, tensor in feeds.items() if name in compiled.program.feeds})
        except BaseException:  # an interrupt too leaves devices in the middle of something
            self._lose(session)
            raise
        self.num_steps += 1
        return fetched[LOSS]

    def plan(self, *batch: object) -> Plan:
        """The plan for batches of this shape; nothing is run."""
        with self._lock:
            return self._compile(batch).plan

    def graph(self, *batch: object) -> Graph:
        """The Graph of a whole step for batches of this shape; nothing is run."""
        with self._lock:
            return self._compile(batch).graph

    def session(self, *batch: object) -> Session:
        """The session that runs batches of this shape, for its traffic counters."""
        with self._lock:
            return self._open(self._compile(batch))

    def state_dict(self) -> dict[str, Tensor]:
        """The weights and buffers as they stand, under the names of the model's own state_dict."""
        own = self._model.state_dict(keep_vars=True)
        if not self._compiled:
            return {name: tensor.detach().clone() for name, tensor in own.items()}
        with self._lock:
            held = self._held()
        names: dict[int, str] = {}
        for compiled in self._compiled.values():
            names.update({id(tensor): name for name, tensor in compiled.captured.tensors.items()})
        return {
            name: held[names[id(tensor)]] if names.get(id(tensor)) in held else tensor.detach().clone()
            for name, tensor in own.items()
        }

    def close(self) -> None:
        """Stop the devices; the state is kept, and a later call goes on from it."""
        with self._lock:
            if self._running is None:
                return
            _, session = self._running
            try:
                kept = self._held()
            except BaseException:  # what was not fetched is lost, whatever stopped it
                self._lose(session)
                raise
            self._running, self._state = None, kept
            session.close()

    def __enter__(self) -> TrainStep:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        name = type(self._model).__name__
        return (
            f"<train step of {name} on {self._settings.machine.name}, {self._settings.backend}, {self.num_steps} made>"
        )

    def _lose(self, session: Session) -> None:
        """The devices no longer agree on the state. Before the first step there is none."""
        self._running, self._is_lost = None, self.num_steps > 0
        session.close()

    def _held(self) -> dict[str, Tensor]:
        """What the steps so far have changed, by input name; copies."""
        if self._is_lost:
            raise RunError("the state was lost with the devices that failed", "Make a new train step.")
        held = {name: tensor.clone() for name, tensor in self._state.items()}
        if self._running is not None:
            compiled, session = self._running
            # The rest is the model's own, and constants, whose names mean something in one program only.
            held |= {name: tensor for name, tensor in session.state().items() if name in compiled.changed}
        return held

    def _open(self, compiled: _Compiled) -> Session:
        if self._running is not None and self._running[0] is compiled:
            return self._running[1]
        self.close()
        state = self._held()
        session = open_session(compiled.program, self._settings.backend)
        compiled.shipped.clear()
        try:
            for name in compiled.program.parameters:
                session.put(name, state[name] if name in state else self._start(compiled, name))
                if name in compiled.captured.tensors:
                    compiled.shipped[name] = version_of(compiled.captured.tensors[name])
        except BaseException:  # an interrupt too: nobody else knows of this session
            session.close()
            raise
        self._running = (compiled, session)
        self._state = {name: tensor for name, tensor in state.items() if name not in compiled.changed}
        return session

    @staticmethod
    def _start(compiled: _Compiled, name: str) -> Tensor:
        """What an input holds before it is first changed: the model's own weight, or zeros."""
        if name in compiled.captured.tensors:
            return compiled.captured.tensors[name]
        at = compiled.graph.inputs[name]
        return torch.zeros(compiled.graph.shape(at), dtype=torch_dtype(compiled.graph.nodes[at].dtype))

    def _ship(self, compiled: _Compiled, session: Session) -> None:
        """Send what the loss reads, steps leave as it is, and somebody has changed since it was sent."""
        for name, tensor in compiled.captured.tensors.items():
            is_own = name not in compiled.changed and name not in self._state
            if is_own and compiled.shipped.get(name) != version_of(tensor):
                session.put(name, tensor)
                compiled.shipped[name] = version_of(tensor)

    def _compile(self, batch: tuple[object, ...]) -> _Compiled:
        return self._compiled_for(call_signature(self._loss, batch, {}), batch)

    def _compiled_for(self, signature: Signature, batch: tuple[object, ...]) -> _Compiled:
        """Traced anew for another kind of batch, and where parameters were exchanged, frozen or released."""
        known = self._compiled.get(signature.call)
        if known is None or known.signature.parameters != signature.parameters:
            refuse_batch(self._loss, batch)
            captured = capture(self._loss, batch, {}, training=True)
            if not isinstance(captured.result, Slot):
                mistake = f"the loss returns a {type_text(captured.result)} instead of a tensor"
                raise EinsplitError(mistake, "Return one number.")
            refuse_shared_memory(self._model)
            refuse_outside(self._model, captured.tensors)
            groups = trained(self._optimizer, self._trainable(captured))
            graph = train_graph(captured.graph, groups.groups, self._settings.clip_norm)
            if self._settings.strict:
                refuse_whole(graph)
            plan = self._settings.plan if self._settings.plan is not None else make_plan(graph, self._settings.machine)
            program = compile_plan(plan, graph)
            self._compiled.pop(signature.call, None)
            if len(self._compiled) >= MAX_TRACES:
                self._compiled.pop(next(iter(self._compiled)))
            self._compiled[signature.call] = _Compiled(signature, captured, groups, graph, plan, program)
        return self._compiled[signature.call]

    @staticmethod
    def _trainable(captured: Captured) -> dict[int, str]:
        return {id(tensor): name for name, tensor in captured.tensors.items() if tensor.requires_grad}
