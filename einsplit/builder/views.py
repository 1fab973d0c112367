"""Symbolic values and their views: permute, reshape, broadcast without touching an element.

A Value is a reading of a node: dimensions made of factors, each a stretch of one of the node's own dimensions, or a
repetition the node does not have. Every function here returns a new Value; `reshape` returns None where the new shape
does not follow the factors (6x4 -> 8x3), and the caller makes a kernel of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from einsplit.builder.extents import Extents, Leaf

if TYPE_CHECKING:
    from einsplit.builder import Builder


@dataclass(frozen=True, slots=True)
class Factor:
    """Elements `e // stride % size` of the dimension `extent`; not `carried`: repeated along it, not read."""

    extent: int
    size: int
    stride: int = 1
    carried: bool = True


FactorDims = tuple[tuple[Factor, ...], ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor that is not there yet: a view of node `node` of the graph that `builder` collects."""

    builder: Builder
    node: int
    dims: FactorDims
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each dimension."""
        return tuple(prod(factor.size for factor in dim) for dim in self.dims)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.dims)

    def __repr__(self) -> str:
        return f"Value(%{self.node}, {self.dtype}{list(self.shape)})"


def split_factor(extents: Extents, factor: Factor) -> list[tuple[Factor, Leaf]]:
    """The factor as its finest ones, each with its leaf, slowest first."""
    found = []
    for leaf in extents.leaves(factor.extent):
        inside = factor.stride <= leaf.stride < factor.stride * factor.size
        if inside or not factor.size:  # an extent without elements is never cut: it is its own only leaf
            found.append((Factor(factor.extent, leaf.size, leaf.stride, factor.carried), leaf))
    return found


def dim_extents(extents: Extents, dim: Sequence[Factor]) -> list[int]:
    """The dimension as a row of finest extents."""
    return [leaf.extent for factor in dim for _, leaf in split_factor(extents, factor)]


def permute(value: Value, order: Sequence[int]) -> Value:
    """Dimensions in another order; `order` counts from the end where negative."""
    return replace(value, dims=tuple(value.dims[k] for k in order))


def insert(value: Value, at: int) -> Value:
    """A new dimension of size 1 before dimension `at`."""
    return replace(value, dims=(*value.dims[:at], (), *value.dims[at:]))


def drop(value: Value, ats: Sequence[int]) -> Value:
    """Without those of the dimensions `ats` that have size 1."""
    gone = {k % value.ndim for k in ats if value.shape[k] == 1}
    return replace(value, dims=tuple(dim for k, dim in enumerate(value.dims) if k not in gone))


def expand(value: Value, shape: Sequence[int]) -> Value:
    """Broadcast to `shape` (right-aligned, -1 keeps): repeated elements are remembered, not made."""
    extents = value.builder.extents
    dims: list[tuple[Factor, ...]] = []
    missing = len(shape) - value.ndim
    for k, size in enumerate(shape):
        have = value.dims[k - missing] if k >= missing else ()
        now = prod(factor.size for factor in have)
        if size in (-1, now):
            dims.append(have)
        else:
            dims.append((Factor(extents.new(size), size, carried=False),))
    return replace(value, dims=tuple(dims))


def _aligned_groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[range, range]]:
    """Runs of old and new dimensions that hold the same elements, as short as they can be; no size is 0."""
    groups = []
    i = j = 0
    while i < len(old) or j < len(new):
        start_i, start_j = i, j
        left = right = 1
        if i < len(old):
            left, i = old[i], i + 1
        if j < len(new):
            right, j = new[j], j + 1
        while left != right:
            if left < right and i < len(old):
                left, i = left * old[i], i + 1
            elif j < len(new):
                right, j = right * new[j], j + 1
            else:
                left, i = left * old[i], i + 1
        groups.append((range(start_i, i), range(start_j, j)))
    return groups


def _dealt(extents: Extents, dims: Sequence[tuple[Factor, ...]], sizes: Sequence[int]) -> FactorDims | None:
    """The factors of `dims` dealt out anew over dimensions of `sizes`, cutting extents where needed.

    None where they do not nest.
    """
    row = [factor for dim in dims for factor in dim if factor.size != 1]
    new: list[tuple[Factor, ...]] = []
    for size in reversed(sizes):
        dim: list[Factor] = []
        while size != 1:
            if not row:
                return None
            factor = row.pop()
            if size % factor.size == 0:
                dim.append(factor)
                size //= factor.size
            elif factor.size % size == 0 and extents.cut(factor.extent, factor.stride * size):
                dim.append(replace(factor, size=size))
                row.append(replace(factor, size=factor.size // size, stride=factor.stride * size))
                size = 1
            else:
                return None
        new.append(tuple(reversed(dim)))
    return tuple(reversed(new)) if not row else None


@dataclass(frozen=True, slots=True)
class Regrouped:
    """A run of old dimensions and the run of new ones that holds the same elements; `view` where factors allow one."""

    old: range
    new: range
    view: FactorDims | None


def regroup(value: Value, shape: Sequence[int]) -> list[Regrouped]:
    """The value's dimensions against those of another shape of as many elements, run by run."""
    if 0 in value.shape:  # products of sizes tell nothing apart
        view = value.dims if tuple(shape) == value.shape else None
        return [Regrouped(range(value.ndim), range(len(shape)), view)]
    return [
        Regrouped(old, new, _dealt(value.builder.extents, [value.dims[k] for k in old], [shape[k] for k in new]))
        for old, new in _aligned_groups(value.shape, shape)
    ]


def joined(value: Value, groups: Sequence[Regrouped]) -> Value | None:
    """The value as its groups have it; None where one of them is no view."""
    views = [group.view for group in groups if group.view is not None]
    if len(views) < len(groups):
        return None
    return replace(value, dims=tuple(dim for view in views for dim in view))


def reshape(value: Value, shape: Sequence[int]) -> Value | None:
    """The value under another shape of as many elements; None where factors do not allow it."""
    return joined(value, regroup(value, shape))
