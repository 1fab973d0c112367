"""Call -> Signature: two calls with equal signatures are one traced program; anything else is traced anew.

What a signature cannot see is fixed when a call is first traced: numbers that a function takes from its surroundings,
and attributes of a module that are not parameters, buffers or the training flag. Whether two tensors are one it need
not see: they are traced as two.
"""

from __future__ import annotations

import enum
import functools
import numbers
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import FunctionType, MethodType, ModuleType

import numpy as np
import torch

from einsplit.capture.export.modules import modules_of, tensors_of
from einsplit.capture.structure import split_structure


@dataclass(frozen=True, slots=True)
class Signature:
    """What a call looks like, and what its parameters are."""

    call: Hashable
    parameters: Hashable  # which tensors stand in the modules; a call whose parameters are replaced is traced anew
    tensors: tuple[torch.Tensor, ...]  # of the arguments, in order
    held: tuple[object, ...]  # what keys name by identity: kept alive, so that no other object takes its place


def call_signature(function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> Signature:
    """The signature of `function(*args, **kwargs)` as things stand now."""
    template, found = split_structure((tuple(args), dict(kwargs)))
    held: list[object] = [function]
    roots = modules_of(function, template)
    modules = list(dict.fromkeys(module for root in roots for module in root.modules()))
    held.extend(modules)
    parameters = [
        (name, id(tensor), *_kind(tensor))
        for module in modules
        for own in (module.named_parameters(recurse=False), module.named_buffers(recurse=False))
        for name, tensor in own
    ]
    parameters += [(name, id(tensor), *_kind(tensor)) for name, tensor in tensors_of(function).items()]
    call = (
        _key((tuple(args), dict(kwargs)), held, set()),
        tuple(path for path, _ in found),
        tuple((id(module), module.training) for module in modules),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu"),
    )
    return Signature(call, tuple(parameters), tuple(tensor for _, tensor in found), tuple(held))


def _kind(tensor: torch.Tensor) -> tuple[Hashable, ...]:
    """What a traced function sees of a tensor.

    Not where in its storage it begins: batches that are parts of one tensor are one trace.
    """
    kind = (type(tensor), tensor.layout, tensor.is_nested, tensor.dtype, tensor.device)
    if tensor.is_nested or tensor.layout is not torch.strided:  # has no shape or strides, and will be refused
        return kind
    fills_storage = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
    is_lazy = tensor.is_conj(), tensor.is_neg()
    return (*kind, tuple(tensor.shape), tensor.stride(), fills_storage, tensor.requires_grad, is_lazy)


_VALUES = (type(None), bool, numbers.Number, str, bytes, enum.Enum, range, torch.dtype, torch.device, type)


def _key(tree: object, held: list[object], inside: set[int]) -> Hashable:
    """Equal for arguments that trace alike. Objects that cannot be looked into are told apart by identity."""
    if isinstance(tree, torch.Tensor):
        return (torch.Tensor, *_kind(tree))
    if isinstance(tree, (np.ndarray, np.generic)):
        return (type(tree), tree.shape, str(tree.dtype), tree.tobytes())
    if isinstance(tree, (float, complex)):
        return (type(tree), repr(tree))  # 0.0 and -0.0 are equal; NaN is not equal to itself
    if isinstance(tree, _VALUES):
        return (type(tree), tree)  # the type: 1 and True are equal, and trace differently
    if isinstance(tree, slice):
        return (slice, tree.start, tree.stop, tree.step)
    if id(tree) in inside:  # an object that holds itself
        return "..."
    inner = functools.partial(_key, held=held, inside=inside | {id(tree)})
    if isinstance(tree, (tuple, list, deque)):
        return (type(tree), *map(inner, tree))
    if isinstance(tree, (set, frozenset)):
        return (type(tree), frozenset(map(inner, tree)))
    if isinstance(tree, Mapping):
        return (type(tree), *((inner(key), inner(part)) for key, part in tree.items()))
    if isinstance(tree, functools.partial):
        return (type(tree), inner(tree.func), inner(tree.args), inner(tree.keywords))
    if is_dataclass(tree) and not isinstance(tree, type):
        return (type(tree), *((field.name, inner(getattr(tree, field.name))) for field in fields(tree)))
    if isinstance(tree, MethodType):
        return (type(tree), inner(tree.__self__), inner(tree.__func__))
    if hasattr(tree, "__dict__") and not isinstance(tree, (torch.nn.Module, FunctionType, ModuleType)):
        return (type(tree), *((name, inner(part)) for name, part in vars(tree).items()))
    held.append(tree)
    return (type(tree), id(tree))
