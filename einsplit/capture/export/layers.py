"""Layers of torch's own that look at values while they run: what they are told beforehand, and what is said of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from types import CodeType, TracebackType

import torch
from torch import nn

from einsplit.capture.torch_private import VALIDATES_SAMPLE

# Where no hint is given, they compare the mask with a causal one. False makes them use the mask as it is.
_HINTS: dict[type, tuple[int, str]] = {
    nn.TransformerEncoder: (3, "is_causal"),  # position among the arguments, and name
    nn.TransformerDecoder: (6, "tgt_is_causal"),
}
# Torch's own code that looks, and not whatever has such a layer as its `self`: users derive classes of their own.
_LOOKING: dict[frozenset[CodeType], tuple[str, str]] = {
    frozenset({nn.BatchNorm1d.forward.__code__, nn.SyncBatchNorm.forward.__code__}): (  # one for all dimensions
        "a batch norm with momentum=None divides by the number of its calls, and values are not known while tracing",
        "Give it a momentum, BatchNorm1d(..., momentum=0.1), or call eval() of that layer.",
    ),
    frozenset({torch.distributions.Distribution.__init__.__code__, VALIDATES_SAMPLE.__code__}): (
        "a distribution checks the values of its arguments, and values are not known while tracing",
        "Make it with validate_args=False.",
    ),
}


@contextlib.contextmanager
def hinted(modules: nn.Module) -> Iterator[None]:
    """Inside, layers that would look at the values of a mask to choose a faster way are told to take the mask."""
    handles = [
        part.register_forward_pre_hook(_hint, with_kwargs=True)
        for part in modules.modules()
        if isinstance(part, tuple(_HINTS))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hint(
    module: nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    position, name = next(hint for kind, hint in _HINTS.items() if isinstance(module, kind))
    if len(args) > position:
        return (*args[:position], args[position] is True, *args[position + 1 :]), dict(kwargs)
    return args, {**kwargs, name: kwargs.get(name) is True}


def looking_layer(trace: TracebackType | None) -> tuple[str, str] | None:
    """What is wrong, and what to change, where a layer of the table looked at a value; None where none did."""
    found = None
    while trace is not None:
        code = trace.tb_frame.f_code
        found = next((words for codes, words in _LOOKING.items() if code in codes), found)
        trace = trace.tb_next
    return found
