"""`einsplit::einsum`, a torch operator: an einsum that stays one node while torch.export traces.

Everything but the operands is text and numbers, so that exported programs hold nothing of ours to run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from einsplit.eager.einsum import whole_einsum
from einsplit.einsum.bound import BoundEinsum, bind_einsum
from einsplit.einsum.kinds import tensor_dtype
from einsplit.notation import parse_spec


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
def _(
    operands: Sequence[Tensor], spec: str, join: str, agg: str, names: Sequence[str], sizes: Sequence[int]
) -> Tensor:
    bound = _bound(operands, spec, join, agg, names, sizes)
    return operands[0].new_empty(bound.shape, dtype=getattr(torch, bound.dtype))


def _bound(
    operands: Sequence[Tensor], spec: str, join: str, agg: str, names: Sequence[str], sizes: Sequence[int]
) -> BoundEinsum:
    shapes = [tuple(x.shape) for x in operands]
    dtypes = [tensor_dtype(x) for x in operands]
    return bind_einsum(parse_spec(spec), shapes, dtypes, join, agg, dict(zip(names, sizes, strict=True)))


class _Context:
    """What backward keeps of a call."""


def _setup(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[object, ...], output: Tensor) -> None:
    operands, *rest = inputs
    ctx.save_for_backward(*operands)
    ctx.call = rest
