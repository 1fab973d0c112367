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
from einsplit.errors import DtypeError, NotationError, advice

Array = NDArray[np.generic]
States = tuple[Array, ...]
Number = bool | int | float


@dataclass(frozen=True, slots=True)
class Monoid:
    """One aggregation. It works in the dtype of its elements, or `widens` integers and truth values to int64."""

    name: str
    kinds: tuple[Kind, ...]  # of the elements that it takes
    neutral: Callable[[DType], Number]  # its identity among elements of a dtype that it takes
    advice: str = ""  # for elements that it does not take
    widens: bool = False

    def result_dtype(self, dtype: DType) -> DType:
        """The dtype of the result over elements of `dtype`. Raises DtypeError where it takes none such."""
        if kind(dtype) not in self.kinds:
            raise DtypeError(f"{self.name} does not take {dtype}.", self.advice)
        return "int64" if self.widens and kind(dtype) in ("bool", "int") else dtype

    def identity(self, dtype: DType) -> Number:
        """The number that changes no result when it joins elements of `dtype`. Raises DtypeError as `result_dtype`.

        mean has none, since every element counts: 0 is the identity of its sum, and who pads divides by the
        true size.
        """
        self.result_dtype(dtype)
        return self.neutral(dtype)


def _always(number: Number) -> Callable[[DType], Number]:
    return lambda dtype: number


def _lowest(dtype: DType) -> Number:
    if kind(dtype) == "int":
        return int_range(dtype)[0]
    return False if dtype == "bool" else -np.inf


def _highest(dtype: DType) -> Number:
    if kind(dtype) == "int":
        return int_range(dtype)[1]
    return True if dtype == "bool" else np.inf


_NUMBERS: tuple[Kind, ...] = ("bool", "int", "float", "complex")
_ORDERED: tuple[Kind, ...] = ("bool", "int", "float")
_ORDER = "Complex numbers have no order; take abs in the join."
_TRUTH = "It takes bool; compare in the join, as in join='x != 0'."
_FLOAT = "It takes floats; cast in the join, as in join='cast(x, float32)'."

MONOIDS: dict[str, Monoid] = {
    row.name: row
    for row in (
        Monoid("sum", _NUMBERS, _always(0), widens=True),
        Monoid("prod", _NUMBERS, _always(1), widens=True),
        Monoid("max", _ORDERED, _lowest, _ORDER),
        Monoid("min", _ORDERED, _highest, _ORDER),
        Monoid("any", ("bool",), _always(False), _TRUTH),
        Monoid("all", ("bool",), _always(True), _TRUTH),
        Monoid("logsumexp", ("float",), _always(-np.inf), _FLOAT),
        Monoid("mean", ("float", "complex"), _always(0), _FLOAT),
    )
}

# Of kernels also the online softmax. `einsplit.kernels.attention` says what its state is, and how states combine: by
# two of the others, one after the other, which is what it is split into before planning.
KERNEL_AGGREGATIONS = (*MONOIDS, "softmax")


def monoid(name: str) -> Monoid:
    """The aggregation of that name. Raises NotationError where there is none."""
    if name not in MONOIDS:
        raise NotationError(f"unknown aggregation {name!r}.", advice(name, MONOIDS))
    return MONOIDS[name]


# ------------------------------------------------------------------------------- the meaning, in numpy


def reduce(name: str, array: Array, axes: tuple[int, ...]) -> Array:
    """`array` aggregated over the dimensions `axes`; over none of them every element is aggregated alone.

    Over a dimension of size 0 the result is the identity (NaN for mean). Raises DtypeError.
    """
    states = lift(name, array)
    if axes:  # numpy takes axis=() for nothing to do in some reductions, and refuses it in others
        with np.errstate(all="ignore"):
            states = _MEANING[name].fold(states, axes, monoid(name).identity(states[0].dtype.name))
    return finish(name, states)


