"""Reading and adding at indices that a tensor gives, as einsums: `x[ids]` is `sum over v of where(ids == v, x, 0)`.

So every label is free, that of the indices too: a device that holds part of `v` gives what it holds. An index that is
none gives zeros, where torch raises: no device alone can tell it from one that another holds. Writing without adding
is certain only where no index stands twice; where that is not known, torch's own kernel does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import torch

from einsplit.builder import variable_index
from einsplit.builder.settle import VariableDims
from einsplit.builder.views import Value, drop, expand, insert
from einsplit.capture.formulas import Formula
from einsplit.capture.joins import Scalar, broadcast, dtype_of, elementwise, in_dtype, pointwise, scaled, shape_of
from einsplit.capture.reader import Known, Reader, rule
from einsplit.dtypes import kind
from einsplit.scalar import Expr, call, cast, const, operand, substitute


@dataclass(slots=True)
class Places:
    """Elements of a tensor of dimensions `labels`, one for each element of dimensions `led`, chosen by `keys`."""

    reader: Reader
    labels: VariableDims
    led: VariableDims
    wraps: bool = True  # negative indices count from the end
    operands: list[tuple[Value, VariableDims]] = field(default_factory=list)
    tests: list[Expr] = field(default_factory=list)

    def choose(self, dim: int, key: Known) -> None:
        """Along `dim` only the index that `key` gives, which broadcasts to `led`."""
        extents = self.reader.builder.extents
        size = extents.size(self.labels[dim][0])
        if isinstance(key, torch.Tensor):
            key = torch.where(key < 0, key + size, key) if self.wraps else key
        found = self.reader.formula(key)
        if isinstance(found, Formula):
            start = len(self.led) - len(found.shape)
            own = {str(k): variable_index(row[0]) for k, row in enumerate(self.led[start:]) if found.shape[k] != 1}
            own |= {str(k): const(0) for k, n in enumerate(found.shape) if n == 1}
            at = substitute(found.expr, {}, own)
        else:
            at = operand(1 + len(self.operands))
            at = at if found.dtype == "int64" else cast(at, "int64")
            self.operands.append((expand(found, [extents.size(row[0]) for row in self.led]), self.led))
        if self.wraps and not isinstance(key, torch.Tensor):
            at = call("where", call("lt", at, const(0)), at + const(size), at)
        self.tests.append(call("eq", at, variable_index(self.labels[dim][0])))

    def read(self, x: Value, out: VariableDims, part: str = "") -> Value:
        """`sum over v of where(key == v, x, 0)`."""
        return self._einsum(x, self.labels, out, part)

    def add(self, x: Value, dims: VariableDims, part: str) -> Value:
        """`sum over t of where(key[t] == v, x[t], 0)`: each element added to zeros where its key says."""
        return self._einsum(x, dims, self.labels, part)

    def _einsum(self, x: Value, dims: VariableDims, out: VariableDims, part: str) -> Value:
        met = reduce(lambda test, other: call("and", test, other), self.tests)
        is_bool = x.dtype == "bool"
        zero = const(False) if is_bool else cast(const(0), x.dtype)
        join, agg = call("where", met, operand(0), zero), "any" if is_bool else "sum"
        found = self.reader.builder.einsum([(x, dims), *self.operands], out, join, agg, self.reader.origin(part))
        return self.reader.value(in_dtype(self.reader, found, x.dtype))  # sums of small integers are int64


@dataclass(frozen=True, slots=True)
class _Indexed:
    """`x[indices]`: where its elements stand in x, and its dimensions."""

    places: Places
    dims: VariableDims

    @property
    def shape(self) -> tuple[int, ...]:
        extents = self.places.reader.builder.extents
        return tuple(extents.size(variable) for (variable,) in self.dims)


def _indexed(reader: Reader, shape: Sequence[int], indices: Sequence[Known | None]) -> _Indexed | None:
    """What `x[indices]` stands for, None being a full slice; None where masks are among them."""
    given = {dim: ids for dim, ids in enumerate(indices) if ids is not None}
    if any(dtype_of(ids) in ("bool", "uint8") for ids in given.values()):
        return None
    labels = reader.builder.variables(shape)
    led = reader.builder.variables(broadcast(*map(shape_of, given.values())))
    places = Places(reader, labels, led)
    for dim, ids in given.items():
        places.choose(dim, ids)
    rest = [label for dim, label in enumerate(labels) if dim not in given]
    # Where the indices stand side by side, their dimensions take that place; else they come first.
    first, last = min(given), max(given)
    first = first if last - first + 1 == len(given) else 0
    return _Indexed(places, (*rest[:first], *led, *rest[first:]))


def _readable(x: Known) -> bool:
    """Complex numbers are left to torch's own kernels."""
    return kind(dtype_of(x)) != "complex"


