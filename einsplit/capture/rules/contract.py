"""The matrix-multiplication family and the embedding lookup, each as one einsum."""

from __future__ import annotations

from collections.abc import Sequence

from einsplit.builder import variable_index
from einsplit.capture.formulas import Formula
from einsplit.capture.reader import Known, Reader, rule
from einsplit.capture.rules.common import contract, elementwise, shape_of
from einsplit.scalar import call, cast, const, operand
from einsplit.views import Value


def _plus(reader: Reader, product: Value, bias: Known | None, alpha: float = 1, beta: float = 1) -> Value | Formula:
    if bias is None:
        return product
    left = operand(0) if alpha == 1 else operand(0) * const(alpha)
    right = operand(1) if beta == 1 else operand(1) * const(beta)
    return elementwise(reader, left + right, product, bias)


@rule("aten.linear.default")
def linear(reader: Reader, x: Known, weight: Known, bias: Known | None = None) -> Value | Formula:
    return _plus(reader, contract(reader, "...k,ok->...o", x, weight), bias)


@rule("aten.matmul.default", "aten.mm.default", "aten.bmm.default", "aten.mv.default", "aten.dot.default")
def matmul(reader: Reader, x: Known, y: Known) -> Value:
    left, right = len(shape_of(x)), len(shape_of(y))
    row = "k" if left == 1 else "...ik"
    column = "k" if right == 1 else "...kj"
    out = ("" if left == right == 1 else "...") + ("" if left == 1 else "i") + ("" if right == 1 else "j")
    return contract(reader, f"{row},{column}->{out}", x, y)


@rule("aten.addmm.default", "aten.baddbmm.default", "aten.addmv.default")
def addmm(reader: Reader, bias: Known, x: Known, y: Known, beta: float = 1, alpha: float = 1) -> Value | Formula:
    return _plus(reader, matmul(reader, x, y), bias, alpha, beta)


@rule("aten.outer.default")
def outer(reader: Reader, x: Known, y: Known) -> Value:
    return contract(reader, "i,j->ij", x, y)


@rule("aten.einsum.default")
def einsum(reader: Reader, text: str, operands: Sequence[Known], *_: object, **__: object) -> object:
    read, arrow, written = text.replace(" ", "").partition("->")
    terms = [*read.split(","), written]
    letters = [term.replace("...", "") for term in terms]
    if not arrow or any(len(set(row)) < len(row) for row in letters):
        return NotImplemented  # a diagonal or an implicit output: torch knows
    if any("..." in term and not term.startswith("...") for term in terms):
        return NotImplemented
    return contract(reader, f"{read}->{written}", *operands)


@rule("aten.embedding.default")
def embedding(reader: Reader, table: Known, ids: Known, *_: object) -> Value:
    """`sum over v of where(ids == v, table[v], 0)`: cutting `v` is vocabulary parallelism."""
    rows, chosen = reader.value(table), reader.value(ids)
    where = reader.builder.variables(chosen.shape)
    v, d = reader.builder.variables(rows.shape)
    zero = cast(const(0.0), rows.dtype)
    join = call("where", call("eq", operand(0), variable_index(v[0])), operand(1), zero)
    return reader.builder.einsum([(chosen, where), (rows, (v, d))], (*where, d), join, "sum", reader.origin)
