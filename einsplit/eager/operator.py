"""`einsplit::einsum`, a torch operator: an einsum that stays one node while torch.export traces.

Everything but the operands is text and numbers, so that exported programs hold nothing of ours to run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from einsplit.eager.einsum import whole_einsum
from einsplit.einsum.bound import BoundEinsum, bind_einsum
from einsplit.notation import parse_spec
from einsplit.torch_dtypes import torch_dtype, torch_dtype_name


@torch.library.custom_op(
    "einsplit::einsum",
    mutates_args=(),
    schema="(Tensor[] operands, str spec, str join, str agg, str[] names, int[] sizes) -> Tensor",
)
def einsum_operator(
    operands: Sequence[Tensor], spec: str, join: str, agg: str, names: Sequence[str], sizes: Sequence[int]
) -> Tensor:
    """The einsum `spec` with the labels `names` of `sizes`, as `einsplit.einsum` has it."""
    return whole_einsum(_bound(operands, spec, join, agg, names, sizes), operands)


@einsum_operator.register_fake
def _(operands: Sequence[Tensor], spec: str, join: str, agg: str, names: Sequence[str], sizes: Sequence[int]) -> Tensor:
    bound = _bound(operands, spec, join, agg, names, sizes)
    return operands[0].new_empty(bound.shape, dtype=torch_dtype(bound.dtype))


def _bound(
    operands: Sequence[Tensor], spec: str, join: str, agg: str, names: Sequence[str], sizes: Sequence[int]
) -> BoundEinsum:
    shapes = [tuple(x.shape) for x in operands]
    dtypes = [torch_dtype_name(x.dtype) for x in operands]
    return bind_einsum(parse_spec(spec), shapes, dtypes, join, agg, dict(zip(names, sizes, strict=True)))


class _Context(Protocol):
    """What backward keeps of a call."""

    bound: BoundEinsum
    num_sizes: int

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]: ...
    def save_for_backward(self, *tensors: Tensor) -> None: ...


_Inputs = tuple[Sequence[Tensor], str, str, str, Sequence[str], Sequence[int]]


def _keep(ctx: _Context, inputs: _Inputs, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[0])
    ctx.bound, ctx.num_sizes = _bound(*inputs), len(inputs[5])


def _backward(
    ctx: _Context, grad: Tensor
) -> tuple[list[Tensor | None], None, None, None, list[None] | None, list[None] | None]:
    """The gradient of the plain torch operators that the einsum is made of."""
    with torch.enable_grad():
        operands = [x.detach().requires_grad_(x.is_floating_point() or x.is_complex()) for x in ctx.saved_tensors]
        value = whole_einsum(ctx.bound, operands)
    wanted = [x for x in operands if x.requires_grad]
    grads = iter(torch.autograd.grad(value, wanted, grad, allow_unused=True) if value.requires_grad else ())
    found = [next(grads, None) if x.requires_grad else None for x in operands]
    nothing: list[None] | None = None if ctx.num_sizes else []  # torch takes an empty list for one of no tensors
    return found, None, None, None, nothing, nothing


einsum_operator.register_autograd(_backward, setup_context=_keep)
