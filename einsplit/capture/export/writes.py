"""In-place operators: rewritten by torch where they stay inside the function, refused where they are seen outside.

But for writes into buffers while training: those are the buffers' next values.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import GraphModule, Node
from torch.fx.traceback import preserve_node_meta

from einsplit.capture.export.gradients import keep_histories, keep_stops
from einsplit.capture.sources import capture_error, line_of_node
from einsplit.capture.torch_private import writes_in_place
from einsplit.errors import CaptureError

_NO_STATE = "and a forward pass keeps no state"


def refuse_lost_statistics(program: ExportedProgram) -> None:
    """Raise CaptureError where torch would lose what an instance norm writes into its running statistics."""
    for node in nodes_in(program.graph_module):
        keeps = str(node.target).startswith("aten.instance_norm") and node.args[3] is not None
        if keeps and node.args[5] is True:
            message = "the running statistics of an instance norm in training are not recorded by torch.export"
            raise capture_error(
                message, line_of_node(node), "Set track_running_stats=False, or call eval() of that layer."
            )


def without_writes(program: ExportedProgram, training: bool) -> ExportedProgram:
    """The program without in-place operators: views of what they change are recomputed, by torch.

    `training`: with the gradients it had.
    """
    if not any(map(_wants_rewriting, nodes_in(program.graph_module))):
        return program
    try:
        if any(map(_is_in_place, nodes_in(program.graph_module))):
            keep_histories(program, training)
        else:
            keep_stops(program)
        with warnings.catch_warnings(), preserve_node_meta():
            warnings.simplefilter("ignore", FutureWarning)  # torch warns of its own code
            rewritten: ExportedProgram = program.run_decompositions({})
        return rewritten
    except CaptureError:
        raise
    except Exception as error:
        written = next(filter(_wants_rewriting, nodes_in(program.graph_module)), None)
        place = line_of_node(written) if written is not None else ""
        if "is mutated in the forward" in str(error):
            message = f"the function writes into a tensor that it finds outside, {_NO_STATE}"
            raise capture_error(message, place, "Compute a new tensor and return it.") from error
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        message = f"torch cannot rewrite this as operators that return new tensors: {type(error).__name__}: {first}"
        raise capture_error(message, place, "Write into no tensor, and use no torch.func inside.") from error


def nodes_in(module: GraphModule) -> Iterator[Node]:
    """Every operator of the graph, those of its regions (no_grad, autocast) included."""
    for part in module.modules():
        if isinstance(part, GraphModule):
            yield from (node for node in part.graph.nodes if node.op == "call_function")


def _is_in_place(node: Node) -> bool:
    target = node.target
    return writes_in_place(target) and str(target) != "aten.detach_.default"  # which changes no element


def _wants_rewriting(node: Node) -> bool:
    casts = str(node.target) == "wrap_with_autocast" and node.args[2] is True
    keeps = str(node.target).startswith(("aten.batch_norm", "aten.instance_norm")) and node.args[3] is not None
    keeps = keeps and node.args[5] is True  # running statistics: written in place, and not declared so
    maps = "functorch" in (getattr(node.target, "__module__", None) or "")  # torch.func.vmap inside the function
    return _is_in_place(node) or casts or keeps or maps


def updated_buffers(
    traced: ExportedProgram,
    program: ExportedProgram,
    names: Sequence[str],
    own_names: Mapping[str, str],
    allowed: bool,
) -> tuple[str, ...]:
    """The buffers that the program changes, by its own name, in the order of its outputs.

    Raises CaptureError where it changes an argument or a parameter, or, unless that is `allowed`, a buffer.
    """
    inputs = program.graph_signature.input_specs
    user = [spec.arg.name for spec in inputs if spec.kind is InputKind.USER_INPUT]
    found: list[str] = []
    for spec in program.graph_signature.output_specs:
        if spec.kind is OutputKind.USER_OUTPUT or spec.target is None:
            continue
        if spec.kind is OutputKind.BUFFER_MUTATION and allowed:
            found.append(spec.target)
            continue
        if spec.kind is OutputKind.USER_INPUT_MUTATION:
            what, own = f"its argument {names[user.index(spec.target)]!r}", spec.target
            advice = "Write into a copy, x = x.clone(), and return it."
        else:
            kind = "parameter" if spec.kind is OutputKind.PARAMETER_MUTATION else "buffer"
            what = f"the {kind} {own_names[spec.target]!r}"
            own = next(s.arg.name for s in inputs if s.target == spec.target)
            advice = "Compute a new tensor and return it."
            if kind == "buffer":
                advice = f"{advice[:-1]}; of batch norm in training: call model.eval(), or train with train_step."
        raise capture_error(f"the function writes into {what}, {_NO_STATE}", _line_of_write(traced, own), advice)
    return tuple(found)


def refuse_kept(program: ExportedProgram, replaced: Mapping[str, torch.Tensor]) -> None:
    """Raise CaptureError where the program reads a tensor that the function then replaces in a module."""
    constants = [part for part in program.constants.values() if isinstance(part, torch.Tensor)]
    for name, old in replaced.items():
        if any(part.untyped_storage() is old.untyped_storage() for part in constants):
            own = name.partition(".")[2]
            message = f"the function reads and sets the attribute {own!r} of a module, {_NO_STATE}"
            raise capture_error(message, "", "Pass the tensor in as an argument and return its next value.")


def _line_of_write(program: ExportedProgram, placeholder: str) -> str:
    """The line that writes into the storage of a placeholder."""
    written = next(node for node in program.graph.nodes if node.name == placeholder)
    storage = written.meta["val"].untyped_storage()
    for node in filter(_wants_rewriting, nodes_in(program.graph_module)):
        values = [arg.meta.get("val") for arg in node.all_input_nodes]
        if any(isinstance(value, torch.Tensor) and value.untyped_storage() is storage for value in values):
            return line_of_node(node)
    return ""
