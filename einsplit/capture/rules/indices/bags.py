"""Embedding bags: rows looked up and aggregated bag by bag, as einsums whose every label is free."""

from __future__ import annotations

import math

import torch

from einsplit.builder import variable_index
from einsplit.builder.views import Value
from einsplit.capture.joins import at_key, elementwise, in_dtype, reduce_dims, shape_of, widened
from einsplit.capture.reader import Known, Reader, rule
from einsplit.capture.rules.others.unknown import unknown
from einsplit.dtypes import wide
from einsplit.scalar import Expr, call, cast, const, operand

MODES = ("sum", "mean", "max")
_OPERATORS = {
    "aten.embedding_bag.padding_idx": torch.ops.aten.embedding_bag.padding_idx,
    "aten._embedding_bag.default": torch.ops.aten._embedding_bag.default,
}


@rule(*_OPERATORS)
def embedding_bag(
    reader: Reader,
    table: Known,
    ids: Known,
    offsets: Known,
    by_frequency: bool = False,
    mode: int = 0,
    sparse: bool = False,
    weights: Known | None = None,
    include_last: bool = False,
    padding: int | None = None,
) -> object:
    """`agg over t in bag b of table[ids[t]] * weights[t]`; ids `padding` are in no bag, and an empty bag gives 0.

    Of bags of different lengths, the largest is left to torch. The other results, which only torch's own gradient
    reads, are torch's.
    """
    if by_frequency or len(shape_of(ids)) != 1 or not shape_of(ids)[0] or 0 in reader.shape:
        return NotImplemented
    bags = reader.shape[0]
    pad = -1 if padding is None else padding
    starts = offsets[:bags] if isinstance(offsets, torch.Tensor) else None
    length = shape_of(ids)[0] // bags
    if starts is not None and torch.equal(starts, torch.arange(bags) * length) and length * bags == shape_of(ids)[0]:
        found = _even(reader, MODES[mode], table, ids, weights, (bags, length), pad)
    elif MODES[mode] != "max":
        found = _uneven(reader, MODES[mode], table, ids, weights, offsets, pad)
    else:
        return NotImplemented
    args = (table, ids, offsets, by_frequency, mode, sparse, weights, include_last, padding)
    others = unknown(reader, _OPERATORS[reader.target], *args)
    assert isinstance(others, list)
    return [in_dtype(reader, found, reader.dtype), *others[1:]]


def _even(
    reader: Reader, mode: str, table: Known, ids: Known, weights: Known | None, shape: tuple[int, int], padding: int
) -> Known:
    """Bags of one length: ids are a matrix of bags."""
    origin = reader.origin("bags")
    chosen = reader.builder.reshape(reader.value(ids), shape, origin)
    rows = reader.value(table)
    factor = None if weights is None else reader.builder.reshape(reader.value(weights), shape, origin)
    bags, column = reader.builder.variables(shape), reader.builder.variables(rows.shape[1:])
    if mode == "max":
        return _largest(reader, _rows(reader, rows, chosen, None, bags, (*bags, *column), -1), chosen, padding)
    total = _rows(reader, rows, chosen, factor, bags, (bags[0], *column), padding)
    if mode == "sum":
        return total
    if padding < 0:
        return elementwise(reader, operand(0) / const(float(shape[1])), total)
    count = reduce_dims(reader, chosen, [1], True, "sum", _counted(padding, total.dtype), part="count")
    return elementwise(reader, operand(0) / call("max", operand(1), const(1.0)), total, count)


def _uneven(
    reader: Reader, mode: str, table: Known, ids: Known, weights: Known | None, offsets: Known, padding: int
) -> Known:
    """Bags that start at `offsets`: rows are looked up, and added to the bag that each is in."""
    chosen, rows = reader.value(ids), reader.value(table)
    factor = None if weights is None else reader.value(weights)
    items, column = reader.builder.variables(chosen.shape), reader.builder.variables(rows.shape[1:])
    found = _rows(reader, rows, chosen, factor, items, (*items, *column), padding)
    starts = reader.value(offsets)
    begun = cast(call("ge", variable_index(items[0][0]), operand(0)), "int64")
    bag = reader.builder.einsum(
        [(starts, reader.builder.variables(starts.shape))], items, begun, "sum", reader.origin("begun")
    )
    (b,) = reader.builder.variables(reader.shape[:1])
    its_bag, this_bag, zero = operand(0) - const(1), variable_index(b[0]), cast(const(0), found.dtype)
    readings = [(bag, items), (found, (*items, *column))]
    total = reader.builder.einsum(
        readings, (b, *column), at_key(its_bag, this_bag, operand(1), zero), "sum", reader.origin("total")
    )
    if mode == "sum":
        return total
    counted = at_key(its_bag, this_bag, _counted(padding, found.dtype, 1), zero)
    count = reader.builder.einsum([(bag, items), (chosen, items)], (b, ()), counted, "sum", reader.origin("count"))
    return elementwise(reader, operand(0) / call("max", operand(1), const(1.0)), total, count)


def _counted(padding: int, dtype: str, position: int = 0) -> Expr:
    """1 for an id that is in its bag."""
    return cast(call("ne", operand(position), const(padding)), dtype)


def _rows(
    reader: Reader, rows: Value, ids: Value, weights: Value | None, items: object, out: object, padding: int
) -> Value:
    """`sum over v of where(ids == v, table[v] * weights, 0)`; nothing for ids that are padding."""
    assert isinstance(items, tuple) and isinstance(out, tuple)
    row: Expr = widened(1, rows.dtype)
    dtype = wide(rows.dtype)
    operands = [(ids, items), (rows, (reader.builder.variables(rows.shape[:1])[0], out[-1]))]
    if weights is not None:
        row = row * widened(2, weights.dtype)
        operands.append((weights, items))
    is_counted = call("ne", operand(0), const(padding)) if padding >= 0 else None
    join = at_key(operand(0), variable_index(operands[1][1][0][0]), row, cast(const(0), dtype), is_counted)
    return reader.builder.einsum(operands, out, join, "sum", reader.origin("rows"))


def _largest(reader: Reader, rows: Value, ids: Value, padding: int) -> Known:
    """The largest row of each bag and column: the first of those that are, so that the gradient is all its own."""
    labels = reader.builder.variables(rows.shape)
    items, out = labels[:2], (labels[0], labels[2])
    position = variable_index(labels[1][0])
    is_mine = call("ne", operand(1), const(padding))
    readings = [(rows, labels), (ids, items)]
    mine = call("where", is_mine, operand(0), cast(const(-math.inf), rows.dtype))
    top = reader.builder.einsum(readings, out, mine, "max", reader.origin("top"))
    hit = call("and", is_mine, call("or", call("eq", operand(0), operand(2)), call("ne", operand(0), operand(0))))
    at = call("where", hit, cast(position, "int64"), cast(const(rows.shape[1]), "int64"))
    first = reader.builder.einsum([*readings, (top, out)], out, at, "min", reader.origin("first"))
    taken = at_key(position, operand(1), operand(0), const(0))
    return reader.builder.einsum([(rows, labels), (first, out)], out, taken, "sum", reader.origin("largest"))
