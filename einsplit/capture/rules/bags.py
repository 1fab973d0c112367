"""Embedding bags: rows looked up, then aggregated bag by bag, as einsums; no kernel of torch's runs whole."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from einsplit.builder import variable_index
from einsplit.builder.views import Value, drop, expand, insert
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import dtype_of, elementwise, in_dtype, reduce_dims, shape_of
from einsplit.capture.reader import Known, Reader, rule
from einsplit.capture.rules.unknown import unknown
from einsplit.scalar import call, cast, const, operand

MODES = ("sum", "mean", "max")


@rule("aten.embedding_bag.padding_idx", "aten._embedding_bag.default")
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
    """`agg over t in bag b of table[ids[t]] * weights[t]`; rows `padding` are in no bag, and an empty bag gives 0.

    Of bags of different lengths, the largest is left to torch. The other results of the operator, which only its own
    gradient reads, are torch's own too.
    """
    values = [part for part in (table, ids, offsets, weights) if part is not None]
    if by_frequency or dtype_of(table) in ("float16", "bfloat16") or 0 in shape_of(ids) or 0 in shape_of(offsets):
        return NotImplemented
    bags = _Bags(reader, reader.value(ids), offsets, include_last, -1 if padding is None else padding)
    rows = bags.rows(reader.value(table), weights)
    if bags.length is not None:
        found = bags.even(rows, MODES[mode])
    elif MODES[mode] == "max":
        return NotImplemented
    else:
        found = bags.uneven(rows, MODES[mode])
    others = unknown(reader, _operator(reader.target), *values)
    return [found, *others]
