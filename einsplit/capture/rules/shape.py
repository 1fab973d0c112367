"""Operators that move elements: as views where they can be, as einsums over split labels, last as kernels.

A slice that takes one of equal parts (a half of a rotary embedding) splits the label and selects along the outer
factor; a concatenation of equal parts makes such a factor. All other labels stay free in every case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from einsplit.builder import variable_index
from einsplit.builder.views import Factor, Value, drop, expand, insert, permute, reshape
from einsplit.capture.formulas import Formula
from einsplit.capture.reader import Known, Reader, rule
from einsplit.capture.rules.common import Scalar, in_dtype, pick, shape_of
from einsplit.scalar import Expr, call, cast, const, index, operand, substitute

MAX_PARTS = 8  # a concatenation of more equal parts reads them all for each element: a kernel copies instead


@rule(
    "aten.view.default",
    "aten.reshape.default",
    "aten._unsafe_view.default",
    "aten.view_as.default",
    "aten.reshape_as.default",
    "aten.flatten.using_ints",
    "aten.unflatten.int",
)
def view(reader: Reader, x: Known, *_: object) -> Value:
    return reader.builder.reshape(reader.value(x), reader.shape, reader.origin())


@rule(
    "aten.alias.default",
    "aten.contiguous.default",
    "aten.clone.default",
    "aten.detach.default",
    "aten.detach_.default",
    "aten.dropout.default",
    "aten.lift_fresh_copy.default",
    "aten.positive.default",
)
def same(reader: Reader, x: Known, *_: object, **__: object) -> Known:
    return x


@rule("aten.permute.default")
def permute_(reader: Reader, x: Known, order: Sequence[int]) -> Value:
    return permute(reader.value(x), order)


TRANSPOSES = ("transpose.int", "t.default", "mT.default", "swapaxes.default", "swapdims.default")


@rule(*(f"aten.{name}" for name in TRANSPOSES))
def transpose(reader: Reader, x: Known, a: int = -2, b: int = -1) -> Value:
    value = reader.value(x)
    order = list(range(value.ndim))
    if value.ndim > 1:
        order[a], order[b] = order[b], order[a]
    return permute(value, order)


@rule("aten.numpy_T.default")
def reverse_dims(reader: Reader, x: Known) -> Value:
    value = reader.value(x)
    return permute(value, range(value.ndim)[::-1])


@rule("aten.movedim.int", "aten.movedim.intlist")
def movedim(reader: Reader, x: Known, source: int | list[int], target: int | list[int]) -> Value:
    value = reader.value(x)
    sizes = torch.empty([k + 2 for k in range(value.ndim)], device="meta")  # torch moves the dimension numbers
    moved = torch.movedim(sizes, source, target)  # type: ignore[arg-type]
    return permute(value, [size - 2 for size in moved.shape])


@rule("aten.unsqueeze.default")
def unsqueeze(reader: Reader, x: Known, dim: int) -> Value | Formula:
    at = dim % (len(shape_of(x)) + 1)
    found = reader.formula(x)
    if isinstance(found, Formula):
        moved = {str(k): index(str(k + (k >= at))) for k in range(len(found.shape))}
        return Formula(reader.shape, substitute(found.expr, {}, moved), found.dtype)
    return insert(found, at)


@rule("aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims")
def squeeze(reader: Reader, x: Known, dims: int | Sequence[int] | None = None) -> Value:
    value = reader.value(x)
    every = range(value.ndim) if dims is None else [dims] if isinstance(dims, int) else dims
    return drop(value, list(every)) if value.ndim else value


@rule("aten.expand.default", "aten.expand_as.default", "aten.broadcast_to.default")
def expand_(reader: Reader, x: Known, *_: object, **__: object) -> Value | Formula:
    found = reader.formula(x)
    if isinstance(found, Formula):
        shift = len(reader.shape) - len(found.shape)
        moved = {str(k): index(str(k + shift)) if n != 1 else const(0) for k, n in enumerate(found.shape)}
        return Formula(reader.shape, substitute(found.expr, {}, moved), found.dtype)
    return expand(found, reader.shape)


@rule("aten.broadcast_tensors.default")
def broadcast_tensors(reader: Reader, parts: Sequence[Known]) -> list[Value]:
    return [expand(reader.value(part), reader.shape) for part in parts]


@rule("aten.repeat.default")
def repeat(reader: Reader, x: Known, *_: object) -> object:
    """Whole copies in a row: a repeated factor in front of each dimension."""
    value = reader.value(x)
    value = expand(value, (*(1 for _ in range(len(reader.shape) - value.ndim)), *value.shape))
    dims = []
    for dim, have, want in zip(value.dims, value.shape, reader.shape, strict=True):
        times = want // have if have else 1
        front = (Factor(reader.builder.variable(times), times, carried=False),) if times > 1 else ()
        dims.append((*front, *dim))
    return replace(value, dims=tuple(dims))


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
    value = reader.value(x)
    dim %= value.ndim
    length, size = reader.shape[dim], value.shape[dim]
    first = min(max(start + size if start is not None and start < 0 else start or 0, 0), size)
    if length == size:
        return value
    if all(not factor.carried for factor in value.dims[dim]):
        narrow = (Factor(reader.builder.variable(length), length, carried=False),)
        return replace(value, dims=(*value.dims[:dim], narrow, *value.dims[dim + 1 :]))
    if step == 1 and length and size % length == 0 and first % length == 0:
        parts = reshape(value, (*value.shape[:dim], size // length, length, *value.shape[dim + 1 :]))
        if parts is not None:
            return pick(reader, parts, dim, first // length)
    return _along(reader, "slice", [value], dim, {"start": first, "step": step})


@rule(
    "aten.split.Tensor",
    "aten.split_with_sizes.default",
    "aten.chunk.default",
    "aten.tensor_split.sections",
    "aten.unbind.int",
)
def split(reader: Reader, x: Known, sizes: int | Sequence[int] = 0, dim: int = 0) -> list[Value]:
    value = reader.value(x)
    if "unbind" in reader.target:
        dim = int(sizes) if isinstance(sizes, int) else 0
        return [pick(reader, value, dim % value.ndim, k) for k in range(value.shape[dim])]
    dim %= value.ndim
    lengths = [int(part.shape[dim]) for part in reader.metas]
    starts = [sum(lengths[:k]) for k in range(len(lengths))]
    found = []
    for start, length in zip(starts, lengths, strict=True):
        size = value.shape[dim]
        shape = (*value.shape[:dim], size // length, length, *value.shape[dim + 1 :])
        even = length and size % length == 0 and start % length == 0
        parts = reshape(value, shape) if even and length != size else None
        if length == size:
            found.append(value)
        elif parts is not None:
            found.append(pick(reader, parts, dim, start // length))
        else:
            found.append(_along(reader, "slice", [value], dim, {"start": start, "step": 1, "length": length}, length))
    return found


@rule("aten.cat.default", "aten.concat.default", "aten.stack.default")
def cat(reader: Reader, parts: Sequence[Known], dim: int = 0) -> object:
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
