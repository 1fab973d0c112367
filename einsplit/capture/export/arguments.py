"""The tensors of a call: those that cannot be cut are refused, the others have a stand-in while they are traced."""

from __future__ import annotations

from collections.abc import Callable

import torch

from einsplit.capture.dtypes import dtype_name
from einsplit.errors import CaptureError

Refused = tuple[Callable[[torch.Tensor], bool], Callable[[torch.Tensor], str], str]  # whether it holds, what, way out

_ONLY_DENSE = "and only dense ones are cut over devices"
_REFUSED: tuple[Refused, ...] = (
    (lambda tensor: tensor.is_nested, lambda _: f"a nested tensor, {_ONLY_DENSE}", "to_padded_tensor(0)"),
    (
        lambda tensor: tensor.layout is not torch.strided,
        lambda tensor: f"a {str(tensor.layout).removeprefix('torch.')} tensor, {_ONLY_DENSE}",
        "to_dense()",
    ),
    (lambda tensor: tensor.is_quantized, lambda _: f"a quantized tensor, {_ONLY_DENSE}", "dequantize()"),
    (
        lambda tensor: tensor.is_conj() or tensor.is_neg(),
        lambda _: "a conjugate that is not computed yet",
        "resolve_conj().resolve_neg()",
    ),
)


def check_argument(name: str, tensor: torch.Tensor) -> None:
    """Raise CaptureError for an argument that is no dense tensor of a dtype that a Graph has."""
    for holds, kind, way_out in _REFUSED:
        if holds(tensor):
            raise CaptureError(f"argument {name!r} is {kind(tensor)}.", f"Pass {name}.{way_out}.")
    dtype_name(tensor.dtype)


def stand_in(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of any values that a traced function takes for `tensor`, laid out as it is, in a storage of its own.

    torch.export reads two arguments that are one tensor, or an argument that is also a parameter, as one input: what
    is traced would then be wrong of two. A tensor of a class of its own stands for itself.
    """
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return tensor
    storage = torch.empty(tensor.untyped_storage().nbytes(), dtype=torch.uint8, device=tensor.device).untyped_storage()
    made = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    made.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(made, tensor.requires_grad)
    return made.requires_grad_(tensor.requires_grad)
