"""Kernels along one whole dimension: top_k, sort, cumsum. Their rows for users, and their meaning in numpy.

NaN counts as the largest number, and of equal elements the first one comes first: the results are the same on
every machine and in every library.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from einsplit.dtypes import kind, numpy_dtype
from einsplit.errors import DtypeError
from einsplit.kernels.rows import Along, Attributes, Reference, number
from einsplit.monoid import Array, monoid


def _ordered(dtype: str) -> tuple[str, ...]:
    """The dtypes of values and of their indices. Raises DtypeError for numbers without an order."""
    if kind(dtype) == "complex":
        raise DtypeError("complex numbers have no order.", "Take abs first.")
    return dtype, "int64"


def _summed(dtype: str) -> tuple[str, ...]:
    """The dtype of sums."""
    return (monoid("sum").result_dtype(dtype),)


ALONG: dict[str, Along] = {
    row.name: row
    for row in (
        Along("top_k", "b s [k] -> b s [n]", 2, _ordered, keeps=False, options={"largest": True}),
        Along("sort", "b s [k] -> b s [k]", 2, _ordered, keeps=True, options={"descending": False}),
        Along("cumsum", "b s [k] -> b s [k]", 1, _summed, keeps=True),
    )
}


def _order(array: Array, dim: int, descending: bool) -> NDArray[np.int64]:
    """The indices that sort the array along `dim`; equal elements keep their order in both directions."""
    if not descending:
        return np.argsort(array, axis=dim, kind="stable")
    backwards = np.flip(np.argsort(np.flip(array, dim), axis=dim, kind="stable"), dim)
    order: NDArray[np.int64] = np.subtract(array.shape[dim] - 1, backwards)
    return order


def _top_k(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    """The first elements in order, as many as the result has, and their indices."""
    dim = number(attributes, "dim")
    order = _order(operands[0], dim, bool(attributes["largest"]))
    order = order.take(np.arange(shape[dim]), axis=dim)
    return [np.take_along_axis(operands[0], order, dim), order]


def _sort(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    dim = number(attributes, "dim")
    order = _order(operands[0], dim, bool(attributes["descending"]))
    return [np.take_along_axis(operands[0], order, dim), order]


def _cumsum(attributes: Attributes, operands: Sequence[Array], shape: tuple[int, ...]) -> Sequence[Array]:
    dtype = numpy_dtype(monoid("sum").result_dtype(operands[0].dtype.name))
    return [np.cumsum(operands[0], axis=number(attributes, "dim"), dtype=dtype)]


REFERENCES: dict[str, Reference] = {"top_k": _top_k, "sort": _sort, "cumsum": _cumsum}
