"""The adjoint of what an aggregation takes in: one rule for each row of MONOIDS that has a gradient.

For `z = AGG over k of f_k`, a rule gives the adjoint of f_k as an expression of f_k, of the adjoint dz, and of values
that have z's labels. At ties and zeros the conventions are torch's (amax, amin, prod).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import msgspec

from einsplit.draft import Draft, Origin
from einsplit.graph import Einsum, Operand, aggregated_labels, factors
from einsplit.scalar import Expr, call, cast, const, operand


@dataclass(frozen=True, slots=True)
class Seed:
    """The adjoint of the join: `expr` of the node's operands, and of `values` that are numbered after them."""

    expr: Expr
    values: tuple[int, ...]  # positions of nodes with the labels of the aggregated node


@dataclass(frozen=True, slots=True)
class _Aggregated:
    """A node to be differentiated: its position, and its join as an expression of its operands."""

    draft: Draft
    at: int
    node: Einsum
    adjoint: int  # position of dz

    @property
    def dz(self) -> Expr:
        return self.extra(0)

    def extra(self, number: int) -> Expr:
        """The values of the seed, numbered after the node's operands; 0 is dz."""
        return operand(len(self.node.operands) + number)

    def aggregate(self, join: Expr, agg: str, values: tuple[int, ...], name: str) -> int:
        """`agg` of a join of the operands, then `values` with the labels of the result."""
        rows = [*self.node.operands, *(Operand(at, factors(self.node)) for at in values)]
        return self.draft.einsum(rows, self.node.dims, join, agg, Origin(name, self.node.source))


def seed(draft: Draft, at: int, node: Einsum, adjoint: int) -> Seed | None:
    """The adjoint of the node's join, given that of its value; None where the aggregation hands nothing on."""
    aggregated = aggregated_labels(node)
    if not aggregated:
        return Seed(operand(len(node.operands)), (adjoint,))
    if not prod(draft.sizes[label] for label in aggregated):
        return None  # nothing was taken in
    rule = RULES.get(node.agg)
    return rule(_Aggregated(draft, at, node, adjoint)) if rule else None


def _sum(z: _Aggregated) -> Seed:
    return Seed(z.dz, (z.adjoint,))


def _mean(z: _Aggregated) -> Seed:
    """`dz / count`."""
    count = prod(z.draft.sizes[label] for label in aggregated_labels(z.node))
    return Seed(z.dz / const(float(count)), (z.adjoint,))


def _extreme(z: _Aggregated) -> Seed:
    """`dz [f == z] / number of k with f_k == z`: ties share evenly."""
    hit = call("where", call("eq", z.node.join, z.extra(1)), const(1.0), const(0.0))
    number = z.aggregate(cast(call("eq", z.node.join, z.extra(0)), z.node.dtype), "sum", (z.at,), f"{z.node.name}.ties")
    return Seed(z.dz * hit / z.extra(2), (z.adjoint, z.at, number))


def _logsumexp(z: _Aggregated) -> Seed:
    """`dz exp(f - z)`."""
    return Seed(z.dz * call("exp", z.node.join - z.extra(1)), (z.adjoint, z.at))


def _prod(z: _Aggregated) -> Seed:
    """With P the product of the f that are not 0, n the number and S the sum (0) of those that are:

    of an f that is not 0, `dz P / f` (n = 0) or `dz S P / f` (n = 1); of one that is 0, `dz P` (n = 1) or
    `dz P (S - f)` (n = 2). Else 0, and NaN where P is. S is there for second derivatives, which differ from 0 where
    S does not.
    """
    f = z.node.join
    is_zero = call("eq", f, const(0.0))
    number = z.aggregate(cast(is_zero, z.node.dtype), "sum", (), f"{z.node.name}.zeros")
    # The same operands, read or not: a label that only an unread one has still repeats the factor.
    nonzero = call("where", is_zero, const(1.0), f)
    product = z.draft.add(msgspec.structs.replace(z.node, name=f"{z.node.name}.nonzero", join=nonzero))
    zeros = z.aggregate(call("where", is_zero, f, const(0.0)), "sum", (), f"{z.node.name}.zero")
    n, p, s = (z.extra(k) for k in (1, 2, 3))
    others = p / call("where", is_zero, const(1.0), f)
    of_zero = p * _by_count(n, {1: const(1.0), 2: s - f})
    of_nonzero = others * _by_count(n, {0: const(1.0), 1: s})
    return Seed(z.dz * call("where", is_zero, of_zero, of_nonzero), (z.adjoint, number, product, zeros))


def _by_count(count: Expr, cases: dict[int, Expr]) -> Expr:
    found = const(0.0)
    for number, value in cases.items():
        found = call("where", call("eq", count, const(float(number))), value, found)
    return found


RULES: dict[str, Callable[[_Aggregated], Seed]] = {
    "sum": _sum,
    "mean": _mean,
    "max": _extreme,
    "min": _extreme,
    "logsumexp": _logsumexp,
    "prod": _prod,
}
