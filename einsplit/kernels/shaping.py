"""Kernels that move elements and compute nothing: reshape, slice, cat. Their meaning in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from einsplit.kernels.rows import Attributes, Reference, number
from einsplit.monoid import Array


def _reshape(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    return [operands[0].reshape(shape)]


def _slice(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """Elements start, start + step, ... along a dimension, as many as the result has."""
    dim = number(attributes, "dim")
    held = np.arange(shape[dim]) * number(attributes, "step") + number(attributes, "start")
    return [operands[0].take(held, axis=dim)]


def _cat(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    return [np.concatenate(operands, axis=number(attributes, "dim"))]


REFERENCES: dict[str, Reference] = {"reshape": _reshape, "slice": _slice, "cat": _cat}
