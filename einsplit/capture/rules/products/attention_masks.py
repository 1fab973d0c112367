"""Masks of attention: expressions of tensors that are broadcast to the scores, and of where an element stands."""

from __future__ import annotations

import math
from dataclasses import replace
from math import prod

from einsplit.builder import variable_index
from einsplit.builder.settle import VariableDims
from einsplit.builder.views import Value, expand, insert
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import shifted
from einsplit.capture.reader import Known, Reader
from einsplit.dtypes import kind
from einsplit.scalar import Expr, call, const, labels_of, operand, parts, substitute

BATCH, KEYS = 0, 3  # of the dimensions of the scores: batch, heads, queries, keys
HUGE = 1e3  # beside it float32 keeps four digits of a score


class Masks:
    """Collects what an attention reads besides queries, keys and values; `operand(1)` is the first of them."""

    def __init__(self, reader: Reader, batch: tuple[int, ...], dims: VariableDims, shape: tuple[int, ...]) -> None:
        """`dims` and `shape` are those of the scores, whose batch has sizes `batch` in the program."""
        self.reader = reader
        self.batch = batch
        self.shape = shape
        self.read: list[tuple[Value, VariableDims]] = []
        self.may_be_huge = False  # whether a finite number of a mask may drown the scores that it is added to
        self._dims = dims

    def expression(self, mask: Known) -> Expr:
        """The mask as an expression of operands: a formula of positions, or the tensor itself."""
        known = self.reader.formula(mask)
        if kind(known.dtype) == "float":
            self.may_be_huge |= isinstance(known, Value) or _largest(known.expr) > HUGE
        if isinstance(known, Formula):
            moved = shifted(known, len(self.batch) + 3)
            return substitute(moved, {}, {name: self._index(int(name)) for name in sorted(labels_of(moved))})
        if any(size != 1 for size in known.shape[:-3]):
            known = expand(known, (*self.batch, *known.shape[-3:]))
        whole = leading_as_one(known)
        kept = zip(self._dims, whole.shape, strict=True)
        return self._appended(whole, tuple(dim if size != 1 else () for dim, size in kept))

    def _index(self, dim: int) -> Expr:
        """The index along a dimension of the program's scores, of which all leading ones are one here."""
        before = len(self.batch) - 1
        if dim > before or before == 0:
            return self.along(dim - before, None, "positions")
        at = self.along(BATCH, None, "positions")
        stride = prod(self.batch[dim + 1 :])
        return call("mod", call("floordiv", at, const(stride)), const(self.batch[dim]))

    def along(self, dim: int, join: Expr | None, part: str) -> Expr:
        """A vector along a dimension of the scores: of `join`, or of the positions."""
        builder = self.reader.builder
        variable = builder.variable(self.shape[dim])
        join = variable_index(variable) if join is None else join
        vector = builder.einsum([], ((variable,),), join, "sum", self.reader.origin(part))
        for k in range(len(self._dims) - 1):
            vector = insert(vector, 0 if k < dim else vector.ndim)
        return self._appended(vector, tuple(row if k == dim else () for k, row in enumerate(self._dims)))

    def _appended(self, mask: Value, dims: VariableDims) -> Expr:
        self.read.append((mask, dims))
        return operand(len(self.read))


def _largest(expr: Expr) -> float:
    """The largest finite constant in it, by magnitude."""
    found = [abs(float(part.value or 0)) for part in parts(expr) if part.op == "const"]
    return max((number for number in found if number < math.inf), default=0.0)


def leading_as_one(x: Value) -> Value:
    """The value with its leading dimensions as one, there or not, before its last three."""
    for _ in range(3 - x.ndim):
        x = insert(x, 0)
    leading = tuple(factor for dim in x.dims[:-3] for factor in dim)
    return replace(x, dims=(leading, *x.dims[-3:]))