@rule("aten.index.Tensor", "aten._unsafe_index.Tensor")
def index(reader: Reader, x: Known, indices: Sequence[Known | None]) -> object:
    found = _indexed(reader, shape_of(x), indices) if _readable(x) else None
    return NotImplemented if found is None else found.places.read(reader.value(x), found.dims)


@rule("aten.index_select.default")
def index_select(reader: Reader, x: Known, dim: int, ids: Known) -> object:
    if not shape_of(x) or not shape_of(ids):
        return NotImplemented
    return index(reader, x, [*(None for _ in range(dim % len(shape_of(x)))), ids])


@rule("aten.take.default")
def take(reader: Reader, x: Known, ids: Known) -> object:
    """Of all elements in a row."""
    count = 1
    for size in shape_of(x):
        count *= size
    return index(reader, reader.builder.reshape(reader.value(x), (count,), reader.origin("row")), [ids])


@rule("aten.index_put.default")
def index_put(
    reader: Reader, x: Known, indices: Sequence[Known | None], values: Known, accumulate: bool = False
) -> object:
    """`x[indices] += values`, or `=` where it is known that no index stands twice, or where a mask chooses."""
    masked = _masked(reader, x, indices, values, accumulate)
    if masked is not None:
        return masked
    found = _indexed(reader, shape_of(x), indices) if _readable(x) and dtype_of(x) != "bool" else None
    mask = None if accumulate else _distinct(indices, shape_of(x))
    if found is None or (mask is None and not accumulate):
        return NotImplemented
    source = expand(reader.value(in_dtype(reader, values, dtype_of(x))), found.shape)
    placed = found.places.add(source, found.dims, "placed")
    if mask is None:
        return _plus(reader, x, placed)
    return elementwise(reader, call("where", operand(0), operand(1), operand(2)), mask, placed, x)


def _masked(reader: Reader, x: Known, indices: Sequence[Known | None], values: Known, accumulate: bool) -> Known | None:
    """`x[mask] = values` as a choice; None where there is no mask alone, or each element chosen has its own value."""
    given = [(dim, ids) for dim, ids in enumerate(indices) if ids is not None]
    if (
        len(given) != 1
        or dtype_of(given[0][1]) != "bool"
        or not _readable(x)
        or (accumulate and reader.dtype == "bool")
    ):
        return None
    at, mask = given[0]
    count = len(shape_of(mask))
    behind = len(shape_of(x)) - at - count
    value = reader.value(in_dtype(reader, values, reader.dtype))
    chosen = value.ndim - behind - 1  # the dimension of values that numbers what is chosen
    if chosen >= 0:
        if value.shape[chosen] != 1:
            return None
        value = drop(value, [chosen])
        for _ in range(count):
            value = insert(value, chosen)
    test = reader.formula(mask)
    for _ in range(behind):
        test = replace(test, shape=(*test.shape, 1)) if isinstance(test, Formula) else insert(test, test.ndim)
    new = operand(2) + operand(1) if accumulate else operand(1)
    return elementwise(reader, call("where", operand(0), new, operand(2)), test, value, x)


@rule("aten.index_copy.default")
def index_copy(reader: Reader, x: Known, dim: int, ids: Known, source: Known) -> object:
    if not shape_of(x) or not shape_of(ids):
        return NotImplemented
    return index_put(reader, x, [*(None for _ in range(dim % len(shape_of(x)))), ids], source)


@rule("aten.index_add.default")
def index_add(reader: Reader, x: Known, dim: int, ids: Known, source: Known, alpha: Scalar = 1) -> object:
    """`x[ids] += alpha * source` along `dim`."""
    if not shape_of(x) or not shape_of(ids) or not _readable(x) or dtype_of(x) == "bool":
        return NotImplemented
    found = _indexed(reader, shape_of(x), [*(None for _ in range(dim % len(shape_of(x)))), ids])
    assert found is not None
    return _plus(reader, x, found.places.add(reader.value(source), found.dims, "placed"), alpha)


