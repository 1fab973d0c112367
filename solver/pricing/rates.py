"""Scalar operations per second of a node: those of a matrix multiplication in its dtype, or of everything else.

A multiplication of A and B to C has the sizes

    m = labels of C that B lacks      n = labels of B and C that A lacks      k = labels of B that C lacks

as a device holds them. That is so for `m k, k n -> m n`, and for what is multiplied under other names: a convolution
(`m` are its windows, `k` the channels and taps of one), and each of its gradients. Attention multiplies queries by keys
to scores, whose labels are those of both but for the features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from einsplit.graph import Kernel, Label, Node, factors
from einsplit.kernels.attention import KEY, QUERY, VALUE
from einsplit.solver.machine import Machine
from einsplit.solver.pricing.forms import Form
from einsplit.solver.sharding import DigitTables


@dataclass(frozen=True, slots=True)
class Product:
    """The labels of two matrices that are multiplied, and of what they give."""

    left: Collection[Label]
    right: Collection[Label]
    result: Collection[Label]

    def least(self, elements: Mapping[Label, float]) -> float:
        """The least of m, n and k."""
        left, right, result = set(self.left), set(self.right), set(self.result)
        sides = (result - right, (right & result) - left, right - result)
        return max(1.0, min(math.prod(elements[label] for label in side) for side in sides))


def operations_per_second(
    node: Node, found: Form, local: Mapping[Label, int], tables: DigitTables, machine: Machine
) -> float:
    """At what rate a device carries out the operations of a node; `local`: the elements it holds along each label."""
    if isinstance(node, Kernel):
        if node.kernel not in MULTIPLICATIONS or not node.operations:
            return machine.flops_per_second
        product = MULTIPLICATIONS[node.kernel](node)
        return machine.matmul_rate(found.dtype, math.inf if product is None else product.least(local))
    if found.kind == "contract":
        left, right = node.operands
        return machine.matmul_rate(node.dtype, Product(left.labels, right.labels, factors(node)).least(local))
    if found.kind == "grouped":
        return machine.matmul_rate(node.dtype, _grouped_least(node, found, local, tables))
    return machine.flops_per_second


def _grouped_least(node: Node, found: Form, local: Mapping[Label, int], tables: DigitTables) -> float:
    """Of one of the multiplications of a grouped form: as many rows as any other index of the label has."""
    (chosen,), rows = found.chosen, found.key_labels
    assert found.product is not None
    left, right = (set(node.operands[number].labels) - {chosen} for number in found.product)
    elements: dict[Label, float] = dict(local)
    elements[rows[0]] = local[rows[0]] / max(1, tables[chosen].padded)
    return Product(left, right, set(factors(node)) - {chosen}).least(elements)


def _of_operands(node: Kernel) -> Product:
    return Product(node.operands[0].labels, node.operands[1].labels, factors(node))


def _of_scores(node: Kernel) -> Product:
    query, key, value = (set(node.operands[number].labels) for number in (QUERY, KEY, VALUE))
    return Product(query, key, (query | key) - ((query & key) - value))


def _of_unknown_sizes(node: Kernel) -> None:
    """Which operators of torch multiply is known by torch's own count of their operations; of which sizes, is not."""


# Kernels whose operations are those of matrix multiplications, by name.
MULTIPLICATIONS: dict[str, Callable[[Kernel], Product | None]] = {
    "convolution": _of_operands,
    "convolution_input": _of_operands,
    "convolution_weight": _of_operands,
    "attention": _of_scores,
    "attention_values": _of_scores,
    "attention_gradient": _of_scores,
    "aten": _of_unknown_sizes,
    "aten_vjp": _of_unknown_sizes,
}
