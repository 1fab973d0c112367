"""Mixture of experts: a matrix for each expert, and rows sorted by expert, as one einsum whose expert label is free."""

from __future__ import annotations

from einsplit.builder import variable_index
from einsplit.builder.settle import VariableDims
from einsplit.builder.views import Value
from einsplit.capture.joins import contract, in_dtype, shape_of
from einsplit.capture.reader import Known, Reader, rule
from einsplit.scalar import call, cast, const, operand


@rule("aten._grouped_mm.default", "transformers.grouped_mm_fallback.default")
def grouped_mm(
    reader: Reader, x: Known, y: Known, offs: Known | None = None, bias: Known | None = None, *_: object, **__: object
) -> object:
    """A product for each group e, group e ending at `offs[e]` along the label t that has groups.

    `t d, e d f -> t f`, `e t d, d f -> t f` read from the other side, `d t, t f -> e d f`; without groups, a product of
    batches. What is behind the last end is in no group, and gives 0. Cutting `e` is expert parallelism.
    Source: torch.nn.functional.grouped_mm.
    """
    if bias is not None:
        return NotImplemented
    ranks = len(shape_of(x)), len(shape_of(y))
    if offs is None:
        return contract(reader, "eij,ejk->eik", x, y) if ranks == (3, 3) else NotImplemented
    left, right = reader.value(x), reader.value(y)
    (e,) = reader.builder.variables(shape_of(offs))
    rows = reader.builder.variables(left.shape[-2:])
    columns = (rows[1], *reader.builder.variables(right.shape[-1:]))
    forms = {  # (labels of x, of y, of the result), and the label that has groups
        (2, 3): (rows, (e, *columns), (rows[0], columns[1]), rows[0]),
        (3, 2): ((e, *rows), columns, (rows[0], columns[1]), columns[1]),
        (2, 2): (rows, columns, (e, rows[0], columns[1]), rows[1]),
    }
    if ranks not in forms:
        return NotImplemented
    reads, other, out, along = forms[ranks]
    group = _groups(reader, reader.value(offs), e, along)
    zero = cast(const(0), left.dtype)
    join = call("where", call("eq", operand(2), variable_index(e[0])), operand(0) * operand(1), zero)
    operands = [(left, reads), (right, other), (group, (along,))]
    return in_dtype(reader, reader.builder.einsum(operands, out, join, "sum", reader.origin()), reader.dtype)


def _groups(reader: Reader, ends: Value, e: tuple[int, ...], along: tuple[int, ...]) -> Value:
    """The group of each index: how many groups end at it or before, `sum over e of (index(t) >= ends[e])`."""
    over: VariableDims = reader.builder.variables(ends.shape)
    ended = cast(call("ge", variable_index(along[0]), operand(0)), "int64")
    return reader.builder.einsum([(ends, over)], (along,), ended, "sum", reader.origin("groups"))
