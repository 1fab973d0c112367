"""Graphs by hand: einsums over one-word labels, without the package's own notation."""

from __future__ import annotations

from einsplit.builder import Builder, Origin
from einsplit.builder.settle import VariableDims
from einsplit.builder.views import Value
from einsplit.scalar import Expr, operand


def spelled(text: str, *values: Value, join: Expr | None = None, agg: str = "sum", name: str = "") -> Value:
    """`spelled("s a, a b -> s b", x, w)`: a product of the operands, or `join`; its indices are not spelled."""
    read, written = text.split("->")
    builder: Builder = values[0].builder
    variable: dict[str, int] = {}
    for term, value in zip(read.split(","), values, strict=True):
        for label, size in zip(term.split(), value.shape, strict=True):
            variable.setdefault(label, builder.variable(size, label))

    def dims(term: str) -> VariableDims:
        return tuple((variable[label],) for label in term.split())

    if join is None:
        join = operand(0)
        for k in range(1, len(values)):
            join = join * operand(k)
    readings = [(value, dims(term)) for term, value in zip(read.split(","), values, strict=True)]
    return builder.einsum(readings, dims(written), join, agg, Origin(name or text.strip()))
