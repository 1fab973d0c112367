"""One einsum on whole torch tensors: what a mesh of one device computes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from math import prod

from torch import Tensor

from einsplit.einsum.bound import BoundEinsum, flat
from einsplit.runtime.kernels import Call, compute
from einsplit.scalar import Expr, is_product, to_text
from einsplit.solver.program import Compute, Extent

_MAX_LETTERS = 52  # labels that torch.einsum can tell apart


def whole_einsum(bound: BoundEinsum, operands: Sequence[Tensor]) -> Tensor:
    """The einsum's value as a new tensor. `operands` holds at least one, all on one device."""
    factors = [x.reshape(bound.factor_shape(dims)) for x, dims in zip(operands, bound.operands, strict=True)]
    # Constants and label indices are made where the operands are.
    with nullcontext() if operands[0].is_cpu else operands[0].device:
        call = Call(_compute(bound), ())
        (value,) = compute(call, factors)
    if bound.agg == "mean" and bound.aggregated:
        value = value / prod(bound.sizes[label] for label in bound.aggregated)
    repeated = [label in _carried(bound) for label in flat(bound.out)]
    if call.node.kind == "contract" and not all(repeated):
        kept = iter(value.shape)
        value = value.reshape([next(kept) if carried else 1 for carried in repeated])
        value = value.expand(bound.factor_shape(bound.out))
    found = value.reshape(bound.shape)
    return found.clone() if not bound.aggregated and _is_operand(bound.join) else found


def _carried(bound: BoundEinsum) -> set[str]:
    return {label for dims in bound.operands for label in flat(dims)}


def _compute(bound: BoundEinsum) -> Compute:
    """The node as a Program would have it, on one device that holds everything."""
    number = {label: k for k, label in enumerate(bound.sizes)}
    kind = "contract" if _is_contraction(bound) else "join"
    out = flat(bound.out)
    writes = [label for label in out if label in _carried(bound)] if kind == "contract" else out
    return Compute(
        node=0,
        kind="contract" if kind == "contract" else "join",
        operands=tuple(range(len(bound.operands))),
        outputs=(len(bound.operands),),
        reads=tuple(tuple(number[label] for label in flat(dims)) for dims in bound.operands),
        writes=tuple(number[label] for label in writes),
        extents=tuple(Extent(size, (), size) for size in bound.sizes.values()),
        names=tuple(bound.sizes),
        operations=0,
        dtype=bound.dtype,
        join=to_text(bound.join),
        agg="sum" if bound.agg == "mean" else bound.agg,  # partial means do not combine
    )


def _is_contraction(bound: BoundEinsum) -> bool:
    """Whether it is what torch.einsum computes: all operands multiplied, and summed in the same dtype."""
    product = sorted(is_product(bound.join) or ()) == list(range(len(bound.operands)))
    summed = bool(bound.aggregated) and bound.agg == "sum" and bound.join_dtype == bound.dtype
    return product and summed and len(_carried(bound)) <= _MAX_LETTERS


def _is_operand(join: Expr) -> bool:
    """Whether the value may be the operand's own storage."""
    while join.op == "cast":
        join = join.args[0]
    return join.op == "operand"
