"""What an exported program does not say of gradients: custom functions by name, and where none flow."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.autograd.function import BackwardCFunction
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from einsplit.capture.sources import capture_error, line_of_class
from einsplit.capture.torch_private import is_of_registered_operator, users_function


def custom_functions(tensors: Iterable[torch.Tensor]) -> tuple[type, ...]:
    """The autograd functions, written in Python, that autograd would go through from these tensors."""
    todo = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    seen = set(todo)
    found: dict[type, None] = {}
    while todo:
        node = todo.pop()
        kind: type = type(node)
        # torch.library makes one for every operator that Python registers: those are known by their operator.
        if issubclass(kind, BackwardCFunction) and not is_of_registered_operator(kind):
            found[users_function(kind)] = None
        following = [edge for edge, _ in node.next_functions if edge is not None and edge not in seen]
        seen.update(following)
        todo.extend(following)
    return tuple(found)


def refuse_custom(functions: tuple[type, ...]) -> None:
    """Raise CaptureError where there is one: tracing sees what its forward computes, and not what its backward does."""
    if functions:
        name = functions[0].__name__
        text = f"the gradient of {name}, a torch.autograd.Function, is written in Python and would be lost"
        advice = (
            "Write what it computes with ordinary operators, detach() where no gradient flows, or make it an operator "
            "with torch.library.custom_op and register_autograd."
        )
        raise capture_error(text, line_of_class(functions[0]), advice)


def keep_stops(program: ExportedProgram) -> None:
    """Write `detach` behind every region under no_grad, in place: torch inlines regions when it rewrites a program."""
    for module in program.graph_module.modules():
        if isinstance(module, GraphModule):
            for node in [node for node in module.graph.nodes if _stops(node)]:
                for part in list(node.users):
                    _detach(module, part)


def _stops(node: Node) -> bool:
    return str(node.target) == "wrap_with_set_grad_enabled" and node.args[0] is False


def _detach(module: GraphModule, part: Node) -> None:
    """Whoever reads `part` reads it detached; it is an item of what a region returns."""
    value = part.meta.get("val")
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return
    with module.graph.inserting_after(part):
        stopped = module.graph.call_function(torch.ops.aten.detach.default, (part,))
    stopped.meta.update(part.meta)
    part.replace_all_uses_with(stopped, delete_user_cb=lambda user: user is not stopped)
