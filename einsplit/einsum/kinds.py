"""Whose values the operands are: numpy's, torch's or a Builder's. All of one owner, and each of a known dtype."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeGuard

import numpy as np

from einsplit.builder.views import Value
from einsplit.dtypes import check_dtype
from einsplit.einsum.bound import at_operand
from einsplit.errors import DtypeError, GraphError, ShapeError
from einsplit.monoid import Array
from einsplit.notation import Spec

if TYPE_CHECKING:
    from torch import Tensor

Owner = Literal["numpy", "torch", "symbolic"]
_NAMES: dict[Owner, str] = {"numpy": "a numpy array", "torch": "a torch tensor", "symbolic": "a symbolic value"}
_ADVICE: dict[frozenset[Owner], str] = {
    frozenset(("numpy", "torch")): "Convert one: torch.as_tensor(...), or .numpy().",
    frozenset(("numpy", "symbolic")): "Make the array an input of the graph: builder.input(...).",
    frozenset(("torch", "symbolic")): "Make the tensor an input of the graph: builder.input(...).",
}


def _owner(operand: object) -> Owner:
    if isinstance(operand, Value):
        return "symbolic"
    return "torch" if _is_tensor(operand) else "numpy"


def _is_tensor(operand: object) -> TypeGuard[Tensor]:
    # Nobody holds a tensor of a library that was never imported: torch need not be loaded to know.
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    return tensor is not None and isinstance(operand, tensor)


def owner_of(spec: Spec, operands: Sequence[object]) -> Owner:
    """Whose values all operands are; numpy's where there are none. Raises DtypeError where they differ."""
    owners = [_owner(operand) for operand in operands]
    for position, owner in enumerate(owners):
        if owner != owners[0]:
            mistake = f"operand {position} is {_described(operands[position])}, operand 0 {_described(operands[0])}."
            raise at_operand(spec, position, DtypeError, mistake, _ADVICE[frozenset((owner, owners[0]))])
    return owners[0] if owners else "numpy"


def _described(operand: object) -> str:
    """`a torch tensor`; lists and numbers, which numpy would take, by their type."""
    owner = _owner(operand)
    is_named = owner != "numpy" or isinstance(operand, np.ndarray)
    return _NAMES[owner] if is_named else f"of type {type(operand).__name__}"


def checked_dtype(spec: Spec, position: int, name: str) -> str:
    """The dtype of an operand. Raises DtypeError for one that a Graph does not have."""
    try:
        return check_dtype(name)
    except DtypeError as error:
        mistake = f"operand {position} is of the unknown dtype {name!r}."
        raise at_operand(spec, position, DtypeError, mistake, *error.remarks) from None


def as_arrays(spec: Spec, operands: Sequence[object]) -> tuple[Array, ...]:
    """Arrays, lists and numbers as numpy arrays. Raises ShapeError for ragged lists, DtypeError for odd elements."""
    arrays: list[Array] = []
    for position, operand in enumerate(operands):
        try:
            array = np.asarray(operand)
        except (ValueError, TypeError) as error:
            mistake = f"operand {position} cannot be read as an array."
            raise at_operand(spec, position, ShapeError, mistake, f"numpy says: {error}") from None
        checked_dtype(spec, position, array.dtype.name)
        arrays.append(array)
    return tuple(arrays)


def as_tensors(spec: Spec, operands: Sequence[object]) -> tuple[Tensor, ...]:
    """The operands, known to be torch tensors. Raises DtypeError where they are on several devices, or sparse."""
    tensors = tuple(operand for operand in operands if _is_tensor(operand))
    for position, tensor in enumerate(tensors):
        if tensor.device != tensors[0].device:
            mistake = f"operand {position} is on {tensor.device}, operand 0 on {tensors[0].device}."
            raise at_operand(spec, position, DtypeError, mistake, f"Write operand.to({str(tensors[0].device)!r}).")
        if str(tensor.layout) != "torch.strided":
            mistake = f"operand {position} is not dense but {tensor.layout}."
            raise at_operand(spec, position, DtypeError, mistake, "Write operand.to_dense().")
        checked_dtype(spec, position, tensor_dtype(tensor))
    return tensors


def tensor_dtype(tensor: Tensor) -> str:
    """The name of its dtype, be it one that a Graph has or not."""
    from einsplit.torch_dtypes import torch_dtype_name  # loads torch, as whoever holds a tensor has

    return torch_dtype_name(tensor.dtype)


def as_values(spec: Spec, operands: Sequence[object]) -> tuple[Value, ...]:
    """The operands, known to be symbolic. Raises GraphError where they belong to several builders."""
    values = tuple(operand for operand in operands if isinstance(operand, Value))
    for position, value in enumerate(values):
        if value.builder is not values[0].builder:
            mistake = f"operand {position} comes from another builder than operand 0."
            raise at_operand(spec, position, GraphError, mistake, "A Graph is built by one.")
    return values
