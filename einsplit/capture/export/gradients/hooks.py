"""What a function does with gradients while it runs, and hooks that wait for them: nothing of both is in a program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch

from einsplit.capture.calls import EveryCall
from einsplit.capture.torch_private import GRADIENT_TRANSFORMS, MODULE_HOOKS, TENSOR_HOOKS
from einsplit.errors import CaptureError

Refused = dict[Callable[..., object], tuple[str, str]]  # by what is called: what is wrong, and what to change

_INNER = (
    "gradients are asked for inside the function, which tracing does not see: einsplit differentiates what it traces",
    "Return the loss and let train_step differentiate it; write an inner gradient out with ordinary operators.",
)
_HOOK = (
    "a gradient hook that the function registers would not be called, and what it changes would be lost",
    "Write it into what is computed: y * 2 - y.detach() has the value of y, and twice its gradient.",
)
_ALWAYS: Refused = dict.fromkeys((torch.autograd.grad, torch.autograd.backward, torch.Tensor.backward), _INNER)
_HOOKS = (torch.Tensor.register_hook, torch.Tensor.register_post_accumulate_grad_hook)
_IN_TRAINING: Refused = dict.fromkeys(_HOOKS, _HOOK)


class AsksForGradients(Exception):
    """Raised from within the traced function; arguments are what is wrong, and what to change."""


class WatchedGradients(EveryCall):
    """Inside, a call that asks for gradients raises AsksForGradients, and while training one that registers a hook."""

    def __init__(self, training: bool) -> None:
        super().__init__()
        self._refused = {**_ALWAYS, **(_IN_TRAINING if training else {})}

    def around(self, func: Callable[..., object]) -> AbstractContextManager[object]:
        if func in self._refused:
            raise AsksForGradients(*self._refused[func])
        return nullcontext()


def asked_for_gradients(error: BaseException) -> tuple[str, str] | None:
    """What is wrong, and what to change, where the function asked for gradients; None where it did not."""
    if isinstance(error, AsksForGradients):
        text, advice = error.args
        return text, advice
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == GRADIENT_TRANSFORMS:
            return _INNER
        trace = trace.tb_next
    return None


def refuse_hooks(modules: Iterable[torch.nn.Module]) -> None:
    """Raise CaptureError, with its name, where a parameter or a module has a hook that waits for gradients."""
    for what, hook in _hooks(modules):
        raise CaptureError(
            f"the {what} has a gradient hook ({hook}), which would not be called: gradients stay with the devices",
            "Remove it: handle.remove(). What it does to gradients can be written into the loss, or be clip_norm.",
        )


def _hooks(modules: Iterable[torch.nn.Module]) -> Iterator[tuple[str, str]]:
    """Who has one, and what registered it."""
    for module in modules:
        for name, part in module.named_modules():
            for attribute, hook in MODULE_HOOKS.items():
                if getattr(part, attribute, None):
                    yield f"module {name or type(part).__name__!r}", hook
        for name, parameter in module.named_parameters():
            for attribute, hook in TENSOR_HOOKS.items():
                if getattr(parameter, attribute, None):
                    yield f"parameter {name!r}", hook
