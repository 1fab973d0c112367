"""At what rate a device computes: matrix multiplications in their dtype, thin ones more slowly; all else at one rate.

    rate(multiplication) = matmul_flops_per_second[dtype] * s / (s + half_size)

with s the least side of the matrices that a device multiplies: the rows of the first, what both have and the result
does not, the columns of the second; labels that all three have count for none. A dtype without a rate of its own has
`flops_per_second`. Where operands are grouped by a key, each index of its label has the same share of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from einsplit.graph import Kernel, Label, Node, factors
from einsplit.solver.check.counted.keys import Keyed
from einsplit.solver.machine import Machine

Labels = AbstractSet[Label]
Sides = tuple[Labels, Labels, Labels]  # of the first matrix, of the second, of the result


@dataclass(frozen=True, slots=True)
class Multiplied:
    """Matrices of a dtype, and the least of their sides; infinite where that is not known."""

    dtype: str
    least: float

    def per_second(self, machine: Machine) -> float:
        """Scalar operations per second."""
        rate = machine.matmul_flops_per_second.get(self.dtype, machine.flops_per_second)
        return rate if self.least == math.inf else rate * self.least / (self.least + machine.half_size)


def of_product(node: Node, held: Mapping[Label, int]) -> Multiplied:
    """Of a product of two operands."""
    first, second = (frozenset(row.labels) for row in node.operands)
    return Multiplied(node.dtype, _least((first, second, frozenset(factors(node))), held))


def of_grouped(node: Node, found: Keyed, held: Mapping[Label, int], num_groups: int) -> Multiplied:
    """Of one of the multiplications that a key selects rows for, of so many."""
    assert found.multiplied is not None
    one, other = (frozenset(node.operands[k].labels) - found.labels for k in found.multiplied)
    first, second = (one, other) if one & found.over else (other, one)
    sides = (first, second, frozenset(factors(node)) - found.labels)
    return Multiplied(node.dtype, _least(sides, held, found.over, max(1, num_groups)))


def of_kernel(node: Kernel, dtype: str, held: Mapping[Label, int]) -> Multiplied | None:
    """Of a kernel that multiplies in that dtype; None for one that does not."""
    if node.kernel not in MULTIPLIES or not node.operations:
        return None
    sides = MULTIPLIES[node.kernel]([frozenset(row.labels) for row in node.operands], frozenset(factors(node)))
    return Multiplied(dtype, math.inf if sides is None else _least(sides, held))


def _least(sides: Sides, held: Mapping[Label, int], rows: Labels = frozenset(), num_groups: int = 1) -> float:
    """The least side; a side of grouped rows is one group's share of it."""
    first, second, result = sides
    found = [
        math.prod(held[label] for label in side) / (num_groups if side & rows else 1)
        for side in (result - second, second & result - first, second - result)
    ]
    return max(1.0, min(found))


def _two_operands(read: Sequence[Labels], written: Labels) -> Sides:
    return read[0], read[1], written


def _queries_by_keys(read: Sequence[Labels], written: Labels) -> Sides:
    """Scores have the labels of queries and keys but for the features, which values lack."""
    query, key, value = read[:3]
    features = (query & key) - value
    return query, key, (query | key) - features


def _unknown(read: Sequence[Labels], written: Labels) -> None:
    """An operator that torch counts operations for multiplies; of its matrices nothing is known."""


MULTIPLIES: dict[str, Callable[[Sequence[Labels], Labels], Sides | None]] = {
    **dict.fromkeys(("convolution", "convolution_input", "convolution_weight"), _two_operands),
    **dict.fromkeys(("attention", "attention_values", "attention_gradient"), _queries_by_keys),
    **dict.fromkeys(("aten", "aten_vjp"), _unknown),
}
