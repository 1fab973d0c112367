"""A user's function -> Captured: export it, read the export into one Graph, keep the tensors that the Graph reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count

import torch
from torch.export.graph_signature import InputKind

from einsplit.builder import Builder
from einsplit.builder.views import Value
from einsplit.capture.dtypes import dtype_name
from einsplit.capture.export import Exported, export
from einsplit.capture.reader import SEED, Reader
from einsplit.capture.rules import unknown
from einsplit.capture.structure import fill_structure
from einsplit.errors import CaptureError
from einsplit.graph import Graph


@dataclass(frozen=True, slots=True)
class Captured:
    """A Graph, the live tensors of its parameters and constants, and the shape of calls and results."""

    graph: Graph
    tensors: dict[str, torch.Tensor]  # parameters, buffers and constants by input name
    feeds: tuple[str, ...]  # data inputs, in the order of the tensors in the arguments
    outputs: tuple[str, ...]
    result: object  # template of the result
    draws: bool = False  # whether it has the input SEED, which every call feeds anew

    def feed(self, tensors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The feeds of a call, from the tensors in its arguments; if it draws random numbers, a seed from torch's."""
        found = dict(zip(self.feeds, tensors, strict=True))
        # From torch's own generator, so that torch.manual_seed repeats what is drawn.
        return {**found, SEED: torch.randint(1 << 62, ())} if self.draws else found

    def rebuild(self, fetches: Mapping[str, torch.Tensor]) -> object:
        """The result as the original returns it, from tensors by output name."""
        return fill_structure(self.result, [fetches[name] for name in self.outputs])


def capture(
    function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object], training: bool = False
) -> Captured:
    """Trace `function(*args, **kwargs)` once, for these shapes.

    `training`: the Graph is to be differentiated, and writes into buffers (running statistics) become updates. So what
    tracing loses of gradients is refused. Without it, a function that writes into a buffer is refused.
    Raises CaptureError, with the user's line, for what cannot be traced without guessing.
    """
    exported = export(function, args, kwargs, training)
    builder = Builder()
    inputs = _inputs(exported, builder)
    reader = Reader(builder, unknown, {*exported.input_names, *inputs.tensors})
    results = reader.run(exported.program.graph_module, inputs.arguments)
    assert isinstance(results, (tuple, list))
    following, results = results[: len(exported.updated)], results[len(exported.updated) :]
    if not results:
        raise CaptureError(
            "the function returns no tensor.", "Return at least one: einsplit computes what is returned."
        )
    names = [f"output_{k}" for k in range(len(results))] if len(results) > 1 else ["output"]
    outputs = {name: reader.value(result) for name, result in zip(names, results, strict=True)}
    updates = {inputs.names[k]: reader.value(value) for k, value in zip(exported.updated, following, strict=True)}
    graph = builder.build(outputs, updates)
    used = graph.inputs
    live = {name: tensor for name, tensor in {**inputs.tensors, **reader.constants.tensors}.items() if name in used}
    return Captured(graph, live, exported.input_names, tuple(names), exported.result, SEED in used)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What stands for a program's placeholders."""

    arguments: list[object]  # a symbolic value each, tied parameters once; a literal as it is
    tensors: dict[str, torch.Tensor]  # behind those that have one, by input name
    names: dict[str, str]  # input name by the program's own


def _inputs(exported: Exported, builder: Builder) -> _Inputs:
    placeholders = [node for node in exported.program.graph.nodes if node.op == "placeholder"]
    names = iter(exported.input_names)
    taken = set(exported.input_names)
    arguments: list[object] = []
    tensors: dict[str, torch.Tensor] = {}
    known: dict[tuple[object, ...], tuple[str, Value]] = {}  # by place: its input's name and value
    own_names: dict[str, str] = {}
    for spec, node in zip(exported.program.graph_signature.input_specs, placeholders, strict=True):
        if spec.kind is InputKind.USER_INPUT:
            meta = node.meta["val"]
            arguments.append(builder.input(next(names), tuple(meta.shape), dtype_name(meta.dtype)))
            continue
        assert spec.target is not None
        name, tensor = exported.tensors[spec.target]
        if spec.target in exported.literals:
            arguments.append(tensor)
            continue
        place = _place(tensor)
        if place not in known:
            name = next(n for n in chain((name,), (f"{name}_{k}" for k in count(2))) if n not in taken)
            taken.add(name)
            labels = [_short(name) + (f"_{k}" if k else "") for k in range(tensor.ndim)]
            shape, dtype = tuple(tensor.shape), dtype_name(tensor.dtype)
            known[place] = (name, builder.input(name, shape, dtype, role="parameter", labels=labels))
            tensors[name] = tensor
        own_names[spec.target], value = known[place]
        arguments.append(value)
    return _Inputs(arguments, tensors, own_names)


def _place(tensor: torch.Tensor) -> tuple[object, ...]:
    """Equal for tensors that are the same elements of the same storage: tied parameters are one input."""
    strides = tuple(tensor.stride())
    return (tensor.untyped_storage(), tensor.dtype, tuple(tensor.shape), strides, tensor.storage_offset())


def _short(name: str) -> str:
    """`model.layers.0.mlp.gate_proj.weight` -> `gate_proj`."""
    parts = [part for part in name.split(".") if not part.isdigit() and part not in ("weight", "bias")]
    return parts[-1] if parts else "p"
