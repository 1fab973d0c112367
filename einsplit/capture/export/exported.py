"""A user's function or module and its example arguments -> an exported torch program, its tensors, its result's shape.

Everything the function reads besides its arguments (the modules it closes over) is registered, so that parameters come
out as named inputs and not as nameless constants. The export is read before decomposition: torch's own decompositions
lose `detach`, and fail on some models. Only a program that writes in place, or casts by itself, is rewritten by torch
into one that does not, whatever shares storage in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from einsplit.capture.export.arguments import check_argument, stand_in
from einsplit.capture.export.gradients import refuse_custom, refuse_hooks
from einsplit.capture.export.modules import modules_of, tensors_of
from einsplit.capture.export.products import refuse_products_of_bool
from einsplit.capture.export.tracing import Wrapper, argument_name, parameter_names, traced
from einsplit.capture.export.writes import refuse_kept, refuse_lost_statistics, updated_buffers, without_writes
from einsplit.capture.structure import split_structure
from einsplit.errors import CaptureError


@dataclass(frozen=True, slots=True)
class Exported:
    """An exported program without in-place operators, and how to call it as the user's function is called."""

    program: ExportedProgram
    input_names: tuple[str, ...]  # one per tensor in the arguments, in order
    result: object  # template of the user's result
    tensors: dict[str, tuple[str, torch.Tensor]]  # the user's name and live tensor, by the program's own name
    literals: frozenset[str]  # constants that the traced code makes itself, by the program's own name
    updated: tuple[str, ...] = ()  # buffers whose next values are the program's first outputs, by its own name


def export(
    function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object], training: bool = False
) -> Exported:
    """Export `function(*args, **kwargs)`. Raises CaptureError, with the user's line, where that cannot be done.

    `training`: gradients will be asked for, and writes into buffers are kept as updates.
    """
    template, found = split_structure((tuple(args), dict(kwargs)))
    names = _input_names(parameter_names(function), [path for path, _ in found])
    for name, (_, tensor) in zip(names, found, strict=True):
        check_argument(name, tensor)
    wrapper = Wrapper(function, template, modules_of(function, template), training)
    if training:
        refuse_hooks(wrapper.held)
    seen = wrapper.seen  # torch gives a module back the attributes it had before the export
    outside = tensors_of(function)
    copies = {name: tensor.clone() for name, tensor in outside.items()}
    # Always: one program for calls with and without gradients; and some modules of torch, told that none are wanted,
    # take a fused operator that nobody can cut.
    with torch.enable_grad():
        recorded = traced(wrapper, [stand_in(tensor) for _, tensor in found])
    if training:
        refuse_custom(seen.functions)
    refuse_kept(recorded, seen.replaced)
    refuse_products_of_bool(recorded)
    refuse_lost_statistics(recorded)
    literals = frozenset(_literals(recorded))
    try:
        program = without_writes(recorded, training)
    except CaptureError:
        with torch.no_grad():  # what the function writes into a tensor outside was written while it was traced
            for name, tensor in outside.items():
                tensor.copy_(copies[name])
        raise
    tensors = _live_tensors(program, wrapper, outside)
    own_names = {target: name for target, (name, _) in tensors.items()}
    updated = updated_buffers(recorded, program, names, own_names, allowed=training)
    assert len(program.graph_signature.user_outputs) == seen.num_tensors
    return Exported(program, names, seen.result, tensors, literals, updated)


def _input_names(names: Sequence[str], paths: Sequence[str]) -> tuple[str, ...]:
    """Tensor paths with positions replaced by the parameters' names: `0.1` -> `input_ids`."""
    out: list[str] = []
    for path in paths:
        where, key, *rest = path.split(".")
        name = ".".join([argument_name(names, where, key), *rest])
        out.append(name if name not in out else f"{name}_{len(out)}")
    return tuple(out)


def _literals(program: ExportedProgram) -> Iterator[str]:
    """Constants that torch.tensor([...]) in the traced code makes, and that nobody else can change."""
    users = {node.name: list(node.users) for node in program.graph.nodes}
    for spec in program.graph_signature.input_specs:
        if spec.kind is not InputKind.CONSTANT_TENSOR or spec.target is None:
            continue
        if all(str(user.target).startswith("aten.lift_fresh") for user in users[spec.arg.name]):
            yield spec.target


def _live_tensors(
    program: ExportedProgram, wrapper: Wrapper, outside: Mapping[str, torch.Tensor]
) -> dict[str, tuple[str, torch.Tensor]]:
    """What stands behind parameters, buffers and constants: the user's own tensors where they are known."""
    held: dict[str, torch.Tensor] = dict(wrapper.named_parameters(remove_duplicate=False))
    held.update(wrapper.named_buffers(remove_duplicate=False))
    found = {}
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT or spec.target is None:
            continue
        tensor = held.get(spec.target, program.constants.get(spec.target))
        if not isinstance(tensor, torch.Tensor):
            raise CaptureError(f"the function reads {spec.target!r}, a {type(tensor).__name__}.", "Pass tensors only.")
        name = _without_prefix(spec.target, len(wrapper.held))
        found[spec.target] = next((known for known in outside.items() if _is_same(known[1], tensor)), (name, tensor))
    return found


def _is_same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether both are the same elements of the same storage."""
    place = [(x.dtype, x.shape, x.stride(), x.storage_offset()) for x in (left, right)]
    return left.untyped_storage() is right.untyped_storage() and place[0] == place[1]


def _without_prefix(target: str, num_modules: int) -> str:
    """The user's own name of a parameter: without what the wrapper puts in front."""
    return target.removeprefix("held.0." if num_modules == 1 else "held.")
