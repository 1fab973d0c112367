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
from einsplit.kernels.attention import KEY, LOGSUM, MASKS, NUM_GIVEN, QUERY, VALUE, operand_of, parts_of, slopes
from einsplit.notation.dims import flat
from einsplit.scalar import Expr, call, cast, const, operand, parse_join, substitute

SPELLED = ("attention_values", "attention_gradient")  # kernels of which no gradient is a kernel


def spell_attention(graph: Graph) -> Graph:
    """The graph without kernels of attention, where there is one without a gradient of its own; else as it is."""
    if not any(isinstance(node, Kernel) and node.kernel in SPELLED for node in graph.nodes):
        return graph
    new = Rewriting(graph)
    for at, node in enumerate(graph.nodes):
        moved = new.moved(node)
        is_one = isinstance(moved, Kernel) and moved.kernel in NUM_GIVEN
        new.at[at] = _Spelled(new, moved).value() if isinstance(moved, Kernel) and is_one else new.add(moved)
    return new.finish()


class _Spelled:
    """One node of attention, in the making."""

    def __init__(self, new: Rewriting, node: Kernel) -> None:
        self._new = new
        self._node = node
        self._of = parts_of(node.kernel, node.operands)
        query, key = node.reads[QUERY], node.reads[KEY]
        self._dims: Dims = (*query[:3], key[2])  # of the scores
        self._wide = wide(new.nodes[self._of.query.node].dtype)
        self._attributes = msgspec.json.decode(node.attributes, type=dict[str, object])

    def value(self) -> int:
        """The position of the node's value."""
        of, node = self._of, self._node
        products = self._product(of.query, of.key, self._dims, "products")
        rows = [products, *of.masks]
        scores = self._einsum(rows, self._dims, self._expression(self._attributes["score"]), "scores")
        weights, logsum = self._softmax(scores)
        if not of.given and node.output == LOGSUM:
            return logsum.node
        if of.given:
            none = call("eq", operand(1), const(-math.inf))
            anew = operand(0) * call("exp", operand(1) - call("where", none, const(0.0), operand(2)))
            weights = self._einsum([weights, logsum, of.given[0]], self._dims, anew, "anew")
        kept = self._einsum([weights, *rows], self._dims, operand(0) * self._factor(1), "kept")
        if len(of.given) < NUM_GIVEN["attention_gradient"]:
            return self._result(kept, of.value)
        if node.output == VALUE:
            return self._result(kept, of.given[2])
        return self._of_score(rows, weights)

    def _softmax(self, scores: Operand) -> tuple[Operand, Operand]:
        """Weights over the keys, and z; where a query looks at none of them, 0 and -inf."""
        rows = self._dims[:-1]
        most = self._einsum([scores], rows, operand(0), "most", "max")
        is_finite = call("where", call("eq", operand(0), const(-math.inf)), const(0.0), operand(0))
        most = self._einsum([most], rows, call("stop_gradient", is_finite), "finite")
        powers = self._einsum([scores, most], self._dims, call("exp", operand(0) - operand(1)), "powers")
        total = self._einsum([powers], rows, operand(0), "total")
        share = operand(0) / call("where", call("eq", operand(1), const(0.0)), const(1.0), operand(1))
        weights = self._einsum([powers, total], self._dims, share, "weights")
        return weights, self._einsum([most, total], rows, operand(0) + call("log", operand(1)), "logsum")

    def _of_score(self, rows: Sequence[Operand], weights: Operand) -> int:
        """The adjoint of what the score is of: `p (dp - delta) slope`, 0 where p is."""
        of, number = self._of, self._node.output
        _, output, adjoint = of.given
        delta = self._product(adjoint, output, self._dims[:-1], "delta")
        of_kept = self._product(adjoint, of.value, self._dims, "of_kept")
        slope = self._expression(slopes(self._attributes)[str(operand_of(number))], 3)
        found = operand(0) * (operand(1) * self._factor(3) - operand(2)) * slope
        join = call("where", call("eq", operand(0), const(0.0)), const(0.0), found)
        by = self._einsum([weights, of_kept, delta, *rows], self._dims, join, "of_score")
        if number >= MASKS:
            return self._rounded(self._einsum([by], self._node.dims, operand(0), "sum").node)
        return self._result(by, of.key if number == QUERY else of.query)

    def _factor(self, first: int) -> Expr:
        """What weights are multiplied by."""
        return cast(self._expression(self._attributes.get("factor", 1.0), first), self._wide)

    def _expression(self, text: object, first: int = 0) -> Expr:
        """The score, its slope, or the factor, of operands from `first` on."""
        count = 1 + len(self._of.masks)
        expr = parse_join(str(text), count)
        return substitute(expr, {k: operand(first + k) for k in range(count)}, {})

    def _product(self, left: Operand, right: Operand, dims: Dims, name: str) -> Operand:
        join = cast(operand(0), self._wide) * cast(operand(1), self._wide)
        return self._einsum([left, right], dims, join, name)

    def _result(self, left: Operand, right: Operand) -> int:
        """The sum of products that is the node's value."""
        return self._rounded(self._product(left, right, self._node.dims, "sum").node)

    def _rounded(self, at: int) -> int:
        if self._new.nodes[at].dtype == self._node.dtype:
            return at
        return self._new.pointwise(cast(operand(0), self._node.dtype), [at], self._origin("rounded"))

    def _einsum(self, rows: Sequence[Operand], dims: Dims, join: Expr, name: str, agg: str = "sum") -> Operand:
        return Operand(self._new.einsum(rows, dims, join, agg, self._origin(name)), flat(dims))

    def _origin(self, part: str) -> Origin:
        return Origin(f"{self._node.name}.{part}", self._node.source)
