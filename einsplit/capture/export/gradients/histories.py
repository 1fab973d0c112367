"""Writes in place that autograd does not record: under no_grad, or through what detach() returns.

Such a write changes the elements of every tensor in that memory and the gradient of none: a tensor keeps the history it
had. Rewritten without writes, a program would hand gradients through what was written, or stop those of before. So it
is run once more under autograd, on tensors without values, and what autograd knows of a tensor where it is read decides
where a `detach` has to stand. A gradient of what a tensor held before a write has no such form, and is refused.

Source: PyTorch, notes "Autograd mechanics" (in-place operations) and "Tensor views".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import Argument, Target

from einsplit.capture.export.gradients.stops import keep_stops
from einsplit.capture.sources import capture_error, line_of_node
from einsplit.capture.structure import leaves_in
from einsplit.capture.torch_private import num_writes, viewed


def keep_histories(program: ExportedProgram, training: bool) -> None:
    """Write `detach`, in place, where a tensor is read that has no history, and whose memory has had one.

    `training`: gradients are those by what requires them. Without it anything may be differentiated later, or nothing.
    Raises CaptureError, while `training`, where a tensor is read that has only the history of before a write.
    """
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"]
    mode = next((value.fake_mode for value in values if hasattr(value, "fake_mode")), None)
    if mode is None:  # nothing goes in, and no gradient comes out
        return
    known = _Histories(training)
    with mode, torch.enable_grad():
        inputs = [_input(value, training) for value in values]
        try:
            _Replay(program.graph_module, known).run(*inputs)
        except (RuntimeError, ValueError):  # autograd refuses what is right without gradients
            if training:
                raise
            keep_stops(program)
            return
    for reader, read in known.stops:
        with reader.graph.inserting_before(reader):
            stopped = reader.graph.call_function(torch.ops.aten.detach.default, (read,))
        stopped.meta.update(read.meta)
        reader.replace_input_with(read, stopped)


class _Replay(Interpreter):
    """Runs a program, its regions included, and notes every operator."""

    def __init__(self, module: GraphModule, known: _Histories) -> None:
        super().__init__(module)
        self._known = known
        self._node: Node | None = None

    def run_node(self, n: Node) -> object:
        self._node = n
        if n.op == "output" and not self._known.depth:  # of a region they are read outside
            tensors = self._tensors_of(n)
            self._known.note(n, tensors, {read: num_writes(tensor) for read, tensor in tensors.items()}, ())
        return super().run_node(n)

    def call_function(self, target: Target, args: tuple[Argument, ...], kwargs: Mapping[str, Argument]) -> object:
        node = self._node
        assert node is not None
        if str(target).startswith("wrap_with_"):
            inside = tuple(partial(self._region, part) if isinstance(part, GraphModule) else part for part in args)
            return super().call_function(target, inside, dict(kwargs))
        tensors = self._tensors_of(node)
        versions = {read: num_writes(tensor) for read, tensor in tensors.items()}
        found = super().call_function(target, args, dict(kwargs))
        self._known.note(node, tensors, versions, _real(leaves_in(found)))
        return found

    def _region(self, body: GraphModule, *args: object) -> object:
        self._known.depth += 1
        try:
            return _Replay(body, self._known).run(*args)
        finally:
            self._known.depth -= 1

    def _tensors_of(self, node: Node) -> dict[Node, Tensor]:
        """The real tensors that an operator is given, by the node that made them."""
        values = {read: self.env[read] for read in node.all_input_nodes}
        return {read: part for read, value in values.items() for part in _real([value])}


class _Histories:
    """What autograd knows of the tensors in each memory."""

    def __init__(self, training: bool) -> None:
        self.depth = 0  # of regions
        self.stops: list[tuple[Node, Node]] = []  # who reads, and what it reads, detached
        self._training = training
        self._sharing: dict[object, list[Tensor]] = defaultdict(list)  # by storage; alive, so that no id comes twice
        self._differentiated: set[object] = set()  # storages that would get gradients without writes and no_grad
        self._outdated: dict[int, str] = {}  # lines of writes, by the base of the tensors that do not know of them

    def note(
        self, node: Node, given: Mapping[Node, Tensor], versions: Mapping[Node, int], made: Sequence[Tensor]
    ) -> None:
        """Of an operator that was given tensors, of these versions before, and made some."""
        storages = {tensor.untyped_storage() for tensor in made}
        written = {read: tensor for read, tensor in given.items() if num_writes(tensor) != versions[read]}
        for read, tensor in given.items():
            if read in written:
                continue
            if tensor.untyped_storage() not in storages:
                self._note_read(node, read, tensor, made)
            elif torch.is_grad_enabled() and tensor.requires_grad and not _has_history(tensor):
                self.stops.append((node, read))  # a view of one that was made under no_grad: the gradient ends there
        for tensor in (*given.values(), *made):
            self._sharing[tensor.untyped_storage()].append(tensor)
            if _has_history(tensor):
                self._differentiated.add(tensor.untyped_storage())
        for tensor in written.values():
            self._note_write(node, tensor)

    def _note_read(self, node: Node, read: Node, tensor: Tensor, made: Sequence[Tensor]) -> None:
        is_used = node.op == "output" or any(map(_has_history, made))
        if not (torch.is_grad_enabled() and _has_history(tensor)):
            if _has_history(tensor) or tensor.untyped_storage() in self._differentiated:
                self.stops.append((node, read))
        elif self._training and is_used and (line := self._outdated.get(_base(tensor))) is not None:
            raise capture_error(
                "a write under torch.no_grad() or through detach() changes a tensor that has a gradient",
                line,
                "Write where gradients are enabled and not through detach(), or into a copy: x.detach().clone().",
            )

    def _note_write(self, node: Node, tensor: Tensor) -> None:
        sharing = self._sharing[tensor.untyped_storage()]
        recorded = _base(tensor) if torch.is_grad_enabled() and tensor.requires_grad else None
        if recorded != _base(sharing[0]):  # through detach(): rewritten, it is read through the same detach() again
            recorded = None
        for other in sharing:
            if _base(other) != recorded and _has_history(other):
                self._outdated.setdefault(_base(other), line_of_node(node))


def _input(value: object, training: bool) -> object:
    """An input as autograd takes it: with a gradient of its own if it requires one, or, but for training, may have."""
    if not isinstance(value, Tensor):
        return value
    if training or not _real([value]):
        return value.detach().requires_grad_(value.requires_grad)
    return value.detach().requires_grad_().clone()  # no leaf: it may be written


def _real(values: Iterable[object]) -> tuple[Tensor, ...]:
    """The tensors among them that can have gradients."""
    return tuple(
        part for part in values if isinstance(part, Tensor) and (part.is_floating_point() or part.is_complex())
    )


def _base(tensor: Tensor) -> int:
    """The same number for all tensors whose histories a recorded write to one of them changes."""
    base = viewed(tensor)
    return id(tensor if base is None else base)


def _has_history(tensor: Tensor) -> bool:
    """Whether a gradient goes on from it. One that is a view made under no_grad requires gradients and has none."""
    if not tensor.requires_grad or viewed(tensor) is None:
        return bool(tensor.requires_grad)
    try:
        return tensor.grad_fn is not None
    except RuntimeError:  # its base was written since, and autograd refuses to read it
        return False
