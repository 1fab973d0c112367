"""Autograd functions written in Python, by name: tracing sees their forward and not their backward."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.autograd.function import BackwardCFunction

from einsplit.capture.sources import capture_error, line_of_class
from einsplit.capture.torch_private import is_of_registered_operator, users_function

_OF_TORCH: dict[str, tuple[str, str]] = {  # torch's own, by name: what uses it, and what to do instead
    "CheckpointFunction": (
        "torch.utils.checkpoint with use_reentrant=True hides the gradient of what it calls",
        "Call checkpoint(..., use_reentrant=False).",
    ),
    "BackwardHookFunction": (
        "a hook of register_full_backward_hook or register_full_backward_pre_hook would not be called",
        "Remove it: handle.remove(). What changes gradients can be written into the loss.",
    ),
}


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
    if not functions:
        return
    name = functions[0].__name__
    if name in _OF_TORCH and functions[0].__module__.startswith("torch."):
        text, advice = _OF_TORCH[name]
        raise capture_error(text, "", advice)
    text = f"the gradient of {name}, a torch.autograd.Function, is written in Python and would be lost"
    advice = (
        "Write what it computes with ordinary operators, detach() where no gradient flows, or make it an operator "
        "with torch.library.custom_op and register_autograd."
    )
    raise capture_error(text, line_of_class(functions[0]), advice)
