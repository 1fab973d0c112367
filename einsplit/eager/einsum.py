"""One einsum on whole torch tensors: what a mesh of one device computes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from string import ascii_letters

import torch
from opt_einsum import contract, get_symbol
from torch import Tensor

from einsplit.dtypes import kind
from einsplit.einsum.bound import BoundEinsum, flat
from einsplit.runtime.kernels import Call, compute
from einsplit.scalar import Expr, is_product, to_text
from einsplit.solver.program import Compute, Extent


def whole_einsum(bound: BoundEinsum, operands: Sequence[Tensor]) -> Tensor:
    """The einsum's value as a new tensor. `operands` holds at least one, all on one device."""
    factors = [x.reshape(bound.factor_shape(dims)) for x, dims in zip(operands, bound.operands, strict=True)]
    value = _contracted(bound, factors) if _is_contraction(bound, operands[0]) else _joined(bound, factors)
    found = value.reshape(bound.shape)  # copies what is repeated
    return found.clone() if not bound.aggregated and _is_operand(bound.join) else found


def _is_contraction(bound: BoundEinsum, operand: Tensor) -> bool:
    """Whether it is what torch.einsum computes: all operands multiplied, and summed in the same dtype."""
    product = sorted(is_product(bound.join) or ()) == list(range(len(bound.operands)))
    summed = bool(bound.aggregated) and bound.agg == "sum" and bound.join_dtype == bound.dtype
    multiplies = operand.is_cpu or kind(bound.dtype) != "int"  # graphics processors have no integer matmul in torch
    return product and summed and multiplies


def _contracted(bound: BoundEinsum, factors: Sequence[Tensor]) -> Tensor:
    """Pair by pair along opt_einsum's path; what torch can take at once, at once."""
    letter = {label: get_symbol(k) for k, label in enumerate(bound.sizes)}
    terms = ["".join(letter[label] for label in flat(dims)) for dims in bound.operands]
    out = flat(bound.out)
    carried = {label for dims in bound.operands for label in flat(dims)}
    text = f"{','.join(terms)}->{''.join(letter[label] for label in out if label in carried)}"
    if len(factors) > 2 or len(letter) > len(ascii_letters):
        found = contract(text, *factors, backend="torch")
        assert isinstance(found, Tensor)
    else:
        found = torch.einsum(text, *factors)
    kept = iter(found.shape)
    aligned = found.reshape([next(kept) if label in carried else 1 for label in out])
    return aligned.expand(bound.factor_shape(bound.out))


def _joined(bound: BoundEinsum, factors: Sequence[Tensor]) -> Tensor:
    """The node as a Program would have it, on one device that holds everything."""
    number = {label: k for k, label in enumerate(bound.sizes)}
    node = Compute(
        node=0,
        kind="join",
        operands=tuple(range(len(factors))),
        output=len(factors),
        reads=tuple(tuple(number[label] for label in flat(dims)) for dims in bound.operands),
        writes=tuple(number[label] for label in flat(bound.out)),
        extents=tuple(Extent(size, (), size) for size in bound.sizes.values()),
        names=tuple(bound.sizes),
        operations=0,
        dtype=bound.dtype,
        join=to_text(bound.join),
        agg="sum" if bound.agg == "mean" else bound.agg,  # partial means do not combine
    )
    with factors[0].device:  # constants and label indices are made where the operands are
        (value,) = compute(Call(node, ()), factors)
    if bound.agg == "mean" and bound.aggregated:
        return value / prod(bound.sizes[label] for label in bound.aggregated)
    return value


def _is_operand(join: Expr) -> bool:
    """Whether the value may be the operand's own storage."""
    while join.op == "cast":
        join = join.args[0]
    return join.op == "operand"
