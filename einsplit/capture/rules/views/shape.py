"""Views: what changes dimensions and moves no element; last, where factors do not allow a view, as a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import torch

from einsplit.builder.views import Factor, Value, drop, expand, insert, permute
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import shape_of, stopped
from einsplit.capture.reader import Known, Reader, rule
from einsplit.scalar import const, index, substitute


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
    "aten.lift_fresh_copy.default",
    "aten.positive.default",
)
def same(reader: Reader, x: Known, *_: object, **__: object) -> Known:
    return x


@rule("aten.detach.default", "aten.detach_.default")
def detach(reader: Reader, x: Known) -> Known:
    """The tensor, a constant for whoever differentiates."""
    return stopped(reader, x)


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
    moved = torch.movedim(sizes, *([at] if isinstance(at, int) else at for at in (source, target)))
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


@rule("aten.repeat_interleave.self_int")
def repeat_interleave(reader: Reader, x: Known, times: int, dim: int | None = None, **_: object) -> object:
    """Copies of each element side by side: a repeated factor behind that of the dimension, or of all in a row."""
    value = reader.value(x)
    if not times:
        return NotImplemented
    if dim is None:
        value = reader.builder.reshape(value, (prod(value.shape),), reader.origin("row"))
    value = value if value.ndim else insert(value, 0)
    at = (dim or 0) % value.ndim
    behind = (Factor(reader.builder.variable(times), times, carried=False),) if times > 1 else ()
    return replace(value, dims=(*value.dims[:at], (*value.dims[at], *behind), *value.dims[at + 1 :]))
