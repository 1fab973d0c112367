"""Kernels that move elements and compute nothing: reshape, slice and place, gather and scatter, cat; in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from einsplit.kernels.rows import Attributes, Reference, number
from einsplit.monoid import Array


def _reshape(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    return [operands[0].reshape(shape)]


def _slice(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """Elements start, start + step, ... along a dimension, as many as the result has."""
    dim = number(attributes, "dim")
    return [operands[0].take(_held(attributes, shape[dim]), axis=dim)]


def _place(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """Zeros, and the operand at start, start + step, ... along a dimension: what `slice` of it gives back."""
    dim = number(attributes, "dim")
    found = np.zeros(shape, operands[0].dtype)
    held = _held(attributes, operands[0].shape[dim])
    found[tuple(held if k == dim else slice(None) for k in range(len(shape)))] = operands[0]
    return [found]


def _held(attributes: Attributes, length: int) -> NDArray[np.int64]:
    positions: NDArray[np.int64] = np.arange(length) * number(attributes, "step") + number(attributes, "start")
    return positions


def _gather(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """The elements of the first operand at the indices that the second gives along a dimension."""
    array, indices = operands
    return [np.take_along_axis(array, indices.astype(np.int64), number(attributes, "dim"))]


def _scatter(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """Zeros, and the first operand added at the indices that the second gives along a dimension."""
    array, indices = operands
    found = np.zeros(shape, array.dtype)
    places: list[NDArray[np.int64]] = list(np.indices(array.shape, sparse=True))
    places[number(attributes, "dim")] = indices.astype(np.int64)
    np.add.at(found, tuple(places), array)
    return [found]


def _cat(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    return [np.concatenate(operands, axis=number(attributes, "dim"))]


REFERENCES: dict[str, Reference] = {
    "reshape": _reshape,
    "slice": _slice,
    "place": _place,
    "gather": _gather,
    "scatter": _scatter,
    "cat": _cat,
}
