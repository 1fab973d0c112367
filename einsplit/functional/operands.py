"""What a formula asks of its operands before it is written: shape and dtype, whoever they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn, TypeVar

import numpy as np

from einsplit.builder.views import Value
from einsplit.dtypes import kind
from einsplit.einsum.kinds import as_arrays
from einsplit.errors import DtypeError, EinsplitError, Place, ShapeError
from einsplit.monoid import Array
from einsplit.notation import bind, parse_spec

if TYPE_CHECKING:
    from torch import Tensor

X = TypeVar("X", Value, Array, "Tensor")  # every operand of a formula, and its result


def shape_of(x: object) -> tuple[int, ...]:
    """The size of each dimension of an array, a tensor or a symbolic value; of a list, as numpy reads it."""
    shape = getattr(x, "shape", None)
    return _array(x).shape if shape is None else tuple(shape)


def dtype_of(x: object) -> str:
    """The name of its dtype."""
    dtype = getattr(x, "dtype", None)
    found = _array(x).dtype if dtype is None else dtype
    return found.name if isinstance(found, np.dtype) else str(found).removeprefix("torch.")


def _array(x: object) -> Array:
    """A list or a number as numpy reads it. Raises ShapeError or DtypeError where it cannot."""
    return as_arrays(parse_spec("... -> ..."), [x])[0]


def wide_of(x: object) -> str:
    """The dtype that angles are computed in: of halves, which hold no large position, it is float32."""
    return "float64" if dtype_of(x) == "float64" else "float32"


def check_integers(text: str, position: int, x: object, what: str) -> None:
    """Raises DtypeError, pointing at the operand in `text`, where `x` is not of integers."""
    if kind(dtype_of(x)) != "int":
        mistake = f"{what} are integers, not {dtype_of(x)}."
        raise DtypeError(mistake, "Cast them to int64.", place=_operand(text, position))


def check_shapes(text: str, operands: Sequence[object], sizes: Mapping[str, int]) -> None:
    """Raises ShapeError, pointing into `text`, where the shapes of the operands are not those that it names."""
    bind(parse_spec(text), [shape_of(x) for x in operands], sizes)


def refuse_shape(text: str, position: int, mistake: str, *remarks: str) -> NoReturn:
    """Raises ShapeError that points at an operand in `text`."""
    raise ShapeError(mistake, *remarks, place=_operand(text, position))


def each_dimension(name: str, given: int | Sequence[int], num_dimensions: int, least: int) -> tuple[int, ...]:
    """`given` for every dimension: one number for all, or one for each.

    Raises EinsplitError where there are more or fewer numbers, or one is no integer, or smaller than `least`.
    """
    found = (given,) * num_dimensions if not isinstance(given, Sequence) else tuple(given)
    if not all(isinstance(number, int) for number in found):
        raise EinsplitError(f"{name}={given!r}.", "Give an integer, or one for each dimension.")
    if len(found) != num_dimensions:
        remark = f"Give one number, or {num_dimensions}."
        raise EinsplitError(f"{name}={given!r} has {len(found)} numbers for {num_dimensions} dimensions.", remark)
    if min(found, default=least) < least:
        raise EinsplitError(f"{name}={given!r}.", f"It is {least} or more.")
    return found


def _operand(text: str, position: int) -> Place:
    return Place(text, parse_spec(text).operands[position].span)
