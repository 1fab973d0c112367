"""torch program -> Graph: `capture` gives the Graph, the tensors it reads, and how to call it like the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.export.graph_signature import InputKind

import einsplit.capture.rules as rules
from einsplit.builder import Builder
from einsplit.capture.export import Exported, export
from einsplit.capture.formulas import dtype_name
from einsplit.capture.reader import Reader
from einsplit.capture.structure import fill_structure
from einsplit.errors import CaptureError
from einsplit.graph import Graph
from einsplit.views import Value

__all__ = ["Captured", "capture"]


@dataclass(frozen=True, slots=True)
class Captured:
    """A Graph, the live tensors of its parameters and constants, and the shape of calls and results."""

    graph: Graph
    tensors: dict[str, torch.Tensor]  # parameters, buffers and constants by input name
    feeds: tuple[str, ...]  # data inputs, in the order of the tensors in the arguments
    outputs: tuple[str, ...]
    result: object  # template of the result

    def rebuild(self, fetches: Mapping[str, torch.Tensor]) -> object:
        """The result as the original returns it, from tensors by output name."""
        return fill_structure(self.result, [fetches[name] for name in self.outputs])


def capture(function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> Captured:
    """Trace `function(*args, **kwargs)` once, for these shapes, without gradients.

    Raises CaptureError, with the user's line, for what cannot be traced without guessing.
    """
    exported = export(function, args, kwargs)
    builder = Builder()
    reader = Reader(builder, rules.unknown)
    arguments, tensors = _inputs(exported, builder)
    results = reader.run(exported.program.graph_module, arguments)
    kinds = [spec.kind.name for spec in exported.program.graph_signature.output_specs]
    if any(kind != "USER_OUTPUT" for kind in kinds):
        raise CaptureError(
            "the function changes a buffer or an argument, and a forward pass keeps no state: call model.eval()"
        )
    assert isinstance(results, (tuple, list))
    if not results:
        raise CaptureError("the function returns no tensor: return at least one")
    outputs = {f"output_{k}" if len(results) > 1 else "output": reader.value(r) for k, r in enumerate(results)}
    graph = builder.build(outputs)
    used = graph.inputs
    tensors.update(reader.values)
    live = {name: tensor for name, tensor in tensors.items() if name in used}
    return Captured(graph, live, exported.input_names, tuple(outputs), exported.result)


def _inputs(exported: Exported, builder: Builder) -> tuple[list[object], dict[str, torch.Tensor]]:
    """A symbolic value for every placeholder, tied parameters once; and the tensors behind those that have one."""
    held = dict(exported.wrapper.named_parameters(remove_duplicate=False))
    held.update(exported.wrapper.named_buffers(remove_duplicate=False))
    constants = exported.program.constants
    placeholders = [node for node in exported.program.graph.nodes if node.op == "placeholder"]
    names = iter(exported.input_names)
    arguments: list[object] = []
    tensors: dict[str, torch.Tensor] = {}
    known: dict[int, Value] = {}
    for spec, node in zip(exported.program.graph_signature.input_specs, placeholders, strict=True):
        meta = node.meta["val"]
        if spec.kind is InputKind.USER_INPUT:
            arguments.append(builder.input(next(names), tuple(meta.shape), dtype_name(meta.dtype)))
            continue
        assert spec.target is not None
        tensor = held.get(spec.target, constants.get(spec.target))
        if not isinstance(tensor, torch.Tensor):
            raise CaptureError(f"the function reads {spec.target!r}, which is no tensor")
        if spec.kind is InputKind.CONSTANT_TENSOR:
            arguments.append(tensor)
            continue
        if id(tensor) not in known:
            name = spec.target.removeprefix(exported.prefix)
            labels = [f"{_short(name)}_{k}" for k in range(tensor.ndim)]
            value = builder.input(name, tuple(tensor.shape), dtype_name(tensor.dtype), role="parameter", labels=labels)
            known[id(tensor)], tensors[name] = value, tensor
        arguments.append(known[id(tensor)])
    return arguments, tensors


def _short(name: str) -> str:
    """`model.layers.0.mlp.gate_proj.weight` -> `gate_proj`."""
    parts = [part for part in name.split(".") if not part.isdigit() and part not in ("weight", "bias")]
    return parts[-1] if parts else "p"
