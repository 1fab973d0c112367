"""What the rules of several families are made of: pointwise joins, reductions and contractions over values."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from einsplit.builder import variable_index
from einsplit.capture.formulas import Formula, dtype_name
from einsplit.capture.reader import Known, Reader
from einsplit.scalar import Expr, cast, const, index, operand, substitute
from einsplit.settle import VariableDims
from einsplit.views import Value, expand


def is_tensor(argument: object) -> bool:
    return isinstance(argument, (Value, Formula, torch.Tensor))


def shape_of(known: object) -> tuple[int, ...]:
    return tuple(known.shape) if isinstance(known, (Value, Formula, torch.Tensor)) else ()


def dtype_of(known: object) -> str:
    if isinstance(known, torch.Tensor):
        return dtype_name(known.dtype)
    assert isinstance(known, (Value, Formula)), known
    return known.dtype


def torch_dtype(name: str) -> torch.dtype:
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found


def promoted(*arguments: object) -> str:
    """The dtype in which torch computes on these tensors and numbers."""
    samples = [
        torch.empty(shape_of(a), dtype=torch_dtype(dtype_of(a)), device="meta") if is_tensor(a) else a
        for a in arguments
    ]
    dtype = torch.result_type(samples[0], samples[1]) if len(samples) > 1 else samples[0].dtype  # type: ignore
    for sample in samples[2:]:
        dtype = torch.promote_types(dtype, sample.dtype) if isinstance(sample, torch.Tensor) else dtype
    return dtype_name(dtype)


def argument_expr(argument: object, position: int, dtype: str | None) -> Expr:
    """Operand `position`, or the number itself, cast to `dtype` where it is of another."""
    if not is_tensor(argument):
        assert isinstance(argument, (bool, int, float)), argument
        return cast(const(argument), dtype) if dtype else const(argument)
    expr = operand(position)
    return cast(expr, dtype) if dtype and dtype_of(argument) != dtype else expr


def elementwise(reader: Reader, expr: Expr, *arguments: Known, shape: Sequence[int] | None = None) -> Value | Formula:
    """`expr` of the broadcast arguments, element by element; formulas among them enter the join."""
    full = tuple(shape) if shape is not None else tuple(torch.broadcast_shapes(*map(shape_of, arguments)))
    known = [reader.formula(argument) for argument in arguments]
    values = [value for value in known if isinstance(value, Value)]
    if not values:
        lifted = {k: shifted(f, len(full)) for k, f in enumerate(known) if isinstance(f, Formula)}
        return Formula(full, substitute(expr, lifted, {}), reader.dtype)
    dims = reader.builder.variables(full)
    seen = list(dict.fromkeys(values))  # x * x reads x once
    replaced: dict[int, Expr] = {}
    for k, item in enumerate(known):
        if isinstance(item, Value):
            replaced[k] = operand(seen.index(item))
        else:
            labels = {str(d): variable_index(dim[0]) for d, dim in enumerate(dims)}
            replaced[k] = substitute(shifted(item, len(full)), {}, labels)
    join = substitute(expr, replaced, {})
    return reader.builder.einsum([(expand(v, full), dims) for v in seen], dims, join, "sum", reader.origin)


def shifted(formula: Formula, ndim: int) -> Expr:
    """The formula's expression when its dimensions are the last of `ndim`; along a size 1 the index is 0."""
    shift = ndim - len(formula.shape)
    moved = {str(k): index(str(k + shift)) if size != 1 else const(0) for k, size in enumerate(formula.shape)}
    return substitute(formula.expr, {}, moved)


def reduce_dims(
    reader: Reader, known: Known, dims: Sequence[int], keep: bool, agg: str, expr: Expr | None = None
) -> Value:
    """`agg` of `expr` (of operand 0) over dimensions; a kept dimension has size 1."""
    value = reader.value(known)
    gone = {k % max(value.ndim, 1) for k in dims}
    labels = reader.builder.variables(value.shape)
    kept = tuple(() if k in gone else dim for k, dim in enumerate(labels) if keep or k not in gone)
    return reader.builder.einsum([(value, labels)], kept, operand(0) if expr is None else expr, agg, reader.origin)


def contract(reader: Reader, text: str, *operands: Known) -> Value:
    """A sum of products in numpy's letters, `...` for leading dimensions that broadcast."""
    read, _, written = text.partition("->")
    values = [reader.value(known) for known in operands]
    terms = read.split(",")
    leading = torch.broadcast_shapes(
        *(v.shape[: v.ndim - len(t.replace("...", ""))] for v, t in zip(values, terms, strict=True) if "..." in t), ()
    )
    variables: dict[str, int] = {}
    batch = reader.builder.variables(leading)
    readings: list[tuple[Value, VariableDims]] = []
    for value, term in zip(values, terms, strict=True):
        letters = term.replace("...", "")
        if "..." in term:
            value = expand(value, (*leading, *value.shape[value.ndim - len(letters) :]))
        sizes = value.shape[value.ndim - len(letters) :]
        for letter, size in zip(letters, sizes, strict=True):
            if letter not in variables:
                variables[letter] = reader.builder.variable(size)
        readings.append((value, (*(batch if "..." in term else ()), *((variables[letter],) for letter in letters))))
    out = (*(batch if "..." in written else ()), *((variables[letter],) for letter in written.replace("...", "")))
    join = operand(0)
    for k in range(1, len(values)):
        join = join * operand(k)
    return reader.builder.einsum(readings, out, join, "sum", reader.origin)
