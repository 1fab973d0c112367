"""Any torch operator as a kernel: its name and its arguments as JSON, tensors by number.

The operator is looked up in torch's own registry; a name that is not registered there runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from einsplit.dtypes import DType
from einsplit.errors import RunError
from einsplit.monoid import Array
from einsplit.torch_dtypes import torch_dtype


def call_operator(attributes: Mapping[str, object], operands: Sequence[Tensor]) -> list[Tensor]:
    """The results of `attributes['op']` on its recorded arguments."""
    operands = [operand.contiguous() for operand in operands]  # some operators take no other strides
    args, kwargs = recorded_arguments(attributes, operands)
    result = _operator(str(attributes["op"]))(*args, **kwargs)
    results = [result] if isinstance(result, Tensor) else list(result)
    return [part.resolve_conj().resolve_neg() for part in results]  # not to be done by whoever copies the bytes


def recorded_arguments(
    attributes: Mapping[str, object], operands: Sequence[Tensor]
) -> tuple[list[object], dict[str, object]]:
    """The arguments and keyword arguments that `attributes` records, with `operands` as the tensors among them."""
    args, given = _filled(attributes["args"], operands), attributes["kwargs"]
    assert isinstance(args, list) and isinstance(given, dict)
    return args, {name: _filled(part, operands) for name, part in given.items() if part != {"drop": True}}


def call_gradient(attributes: Mapping[str, object], operands: Sequence[Tensor]) -> Tensor:
    """The vector-Jacobian product of an operator: of its result number `of`, by one operand.

    `attributes['wrt']` names that operand, and `operands` are those of the operator and the adjoint of its result. Of
    gradients of gradients, `wrt` holds one number for each level, every level has one more operand.
    """
    # Not torch.func.vjp: it refuses operators whose gradient is registered (torch.library.register_autograd), and gives
    # zeros for those that have none.
    with torch.enable_grad():
        return _gradient(attributes, operands).detach().contiguous()


def _gradient(attributes: Mapping[str, object], operands: Sequence[Tensor]) -> Tensor:
    """`call_gradient`, to be differentiated again."""
    levels = attributes["wrt"]
    assert isinstance(levels, list)
    if not levels:
        return call_operator(attributes, operands)[int(str(attributes["of"]))]
    *inputs, adjoint = operands
    k = int(levels[-1])
    x = inputs[k] if inputs[k].requires_grad else inputs[k].detach().requires_grad_()
    y = _gradient({**attributes, "wrt": levels[:-1]}, [*inputs[:k], x, *inputs[k + 1 :]])
    first = len(levels) == 1
    if not y.requires_grad:
        if first:
            raise RunError(f"{attributes['op']} has no derivative")
        return torch.zeros_like(x)  # the gradient below is constant
    found = torch.autograd.grad(y, x, adjoint, create_graph=True, allow_unused=not first, materialize_grads=not first)
    return found[0]


def missing_gradient(attributes: Mapping[str, object], operands: Sequence[tuple[tuple[int, ...], DType]]) -> str:
    """Why torch does not differentiate this, or the empty text; `operands` are (shape, dtype), the adjoint included."""
    metas = [torch.empty(shape, dtype=torch_dtype(dtype), device="meta") for shape, dtype in operands]
    try:
        call_gradient(attributes, metas)
    except RuntimeError as error:  # torch has no class of its own for it; NotImplementedError is one too
        return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return ""


def _operator(name: str) -> Callable[..., Tensor | Sequence[Tensor]]:
    """The operator called `library.name.overload`. Raises RunError where torch's registry has none."""
    library, _, rest = name.partition(".")
    packet_name, _, overload = rest.partition(".")
    packet = getattr(getattr(torch.ops, library, None), packet_name, None)
    overloads = getattr(packet, "overloads", None)
    if overloads is None or overload not in overloads():
        raise RunError(f"torch has no operator {name!r} here: import the library that registers it in every worker")
    found: Callable[..., Tensor | Sequence[Tensor]] = getattr(packet, overload)
    return found


def _filled(argument: object, operands: Sequence[Tensor]) -> object:
    """The argument with tensors, dtypes and numbers in the place of what stands for them in JSON."""
    if isinstance(argument, list):
        return [_filled(part, operands) for part in argument]
    if not isinstance(argument, dict):
        return argument
    if "tensor" in argument:
        return operands[argument["tensor"]]
    if "dtype" in argument:
        return torch_dtype(argument["dtype"])
    if "float" in argument:
        return float(argument["float"])
    if "complex" in argument:
        return complex(*map(float, argument["complex"]))
    assert argument == {"drop": True}, argument  # a device or a layout: those of the machine that runs it
    return None


def reference(attributes: Mapping[str, object], operands: Sequence[Array], shape: tuple[int, ...]) -> list[Array]:
    """The results on numpy arrays."""
    found = call_operator(attributes, _tensors(operands))
    return [result.numpy() for result in found]


def reference_gradient(
    attributes: Mapping[str, object], operands: Sequence[Array], shape: tuple[int, ...]
) -> list[Array]:
    """The gradient on numpy arrays."""
    return [call_gradient(attributes, _tensors(operands)).numpy()]


def _tensors(arrays: Sequence[Array]) -> list[Tensor]:
    return [torch.from_numpy(np.array(array)) for array in arrays]
