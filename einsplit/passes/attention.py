"""Attention and its gradients as einsums. Graph -> Graph; every value is unchanged.

What the kernels do at once stands apart: products, scores, weights, sums. So their gradients' gradients are found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from einsplit.draft import Origin, Rewriting
from einsplit.dtypes import wide
from einsplit.graph import Dims, Graph, Kernel, Operand
from einsplit.kernels.attention import KEY, LOGSUM, MASKS, OF_QUERY, OF_VALUE, QUERY, VALUE
from einsplit.notation.dims import flat
from einsplit.scalar import Expr, call, cast, const, operand, parse_join, substitute

_GRADIENT = "attention_gradient"
_KERNELS = ("attention", "attention_values", _GRADIENT)


def spell_attention(graph: Graph) -> Graph:
    """The graph without kernels of attention, where any of its gradients is one; else as it is."""
    if not any(isinstance(node, Kernel) and node.kernel == _GRADIENT for node in graph.nodes):
        return graph
    new = Rewriting(graph)
    for at, node in enumerate(graph.nodes):
        moved = new.moved(node)
        is_one = isinstance(moved, Kernel) and moved.kernel in _KERNELS
        new.at[at] = _Spelled(new, moved).value() if isinstance(moved, Kernel) and is_one else new.add(moved)
    return new.finish()


class _Spelled:
    """One node of attention, in the making."""

    def __init__(self, new: Rewriting, node: Kernel) -> None:
        self._new = new
        self._node = node
        query, key = node.reads[QUERY], node.reads[KEY]
        self._dims: Dims = (*query[:3], key[2])  # of the scores
        num_masks = len(node.operands) - MASKS - {"attention": 0, "attention_values": 1, _GRADIENT: 3}[node.kernel]
        self._masks = node.operands[MASKS : MASKS + num_masks]
        self._given = node.operands[MASKS + num_masks :]
        self._wide = wide(new.nodes[node.operands[QUERY].node].dtype)
        self._attributes = msgspec.json.decode(node.attributes, type=dict[str, str])

    def value(self) -> int:
        """The position of the node's value."""
        operands = self._node.operands
        products = self._product(operands[QUERY], operands[KEY], self._dims, "products")
        scores = self._einsum([products, *self._masks], self._dims, self._expression("score", 0), "scores")
        if not self._given:
            logsum = self._einsum([scores], self._dims[:-1], operand(0), "logsum", "logsumexp")
            if self._node.output == LOGSUM:
                return logsum.node
        else:
            logsum = self._given[0]
        none = call("eq", operand(1), const(-math.inf))
        weight = call("exp", operand(0) - call("where", none, const(0.0), operand(1)))
        weights = self._einsum([scores, logsum], self._dims, weight, "weights")
        if self._node.kernel != _GRADIENT:
            return self._result(weights, operands[VALUE])
        if self._node.output == OF_VALUE:
            return self._result(weights, self._given[2])
        of_products = self._of_products(products, weights)
        return self._result(of_products, operands[KEY if self._node.output == OF_QUERY else QUERY])

    def _of_products(self, products: Operand, weights: Operand) -> Operand:
        """`p (dp - delta) slope`, 0 where p is."""
        _, output, adjoint = self._given
        delta = self._product(adjoint, output, self._dims[:-1], "delta")
        of_weights = self._product(adjoint, self._node.operands[VALUE], self._dims, "of_weights")
        found = operand(0) * (operand(1) - operand(2)) * self._expression("slope", 3)
        join = call("where", call("eq", operand(0), const(0.0)), const(0.0), found)
        rows = [weights, of_weights, delta, products, *self._masks]
        return self._einsum(rows, self._dims, join, "of_products")

    def _expression(self, name: str, first: int) -> Expr:
        """The score or its slope, of operands from `first` on."""
        count = 1 + len(self._masks)
        expr = parse_join(self._attributes[name], count)
        return substitute(expr, {k: operand(first + k) for k in range(count)}, {})

    def _product(self, left: Operand, right: Operand, dims: Dims, name: str) -> Operand:
        join = cast(operand(0), self._wide) * cast(operand(1), self._wide)
        return self._einsum([left, right], dims, join, name)

    def _result(self, left: Operand, right: Operand) -> int:
        """The sum of products that is the node's value, in its dtype."""
        at = self._product(left, right, self._node.dims, "sum").node
        if self._new.nodes[at].dtype == self._node.dtype:
            return at
        return self._new.pointwise(cast(operand(0), self._node.dtype), [at], self._origin("rounded"))

    def _einsum(self, rows: Sequence[Operand], dims: Dims, join: Expr, name: str, agg: str = "sum") -> Operand:
        return Operand(self._new.einsum(rows, dims, join, agg, self._origin(name)), flat(dims))

    def _origin(self, part: str) -> Origin:
        return Origin(f"{self._node.name}.{part}", self._node.source)