def _distinct(indices: Sequence[Known | None], shape: Sequence[int]) -> torch.Tensor | None:
    """Which elements are chosen, of size 1 along full slices; None where the indices are not known to differ."""
    known = [ids if isinstance(ids, torch.Tensor) else torch.tensor(0) for ids in indices]
    if any(isinstance(ids, (Value, Formula)) for ids in indices):
        return None
    full = [k >= len(indices) or indices[k] is None for k in range(len(shape))]
    count = torch.zeros([1 if whole else size for whole, size in zip(full, shape, strict=True)], dtype=torch.int64)
    count.index_put_(tuple(known), torch.tensor(1), accumulate=True)
    return count == 1 if bool((count <= 1).all()) else None


def _plus(reader: Reader, x: Known, placed: Value, alpha: Scalar = 1) -> Known:
    """`x + alpha * placed`."""
    known = reader.formula(x)
    if isinstance(known, Formula) and _is_zero(known.expr) and alpha == 1:
        return placed
    return pointwise(reader, lambda a, b: a + scaled(b, alpha), x, placed, dtype=reader.dtype)


def _is_zero(expr: Expr) -> bool:
    return _is_zero(expr.args[0]) if expr.op == "cast" else expr == const(0)


def _along(reader: Reader, shape: Sequence[int], dim: int, ids: Known) -> Places:
    """Elements of a tensor of `shape` at `ids` along one dimension; along the others, each at its own index."""
    sizes = shape_of(ids)
    led = reader.builder.variables(sizes)
    own = reader.builder.variables(shape)
    same = [k != dim and have == size for k, (have, size) in enumerate(zip(shape, sizes, strict=True))]
    labels = tuple(led[k] if same[k] else own[k] for k in range(len(sizes)))
    places = Places(reader, labels, led, wraps=False)
    places.choose(dim, ids)
    for k in range(len(sizes)):
        if k != dim and not same[k]:  # fewer indices than elements
            places.tests.append(call("eq", variable_index(led[k][0]), variable_index(own[k][0])))
    return places


@rule("aten.gather.default")
def gather(reader: Reader, x: Known, dim: int, ids: Known, **_: object) -> object:
    if not shape_of(x) or len(shape_of(ids)) != len(shape_of(x)) or not _readable(x):
        return NotImplemented
    places = _along(reader, shape_of(x), dim % len(shape_of(x)), ids)
    return places.read(reader.value(x), places.led)


@rule("aten.take_along_dim.default")
def take_along_dim(reader: Reader, x: Known, ids: Known, dim: int | None = None) -> object:
    """gather, of tensors that broadcast along the other dimensions."""
    if dim is None or not shape_of(x):
        return NotImplemented
    dim %= len(shape_of(x))
    shapes = [shape_of(part) for part in (x, ids)]
    common = broadcast(*((*shape[:dim], 1, *shape[dim + 1 :]) for shape in shapes))
    wide = [
        expand(reader.value(part), (*common[:dim], n[dim], *common[dim + 1 :]))
        for part, n in zip((x, ids), shapes, strict=True)
    ]
    return gather(reader, wide[0], dim, wide[1])


@rule("aten.scatter_add.default")
def scatter_add(reader: Reader, x: Known, dim: int, ids: Known, source: Known) -> object:
    """`x[.., ids, ..] += source` along `dim`; of a source with more elements than indices, the first ones."""
    if not shape_of(x) or len(shape_of(ids)) != len(shape_of(x)) or not _readable(x) or dtype_of(x) == "bool":
        return NotImplemented
    if shape_of(source) != shape_of(ids):
        return NotImplemented
    places = _along(reader, shape_of(x), dim % len(shape_of(x)), ids)
    return _plus(reader, x, places.add(reader.value(source), places.led, "placed"))


@rule("aten.scatter_reduce.two")
def scatter_reduce(
    reader: Reader, x: Known, dim: int, ids: Known, source: Known, reduction: str, *, include_self: bool = True
) -> object:
    """Sums; all else is torch's own."""
    return scatter_add(reader, x, dim, ids, source) if reduction == "sum" and include_self else NotImplemented


@rule("aten.one_hot.default")
def one_hot(reader: Reader, ids: Known, num_classes: int = -1) -> Value:
    """`where(id == index(c), 1, 0)`."""
    value = reader.value(ids)
    labels = reader.builder.variables(reader.shape)
    join = cast(call("eq", operand(0), variable_index(labels[-1][0])), "int64")
    return reader.builder.einsum([(value, labels[:-1])], labels, join, "sum", reader.origin())