def lift(name: str, array: Array) -> States:
    """The states of single elements: (x,); logsumexp: (x, 1); mean: (x, count 1). Raises DtypeError."""
    values = array.astype(monoid(name).result_dtype(array.dtype.name), copy=False)
    return (values, *_MEANING[name].counts(values, 1))


def identity_states(name: str, dtype: DType, shape: tuple[int, ...] = ()) -> States:
    """States of that shape that change nothing: over elements of `dtype`, before any element was seen."""
    row = monoid(name)
    first: Array = np.full(shape, row.identity(dtype), numpy_dtype(row.result_dtype(dtype)))
    return (first, *_MEANING[name].counts(first, 0))


def combine(name: str, left: States, right: States) -> States:
    """The states of all elements of both sides."""
    with np.errstate(all="ignore"):
        return _MEANING[name].combine(left, right)


def finish(name: str, states: States) -> Array:
    """The result that the states stand for."""
    with np.errstate(all="ignore"):
        return _MEANING[name].finish(states)


@dataclass(frozen=True, slots=True)
class _Meaning:
    """The monoid on states. The first state has the dtype of the result; `counts` says how the second one starts."""

    combine: Callable[[States, States], States]
    fold: Callable[[States, tuple[int, ...], Number], States]  # `combine` over whole dimensions, from the identity
    finish: Callable[[States], Array]
    counts: Callable[[Array, int], States]  # beside these values, each of that many elements


def _of_ufunc(ufunc: np.ufunc) -> _Meaning:
    """The state is the result; max and min hand NaN on."""

    def combine(left: States, right: States) -> States:
        return (np.asarray(ufunc(left[0], right[0])),)

    def fold(states: States, axes: tuple[int, ...], identity: Number) -> States:
        return (np.asarray(ufunc.reduce(states[0], axes, states[0].dtype, initial=identity)),)

    return _Meaning(combine, fold, lambda states: states[0], lambda values, count: ())


def _combine_logsumexp(left: States, right: States) -> States:
    """(m, s) with s = sum exp(x - m). Source: Milakov, Gimelshein 2018, arXiv 1805.02867."""
    largest = np.maximum(left[0], right[0])
    return largest, np.add(_scaled(left, largest), _scaled(right, largest))


def _fold_logsumexp(states: States, axes: tuple[int, ...], identity: Number) -> States:
    largest = np.maximum.reduce(states[0], axes, keepdims=True, initial=identity)
    return largest.squeeze(axes), np.add.reduce(_scaled(states, largest), axes, states[0].dtype)


def _scaled(states: States, largest: Array) -> Array:
    """The sum of a logsumexp state, relative to `largest` instead of its own maximum."""
    # Where that is its own the weight is 1, and not exp(m - m), which would be NaN for infinities.
    weight = np.where(states[0] == largest, np.ones_like(states[0]), np.exp(np.subtract(states[0], largest)))
    return np.multiply(states[1], weight)


def _combine_mean(left: States, right: States) -> States:
    return np.add(left[0], right[0]), np.add(left[1], right[1])


def _fold_mean(states: States, axes: tuple[int, ...], identity: Number) -> States:
    return np.add.reduce(states[0], axes, states[0].dtype), np.add.reduce(states[1], axes)


_MEANING: dict[str, _Meaning] = {
    "sum": _of_ufunc(np.add),
    "prod": _of_ufunc(np.multiply),
    "max": _of_ufunc(np.maximum),
    "min": _of_ufunc(np.minimum),
    "any": _of_ufunc(np.logical_or),
    "all": _of_ufunc(np.logical_and),
    "logsumexp": _Meaning(
        _combine_logsumexp,
        _fold_logsumexp,
        finish=lambda states: np.asarray(np.add(states[0], np.log(states[1]))),
        counts=lambda values, count: (np.full_like(values, count),),
    ),
    "mean": _Meaning(
        _combine_mean,
        _fold_mean,
        finish=lambda states: np.asarray(np.divide(states[0], states[1].astype(states[0].dtype))),
        counts=lambda values, count: (np.full(values.shape, count, np.int64),),
    ),
}
