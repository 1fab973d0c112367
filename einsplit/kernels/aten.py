"""Any torch operator as a kernel: its name and its arguments as JSON, tensors by number.

The operator is looked up in torch's own registry; a name that is not registered there runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from einsplit.errors import RunError
from einsplit.monoid import Array


def call_operator(attributes: Mapping[str, object], operands: Sequence[Tensor]) -> list[Tensor]:
    """The results of `attributes['op']` on its recorded arguments."""
    operands = [operand.contiguous() for operand in operands]  # some operators take no other strides
    args = _filled(attributes["args"], operands)
    given = attributes["kwargs"]
    assert isinstance(args, list) and isinstance(given, dict)
    kwargs = {name: _filled(part, operands) for name, part in given.items() if part != {"drop": True}}
    result = _operator(str(attributes["op"]))(*args, **kwargs)
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    return [part.resolve_conj().resolve_neg() for part in results]  # not to be done by whoever copies the bytes


def _operator(name: str) -> torch._ops.OpOverload:
    found: object = torch.ops
    for part in name.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, torch._ops.OpOverload):
        raise RunError(f"torch has no operator {name!r} here: import the library that registers it in every worker")
    return found


def _filled(argument: object, operands: Sequence[Tensor]) -> object:
    if isinstance(argument, list):
        return [_filled(part, operands) for part in argument]
    if not isinstance(argument, dict):
        return argument
    if "tensor" in argument:
        return operands[argument["tensor"]]
    if "dtype" in argument:
        return getattr(torch, argument["dtype"])
    if "float" in argument:
        return float(argument["float"])
    if "complex" in argument:
        return complex(*map(float, argument["complex"]))
    assert argument == {"drop": True}, argument  # a device or a layout: those of the machine that runs it
    return None


def reference(attributes: Mapping[str, object], operands: Sequence[Array], shape: tuple[int, ...]) -> list[Array]:
    """The results on numpy arrays."""
    found = call_operator(attributes, [torch.from_numpy(np.array(operand)) for operand in operands])
    return [result.numpy() for result in found]
