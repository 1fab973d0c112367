"""Operators that take parts and put parts together: einsums over split labels where parts are equal, else kernels.

A slice that takes one of equal parts (a half of a rotary embedding) splits the label and selects along the outer
factor; a concatenation of equal parts makes such a factor. All other labels stay free in every case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd

from einsplit.builder import variable_index
from einsplit.builder.views import Factor, Value, insert, reshape
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import Scalar, in_dtype, pick, shape_of
from einsplit.capture.reader import Known, Reader, rule
from einsplit.scalar import Expr, call, cast, const, operand

MAX_PARTS = 8  # a concatenation of more equal parts reads them all for each element: a kernel copies instead


@rule("aten.select.int")
def select(reader: Reader, x: Known, dim: int, at: int) -> Value:
    """`sum over l of where(index(l) == at, x, 0)`, which the runtime carries out as a slice."""
    value = reader.value(x)
    dim %= value.ndim
    return pick(reader, value, dim, at % value.shape[dim])


@rule("aten.slice.Tensor", "aten.narrow.default")
def slice_(
    reader: Reader, x: Known, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Value:
    """Every `step`-th element from `start` along `dim`; torch has worked out how many."""
    value = reader.value(x)
    dim %= value.ndim
    length, size = reader.shape[dim], value.shape[dim]
    first = min(max(start + size if start is not None and start < 0 else start or 0, 0), size)
    if length != size and all(not factor.carried for factor in value.dims[dim]):
        narrow = (Factor(reader.builder.variable(length), length, carried=False),)
        return replace(value, dims=(*value.dims[:dim], narrow, *value.dims[dim + 1 :]))
    part = equal_part(reader, value, dim, first, length) if step == 1 or length == size else None
    return _along(reader, "slice", [value], dim, {"start": first, "step": step}) if part is None else part


def equal_part(reader: Reader, value: Value, dim: int, first: int, length: int) -> Value | None:
    """The elements first ... first + length along `dim`, where they are one or several of equal parts of a label.

    One is picked. Several are sliced along the label that numbers the parts; the label inside a part stays free.
    """
    size = value.shape[dim]
    if length == size:
        return value
    each = gcd(size, first, length)
    if each < 2 and length > 1:
        return None
    front, back = value.shape[:dim], value.shape[dim + 1 :]
    parts = reshape(value, (*front, size // each, each, *back)) if length else None
    if parts is None:
        return None
    if length == each:
        return pick(reader, parts, dim, first // each)
    taken = _along(reader, "slice", [parts], dim, {"start": first // each, "step": 1}, length // each)
    return reader.builder.reshape(taken, (*front, length, *back), reader.origin())


@rule(
    "aten.split.Tensor",
    "aten.split_with_sizes.default",
    "aten.chunk.default",
    "aten.tensor_split.sections",
    "aten.unbind.int",
)
def split(reader: Reader, x: Known, sizes: int | Sequence[int] = 0, dim: int = 0) -> list[Value]:
    """Parts along `dim`, as long as torch has worked out; of unbind each index, without the dimension."""
    value = reader.value(x)
    if "unbind" in reader.target:
        dim = int(sizes) if isinstance(sizes, int) else 0
        return [pick(reader, value, dim % value.ndim, k) for k in range(value.shape[dim])]
    dim %= value.ndim
    lengths = [int(part.shape[dim]) for part in reader.metas]
    starts = [sum(lengths[:k]) for k in range(len(lengths))]
    found = []
    for start, length in zip(starts, lengths, strict=True):
        part = equal_part(reader, value, dim, start, length)
        if part is None:
            part = _along(reader, "slice", [value], dim, {"start": start, "step": 1, "length": length}, length)
        found.append(part)
    return found


@rule("aten.cat.default", "aten.concat.default", "aten.stack.default")
def cat(reader: Reader, parts: Sequence[Known], dim: int = 0) -> object:
    """One after the other along `dim`, which stack makes anew."""
    values = [reader.value(in_dtype(reader, part, reader.dtype)) for part in parts]
    if "stack" in reader.target:
        dim %= values[0].ndim + 1
        values = [insert(value, dim) for value in values]
    values = [value for value in values if value.shape != (0,)]  # torch lets an empty vector join anything
    if not values:
        return NotImplemented
    dim %= values[0].ndim
    if len(values) == 1:
        return values[0]
    if len({value.shape for value in values}) > 1 or len(values) > MAX_PARTS or 0 in values[0].shape:
        return _along(reader, "cat", values, dim, {})
    return _interleave(reader, values, dim)


def _interleave(reader: Reader, values: Sequence[Value], dim: int) -> Value:
    """Equal parts behind a new outer factor r: `where(index(r) == 0, x, where(index(r) == 1, y, ...))`."""
    shape, count = values[0].shape, len(values)
    part = reader.builder.variable(count)
    if len(set(values)) == 1:
        repeated = (Factor(part, count, carried=False), *values[0].dims[dim])
        return replace(values[0], dims=(*values[0].dims[:dim], repeated, *values[0].dims[dim + 1 :]))
    labels = reader.builder.variables(shape)
    join: Expr = operand(count - 1)
    for k in reversed(range(count - 1)):
        join = call("where", call("eq", variable_index(part), const(k)), operand(k), join)
    out = (*labels[:dim], (part, *labels[dim]), *labels[dim + 1 :])
    return reader.builder.einsum([(value, labels) for value in values], out, join, "sum", reader.origin())


@rule("aten.select_scatter.default")
def select_scatter(reader: Reader, x: Known, source: Known, dim: int, at: int) -> Value:
    """`where(index(l) == at, source, x)`."""
    value, part = reader.value(x), reader.value(in_dtype(reader, source, reader.dtype))
    dim %= value.ndim
    labels = reader.builder.variables(value.shape)
    here = call("eq", variable_index(labels[dim][0]), const(at % value.shape[dim]))
    operands = [(value, labels), (part, labels[:dim] + labels[dim + 1 :])]
    return reader.builder.einsum(operands, labels, call("where", here, operand(1), operand(0)), "sum", reader.origin())


@rule("aten.slice_scatter.default")
def slice_scatter(
    reader: Reader,
    x: Known,
    source: Known,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> object:
    """What stands before the slice, the source, what stands behind."""
    value, part = reader.value(x), reader.value(in_dtype(reader, source, reader.dtype))
    dim %= value.ndim
    size, length = value.shape[dim], shape_of(part)[dim]
    first = slice(start, end).indices(size)[0]
    if length == size:
        return part
    if step != 1 or not length:
        return NotImplemented
    around = [part]
    for at, begin, stop in ((0, 0, first), (2, first + length, size)):
        if stop > begin:
            kept = _along(reader, "slice", [value], dim, {"start": begin, "step": 1}, stop - begin)
            around.insert(at, kept)
    return _along(reader, "cat", around, dim, {})


@rule("aten.constant_pad_nd.default", "aten.pad.default")
def pad(reader: Reader, x: Known, widths: Sequence[int], mode: object = "constant", fill: Scalar | None = 0) -> object:
    """Constants around the last dimensions, concatenated."""
    if not isinstance(mode, str):  # constant_pad_nd has none
        mode, fill = "constant", _number(mode)
    if mode != "constant" or any(width < 0 for width in widths):
        return NotImplemented
    filler = cast(const(0 if fill is None else fill), reader.dtype)
    value = reader.value(x)
    for k in range(len(widths) // 2):
        dim = value.ndim - 1 - k
        around = [value]
        for at, width in ((0, widths[2 * k]), (2, widths[2 * k + 1])):
            shape = (*value.shape[:dim], width, *value.shape[dim + 1 :])
            if width:
                around.insert(at, reader.value(Formula(shape, filler, value.dtype)))
        if len(around) > 1:
            value = _along(reader, "cat", around, dim, {})
    return value


def _number(argument: object) -> Scalar:
    assert isinstance(argument, (bool, int, float)), argument
    return argument


@rule("aten.as_strided.default")
def as_strided(reader: Reader, x: Known, *_: object) -> object:
    """A kernel where the elements lie in memory as the kernel will find them; refused where they do not."""
    given = reader.operand_meta(0)
    if given.is_contiguous() and given.numel() * given.element_size() == given.untyped_storage().nbytes():
        return NotImplemented
    message = "as_strided reads memory behind a view, and a value that is cut lies elsewhere"
    raise reader.error(message, "Take x.contiguous() first, or index instead.")


@rule("aten.flip.default")
def flip(reader: Reader, x: Known, dims: Sequence[int]) -> Value:
    """A slice from the last element to the first along each dimension."""
    value = reader.value(x)
    for dim in {dim % value.ndim for dim in dims} if value.ndim else ():
        if value.shape[dim] > 1:
            value = _along(reader, "slice", [value], dim, {"start": value.shape[dim] - 1, "step": -1}, value.shape[dim])
    return value


def _along(
    reader: Reader,
    kernel: str,
    values: Sequence[Value],
    dim: int,
    attributes: dict[str, object],
    length: int | None = None,
) -> Value:
    """A kernel that works along one dimension, every other label free."""
    builder = reader.builder
    labels = builder.variables(values[0].shape)
    own = [(builder.variable(value.shape[dim]),) for value in values]
    size = sum(value.shape[dim] for value in values) if kernel == "cat" else length or reader.shape[dim]
    result = (builder.variable(size),)
    operands = [(value, (*labels[:dim], row, *labels[dim + 1 :])) for value, row in zip(values, own, strict=True)]
    dims = (*labels[:dim], result, *labels[dim + 1 :])
    whole = frozenset(variable for (variable,) in (*own, result))
    attributes = {**attributes, "dim": dim}
    results = [(dims, values[0].dtype)]
    return builder.kernel(kernel, operands, results, reader.origin(), brackets=whole, attributes=attributes)[0]
