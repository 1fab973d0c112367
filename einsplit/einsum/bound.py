"""Spec + operands' shapes and dtypes + join + aggregation -> BoundEinsum: everything checked, nothing computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from einsplit.errors import DtypeError, EinsplitError, NotationError, Place, ShapeError, advice, did_you_mean
from einsplit.monoid import MONOIDS, monoid
from einsplit.notation import Bound, Dims, Label, Spec, bind, dims_shape, flat
from einsplit.scalar import (
    Expr,
    const,
    labels_of,
    operand,
    operands_of,
    parse_join,
    result_dtype,
    to_text,
    trace_join,
)

__all__ = ["BoundEinsum", "Join", "at_operand", "bind_einsum", "flat"]

MAX_ELEMENTS = 2**47  # of a result: more than any machine's memory

Join = str | Expr | Callable[..., object] | None


@dataclass(frozen=True, slots=True)
class BoundEinsum:
    """An einsum that met its operands."""

    spec: Spec
    operands: tuple[Dims, ...]
    out: Dims
    sizes: Mapping[Label, int]  # of every label
    join: Expr
    agg: str
    aggregated: tuple[Label, ...]  # the labels that are not in the output
    join_dtype: str
    dtype: str  # of the result: the join's own where nothing is aggregated

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return dims_shape(self.out, self.sizes)

    def factor_shape(self, dims: Dims) -> tuple[int, ...]:
        """One dimension for each label."""
        return tuple(self.sizes[label] for label in flat(dims))


def bind_einsum(
    spec: Spec,
    shapes: Sequence[tuple[int, ...]],
    dtypes: Sequence[str],
    join: Join,
    agg: str,
    sizes: Mapping[str, int],
) -> BoundEinsum:
    """The einsum `spec` of operands of these shapes and dtypes; `sizes` are those given by name.

    Raises NotationError, ShapeError or DtypeError for whatever does not fit.
    """
    _check_aggregation(agg)
    bound = bind(spec, shapes, sizes)
    out = bound.outputs[0]
    num_elements = prod(dims_shape(out, bound.sizes))
    if num_elements > MAX_ELEMENTS:
        mistake = f"the result would have {num_elements:,} elements: {spec.text}"
        raise ShapeError(mistake, "Check the sizes given by name.")
    expr = _expr(join, bound)
    met = dict.fromkeys(label for dims in bound.operands for label in flat(dims))
    met.update(dict.fromkeys(label for label in bound.sizes if label in labels_of(expr)))
    aggregated = tuple(label for label in met if label not in flat(out))
    join_dtype = result_dtype(expr, tuple(dtypes))
    dtype = _aggregated_dtype(agg, expr, join_dtype) if aggregated else join_dtype
    return BoundEinsum(spec, bound.operands, out, bound.sizes, expr, agg, aggregated, join_dtype, dtype)


def _expr(join: Join, bound: Bound) -> Expr:
    """The join as an expression; the product of all operands for None. Raises NotationError."""
    num_operands = len(bound.operands)
    if join is None:
        return _product(0, num_operands) if num_operands else const(1)
    if isinstance(join, str):
        return parse_join(join, num_operands, bound.sizes)
    if not isinstance(join, Expr) and not callable(join):
        raise NotationError(f"a join is a text or a function, not {type(join).__name__}.")
    expr = join if isinstance(join, Expr) else trace_join(join, num_operands)
    _check_expr(expr, num_operands, bound.sizes)
    return expr


def _product(start: int, stop: int) -> Expr:
    """All operands from `start` on multiplied; by halves, since a tree of two hundred would be too deep otherwise."""
    middle = (start + stop + 1) // 2
    return operand(start) if stop - start == 1 else _product(start, middle) * _product(middle, stop)


def _check_expr(expr: Expr, num_operands: int, sizes: Mapping[str, int]) -> None:
    """The laws that parse_join holds by itself: operands and labels are there. Raises NotationError."""
    text = to_text(expr)
    for label in sorted(labels_of(expr)):
        if label not in sizes:
            known = f"Labels here: {' '.join(sizes) or 'none'}."
            start = text.index(f"index({label})") + len("index(")
            error = NotationError(f"unknown label {label!r}.", did_you_mean(label, sizes), known)
            raise error.at(text, (start, start + len(label)))
    if max(operands_of(expr), default=-1) >= num_operands:
        raise NotationError(f"the join asks for operand {max(operands_of(expr))} of {num_operands}.", text)


def _check_aggregation(agg: object) -> None:
    """Raises NotationError, with its place in the call, for one that is none."""
    try:
        if not isinstance(agg, str):
            mistake = f"an aggregation is given by its name, not by {type(agg).__name__}."
            raise NotationError(mistake, advice(agg, MONOIDS))
        monoid(agg)
    except NotationError as error:
        text = f"agg={agg!r}"
        raise error.at(text, (len("agg="), len(text))) from None


def _aggregated_dtype(agg: str, join: Expr, dtype: str) -> str:
    """The dtype of the aggregate of elements of `dtype`. Raises DtypeError with the join."""
    try:
        return monoid(agg).result_dtype(dtype)
    except DtypeError as error:
        text = to_text(join)
        place = Place(text, (0, len(text)))
        raise DtypeError(error.mistake, f"The join gives {dtype}.", *error.remarks, place=place) from None


def at_operand(spec: Spec, position: int, error: type[EinsplitError], mistake: str, *remarks: str) -> EinsplitError:
    """An error that points at one operand in the text."""
    span = spec.operands[position].span if position < len(spec.operands) else (len(spec.text), len(spec.text))
    return error(mistake, *remarks, place=Place(spec.text, span))
