"""Aggregations: which dtypes they take, their identity, and their meaning in numpy.

An aggregation AGG is a commutative monoid on *states* (one or two tensors), with a way in and a way out:

    AGG(x1 ... xn) = finish(combine(lift(x1), combine(lift(x2), ...)))

Partial results combine, and that is what lets an aggregated label be cut. Combining identities gives the
identity.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from einsplit.dtypes import DType, Kind, int_range, kind, numpy_dtype
from einsplit.errors import DtypeError, NotationError, did_you_mean

Array = NDArray[np.generic]
States = tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class Monoid:
    """One aggregation. It works in the dtype of its elements; integers are summed and multiplied in int64."""

    name: str
    kinds: tuple[Kind, ...]  # of the elements that it takes
    advice: str  # for those that it does not take

    def result_dtype(self, dtype: DType) -> DType:
        """The dtype of the result over elements of `dtype`. Raises DtypeError where it takes none such."""
        if kind(dtype) not in self.kinds:
            raise DtypeError(f"{self.name} does not take {dtype}.\n  {self.advice}")
        return "int64" if self.name in ("sum", "prod") and kind(dtype) in ("bool", "int") else dtype

    def identity(self, dtype: DType) -> bool | int | float:
        """The number that changes no result when it joins elements of `dtype`.

        mean has none, since every element counts: 0 is the identity of its sum, and who pads divides by the
        true size.
        """
        self.result_dtype(dtype)
        return _IDENTITY[self.name](dtype)


def _lowest(dtype: DType) -> bool | int | float:
    if kind(dtype) == "int":
        return int_range(dtype)[0]
    return False if dtype == "bool" else -np.inf


def _highest(dtype: DType) -> bool | int | float:
    if kind(dtype) == "int":
        return int_range(dtype)[1]
    return True if dtype == "bool" else np.inf


_IDENTITY: dict[str, Callable[[DType], bool | int | float]] = {
    "sum": lambda dtype: 0,
    "prod": lambda dtype: 1,
    "max": _lowest,
    "min": _highest,
    "any": lambda dtype: False,
    "all": lambda dtype: True,
    "logsumexp": lambda dtype: -np.inf,
    "mean": lambda dtype: 0,
}

_NUMBERS: tuple[Kind, ...] = ("bool", "int", "float", "complex")
_ORDERED: tuple[Kind, ...] = ("bool", "int", "float")
_ORDER = "Complex numbers have no order; take abs in the join."
_TRUTH = "It takes bool; compare in the join, as in join='x != 0'."
_FLOAT = "It takes floats; cast in the join, as in join='cast(x, float32)'."

MONOIDS: dict[str, Monoid] = {
    row.name: row
    for row in (
        Monoid("sum", _NUMBERS, ""),
        Monoid("prod", _NUMBERS, ""),
        Monoid("max", _ORDERED, _ORDER),
        Monoid("min", _ORDERED, _ORDER),
        Monoid("any", ("bool",), _TRUTH),
        Monoid("all", ("bool",), _TRUTH),
        Monoid("logsumexp", ("float",), _FLOAT),
        Monoid("mean", ("float", "complex"), _FLOAT),
    )
}


def monoid(name: str) -> Monoid:
    """The aggregation of that name. Raises NotationError where there is none."""
    if name not in MONOIDS:
        advice = did_you_mean(str(name), MONOIDS) or "Known are " + " ".join(MONOIDS) + "."
        raise NotationError(f"unknown aggregation {name!r}.\n  {advice}")
    return MONOIDS[name]


# ------------------------------------------------------------------------------- the meaning, in numpy

_COMBINE: dict[str, np.ufunc] = {  # of those whose state is the result; max and min hand NaN on
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "any": np.logical_or,
    "all": np.logical_and,
}


def reduce(name: str, array: Array, axes: tuple[int, ...]) -> Array:
    """`array` aggregated over the dimensions `axes`; over none of them every element is aggregated alone.

    Over a dimension of size 0 the result is the identity (NaN for mean). Raises DtypeError.
    """
    return finish(name, _reduce_states(name, lift(name, array), axes))


def lift(name: str, array: Array) -> States:
    """The states of single elements: (x,); logsumexp: (x, 1); mean: (x, count 1)."""
    values = array.astype(monoid(name).result_dtype(array.dtype.name), copy=False)
    if name == "logsumexp":
        return values, np.ones_like(values)
    if name == "mean":
        return values, np.ones(values.shape, np.int64)
    return (values,)


def identity_states(name: str, dtype: DType, shape: tuple[int, ...] = ()) -> States:
    """States of that shape that change nothing: over elements of `dtype`, before any element was seen."""
    row = monoid(name)
    first: Array = np.full(shape, row.identity(dtype), numpy_dtype(row.result_dtype(dtype)))
    if name == "logsumexp":
        return first, np.zeros_like(first)
    return (first, np.zeros(shape, np.int64)) if name == "mean" else (first,)


def combine(name: str, left: States, right: States) -> States:
    """The states of all elements of both sides.

    logsumexp keeps (m, s) with s = sum exp(x - m). The weight of the side that holds the larger m is 1 and
    not exp(m - m), which would be NaN for infinities. Source: Milakov, Gimelshein 2018, arXiv 1805.02867.
    """
    with np.errstate(all="ignore"):
        if name == "logsumexp":
            largest = np.maximum(left[0], right[0])
            return largest, np.add(_scaled(left, largest), _scaled(right, largest))
        if name == "mean":
            return np.add(left[0], right[0]), np.add(left[1], right[1])
        return (np.asarray(_COMBINE[name](left[0], right[0])),)


def finish(name: str, states: States) -> Array:
    """The result that the states stand for."""
    with np.errstate(all="ignore"):
        if name == "logsumexp":
            return np.asarray(np.add(states[0], np.log(states[1])))
        if name == "mean":
            return np.asarray(np.divide(states[0], states[1].astype(states[0].dtype)))
        return states[0]


def _scaled(states: States, largest: Array) -> Array:
    """The sum of a logsumexp state, relative to `largest` instead of its own maximum."""
    weight = np.where(states[0] == largest, np.ones_like(states[0]), np.exp(np.subtract(states[0], largest)))
    return np.multiply(states[1], weight)


def _reduce_states(name: str, states: States, axes: tuple[int, ...]) -> States:
    """`combine` over whole dimensions at once."""
    if not axes:
        return states  # numpy takes axis=() for nothing to do in some reductions, and refuses it in others
    first, dtype = states[0], states[0].dtype
    with np.errstate(all="ignore"):
        if name == "logsumexp":
            largest = np.maximum.reduce(first, axes, keepdims=True, initial=-np.inf)
            total = np.add.reduce(_scaled(states, largest), axes, dtype)
            return largest.squeeze(axes), total
        if name == "mean":
            return np.add.reduce(first, axes, dtype), np.add.reduce(states[1], axes)
        start = monoid(name).identity(dtype.name)
        return (np.asarray(_COMBINE[name].reduce(first, axes, dtype, initial=start)),)
