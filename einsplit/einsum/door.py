"""`einsum`: one call for arrays, tensors and values that are not there yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from einsplit.builder.views import Value
from einsplit.einsum.bound import BoundEinsum, Join, bind_einsum
from einsplit.einsum.kinds import as_arrays, as_tensors, as_values, owner_of, tensor_dtype
from einsplit.einsum.symbolic import symbolic_einsum
from einsplit.errors import NotationError
from einsplit.evaluate import Read, einsum_value
from einsplit.monoid import Array
from einsplit.notation import Spec, flat, parse_spec
from einsplit.scalar import Expr

if TYPE_CHECKING:
    from torch import Tensor


ArrayOperand = NDArray[np.generic] | np.generic | complex | Sequence[object]


@overload
def einsum(
    spec: str, first: Value, /, *operands: Value, join: Join = None, agg: str = "sum", **sizes: int
) -> Value: ...
@overload
def einsum(
    spec: str, first: Tensor, /, *operands: Tensor, join: Join = None, agg: str = "sum", **sizes: int
) -> Tensor: ...
@overload
def einsum(spec: str, /, *operands: ArrayOperand, join: Join = None, agg: str = "sum", **sizes: int) -> Array: ...
def einsum(
    spec: str,
    /,
    *operands: object,
    join: Join = None,
    agg: str = "sum",
    **sizes: int,
) -> object:
    """`result[out] = agg over the labels not in out of join(operands, label indices)`, a new tensor.

        einsum("b s a, a f -> b s f", x, w)                                        sum of products
        einsum("i j, j k -> i k", x, y, join="abs(x - y)", agg="max")              largest difference
        einsum("b s, v d -> b s d", ids, table, join="where(x == index(v), y, 0)")  table lookup
        einsum("b (h d) -> b h d", x, h=8)                                         split a dimension

    Labels are words parted by blanks or, where no operand has a blank inside it, numpy's letters. `(h d)` is one
    dimension of several labels, `1` one of size 1, `...` any number of leading ones; a label twice in an operand
    is its diagonal. Without an arrow the output is numpy's: labels that stand once, sorted. A label that no
    operand has takes its size from `sizes`, which also tells the parts of `(h d)`.

    `join` is text over x, y, z (x0, x1 ... with more operands) or a function of as many scalars; without it, the
    product. `agg` is one of sum prod max min any all logsumexp mean. Elements meet in equal dtypes only; integers
    are summed and multiplied up in int64; where every label stands in the output, `agg` does nothing.

    numpy arrays (lists and numbers too) give a numpy array. torch tensors give a tensor, with gradients; while
    torch.export traces, the call stays one operator. Symbolic values give a node of their builder's graph.
    numpy's `optimize=` and its form with lists of integers instead of a text are not taken: paths are chosen here.

    Raises NotationError, ShapeError or DtypeError that point at the mistake.
    """
    read = _read(spec)
    owner = owner_of(read, operands)

    def bound(shapes: Iterable[tuple[int, ...]], dtypes: Iterable[str]) -> BoundEinsum:
        # Remembered where all of it can be told apart by value: a model asks for the same few in every step.
        plain = isinstance(agg, str) and all(type(size) is int for size in sizes.values())
        is_plain = plain and (join is None or isinstance(join, (str, Expr)))
        bind = _bound if is_plain else _bound.__wrapped__
        return bind(spec, tuple(shapes), tuple(dtypes), join, agg, tuple(sizes.items()))

    if owner == "symbolic":
        values = as_values(read, operands)
        return symbolic_einsum(bound((x.shape for x in values), (x.dtype for x in values)), values)
    if owner == "torch":
        # The one way from the core to a door, taken only by who has loaded torch: `import einsplit` stays light.
        from einsplit.eager import einsum_tensors

        tensors = as_tensors(read, operands)
        return einsum_tensors(bound((tuple(x.shape) for x in tensors), map(tensor_dtype, tensors)), tensors)
    arrays = as_arrays(read, operands)
    return _einsum_arrays(bound((x.shape for x in arrays), (x.dtype.name for x in arrays)), arrays)


def _read(spec: object) -> Spec:
    if not isinstance(spec, str):
        mistake = f"an einsum begins with its text, not with {type(spec).__name__}."
        raise NotationError(mistake, "As in einsum('i j, j k -> i k', x, y).")
    return _parsed(spec)


_parsed = lru_cache(maxsize=512)(parse_spec)


@lru_cache(maxsize=512)
def _bound(
    spec: str,
    shapes: tuple[tuple[int, ...], ...],
    dtypes: tuple[str, ...],
    join: Join,
    agg: str,
    sizes: tuple[tuple[str, int], ...],
) -> BoundEinsum:
    return bind_einsum(_parsed(spec), shapes, dtypes, join, agg, dict(sizes))


def _einsum_arrays(bound: BoundEinsum, arrays: Sequence[Array]) -> Array:
    """The einsum's value, a new array of `bound.shape`."""
    reads = [
        Read(array.reshape(bound.factor_shape(dims)), flat(dims))
        for array, dims in zip(arrays, bound.operands, strict=True)
    ]
    value = einsum_value(reads, flat(bound.out), bound.join, bound.agg, bound.sizes, bound.dtype)
    return value.reshape(bound.shape)
