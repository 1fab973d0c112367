"""Casts, copies, and tensors made like another: constants of a shape."""

from __future__ import annotations

from einsplit.builder.views import Value, expand
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import Argument, Scalar, dtype_of, in_dtype, is_tensor
from einsplit.capture.reader import Known, Reader, rule
from einsplit.dtypes import kind
from einsplit.scalar import cast, const

CASTS = ("to.dtype", "to.dtype_layout", "to.device", "to.other", "_to_copy.default", "type_as.default")


@rule(*(f"aten.{name}" for name in CASTS))
def to(reader: Reader, x: Known, *_: object, **__: object) -> object:
    if kind(dtype_of(x)) == "complex" != kind(reader.dtype):
        return NotImplemented
    return in_dtype(reader, x, reader.dtype, part="")


@rule("aten.copy.default")
def copy(reader: Reader, x: Known, source: Known, *_: object) -> Value:
    """`source`, broadcast to the shape of `x` and in its dtype."""
    return expand(reader.value(in_dtype(reader, source, reader.dtype)), reader.shape)


@rule("aten.fill.Scalar", "aten.fill.Tensor", "aten.zero.default")
def fill(reader: Reader, x: Known, number: Argument = 0) -> object:
    if is_tensor(number):
        return copy(reader, x, number)
    assert isinstance(number, (bool, int, float))
    return _constant(reader, number)


@rule("aten.zeros_like.default", "aten.ones_like.default", "aten.new_zeros.default", "aten.new_ones.default")
def zeros_or_ones(reader: Reader, *_: object, **__: object) -> Formula:
    return _constant(reader, 1 if "ones" in reader.target else 0)


@rule("aten.full_like.default")
def full_like(reader: Reader, x: Known, number: Scalar, **_: object) -> Formula:
    return _constant(reader, number)


@rule("aten.new_full.default")
def new_full(reader: Reader, x: Known, shape: object, number: Scalar, **_: object) -> Formula:
    return _constant(reader, number)


@rule("aten.empty_like.default", "aten.new_empty.default", "aten.new_empty_strided.default")
def empty(reader: Reader, *_: object, **__: object) -> Formula:
    """Zeros: whoever reads what nobody wrote gets the same each time."""
    return _constant(reader, 0)


def _constant(reader: Reader, number: Scalar) -> Formula:
    return Formula(reader.shape, cast(const(number), reader.dtype), reader.dtype)
