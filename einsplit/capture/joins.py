"""What the rules of several families are made of: pointwise joins, reductions and contractions over values.

Half precision: torch computes one operator on float16 or bfloat16 in float32 and rounds once, at its end. So do joins
of more than one operation, and aggregations that would overflow on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from einsplit.builder import variable_index
from einsplit.builder.settle import VariableDims
from einsplit.builder.views import Value, expand
from einsplit.capture.dtypes import dtype_name
from einsplit.capture.formulas import Formula
from einsplit.capture.reader import Known, Reader
from einsplit.dtypes import HALF, kind, wide
from einsplit.scalar import (
    Expr,
    call,
    cast,
    const,
    index,
    num_operations,
    operand,
    operands_of,
    result_dtype,
    substitute,
)
from einsplit.torch_dtypes import torch_dtype

Scalar = bool | int | float
Argument = Known | Scalar

_MAX_DEPTH = 30  # a deeper formula becomes a node of its own: joins are bounded


def is_tensor(argument: object) -> bool:
    return isinstance(argument, (Value, Formula, torch.Tensor))


def shape_of(known: object) -> tuple[int, ...]:
    return tuple(known.shape) if isinstance(known, (Value, Formula, torch.Tensor)) else ()


def dtype_of(known: object) -> str:
    if isinstance(known, torch.Tensor):
        return dtype_name(known.dtype)
    assert isinstance(known, (Value, Formula)), known
    return known.dtype


def widened(position: int, dtype: str) -> Expr:
    """Operand `position`, of `dtype`, in the dtype that torch computes in."""
    return cast(operand(position), wide(dtype)) if dtype in HALF else operand(position)


def scaled(expr: Expr, factor: Scalar) -> Expr:
    return expr if factor == 1 else expr * const(factor)


def broadcast(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that shapes of any length, aligned at their ends, have in common."""
    ndim = max(map(len, shapes), default=0)
    columns = zip(*((*(1 for _ in range(ndim - len(shape))), *shape) for shape in shapes), strict=True)
    return tuple(next((size for size in column if size != 1), 1) for column in columns)


def promoted(x: Argument, y: Argument) -> str:
    """The dtype in which torch computes on these tensors and numbers."""
    left, right = (
        torch.empty(shape_of(a), dtype=torch_dtype(dtype_of(a)), device="meta")
        if isinstance(a, (Value, Formula, torch.Tensor))
        else a
        for a in (x, y)
    )
    return dtype_name(torch.result_type(left, right))


def pointwise(reader: Reader, make: Callable[..., Expr], *arguments: Argument, dtype: str) -> Value | Formula:
    """`make` of the arguments cast to `dtype`; of half precision, in float32 where that is another number."""
    tensors = [a for a in arguments if isinstance(a, (Value, Formula, torch.Tensor))]
    expr = make(*_cast_arguments(arguments, dtype))
    if dtype in HALF and (num_operations(expr) > 1 or any(_is_rounded(a, dtype) for a in arguments)):
        found = make(*_cast_arguments(arguments, wide(dtype)))
        types = [dtype_of(tensor) for tensor in tensors]
        expr = found if result_dtype(found, types) == "bool" else cast(found, dtype)
    return elementwise(reader, expr, *tensors)


def _cast_arguments(arguments: Sequence[Argument], dtype: str) -> list[Expr]:
    """Tensors as operands, numbers as constants, all of `dtype`."""
    exprs: list[Expr] = []
    position = 0
    for argument in arguments:
        if isinstance(argument, (bool, int, float)):
            exprs.append(cast(const(argument), dtype))
            continue
        expr = operand(position)
        exprs.append(cast(expr, dtype) if dtype_of(argument) != dtype else expr)
        position += 1
    return exprs


def _is_rounded(argument: Argument, dtype: str) -> bool:
    """Whether the argument is a number, or of a dtype, that loses something in `dtype`."""
    if isinstance(argument, (bool, int, float)):
        exact = torch.tensor(float(argument), dtype=torch.float64)
        return bool(exact.to(torch_dtype(dtype)) != exact)
    return dtype_of(argument) not in (dtype, "bool")


def elementwise(reader: Reader, expr: Expr, *arguments: Known, part: str = "") -> Value | Formula:
    """`expr` of the broadcast arguments, element by element; formulas among them enter the join."""
    full = broadcast(*map(shape_of, arguments))
    known = [reader.formula(argument) for argument in arguments]
    values = list(dict.fromkeys(item for item in known if isinstance(item, Value)))  # x * x reads x once
    if not values:
        lifted = {k: shifted(item, len(full)) for k, item in enumerate(known) if isinstance(item, Formula)}
        found = substitute(expr, lifted, {})
        formula = Formula(full, found, result_dtype(found, ()))
        return formula if found.depth <= _MAX_DEPTH else reader.value(formula)
    dims = reader.builder.variables(full)
    labels = {str(d): variable_index(variable) for d, (variable,) in enumerate(dims)}
    replaced: dict[int, Expr] = {}
    for k, item in enumerate(known):
        if isinstance(item, Value):
            replaced[k] = operand(values.index(item))
        else:
            replaced[k] = substitute(shifted(item, len(full)), {}, labels)
    join = substitute(expr, replaced, {})
    read = sorted(operands_of(join))
    if len(read) < len(values):  # a formula took the place of what would have been read
        values = [values[k] for k in read]
        join = substitute(join, {k: operand(at) for at, k in enumerate(read)}, {})
    operands = [(expand(value, full), dims) for value in values]
    return reader.builder.einsum(operands, dims, join, "sum", reader.origin(part))


def stopped(reader: Reader, x: Known) -> Known:
    """The tensor behind a stop_gradient; itself where it has no gradient anyway."""
    has_gradient = isinstance(x, Value) and kind(x.dtype) in ("float", "complex")
    return elementwise(reader, call("stop_gradient", operand(0)), x, part="detached") if has_gradient else x


def in_dtype(reader: Reader, x: Known, dtype: str, part: str = "cast") -> Known:
    """The tensor in another dtype; itself where it has it."""
    return x if dtype_of(x) == dtype else elementwise(reader, cast(operand(0), dtype), x, part=part)


def shifted(formula: Formula, ndim: int) -> Expr:
    """The formula's expression when its dimensions are the last of `ndim`; along a size 1 the index is 0."""
    shift = ndim - len(formula.shape)
    moved = {str(k): index(str(k + shift)) if size != 1 else const(0) for k, size in enumerate(formula.shape)}
    return substitute(formula.expr, {}, moved)


def reduce_dims(
    reader: Reader, x: Known, dims: Sequence[int], keep: bool, agg: str, expr: Expr | None = None, part: str = ""
) -> Value:
    """`agg` of `expr` (of operand 0) over dimensions; a kept dimension has size 1."""
    value = reader.value(x)
    gone = {k % max(value.ndim, 1) for k in dims}
    labels = reader.builder.variables(value.shape)
    kept = tuple(() if k in gone else dim for k, dim in enumerate(labels) if keep or k not in gone)
    join = operand(0) if expr is None else expr
    return reader.builder.einsum([(value, labels)], kept, join, agg, reader.origin(part))


def refuse_mixed(reader: Reader, *operands: Known | None) -> None:
    """Raise CaptureError where the operands that there are have several dtypes: torch traces that, and runs it not."""
    dtypes = list(dict.fromkeys(dtype_of(known) for known in operands if known is not None))
    if len(dtypes) > 1:
        message = f"{reader.target} is given tensors of {' and '.join(dtypes)}, and takes one dtype, as in torch"
        raise reader.error(message, "Cast one of them, x.to(weight.dtype), or run under torch.autocast.")


def contract(reader: Reader, text: str, *operands: Known, part: str = "", dtype: str | None = None) -> Value:
    """A sum of products in numpy's letters, `...` for leading dimensions that broadcast, as letters of size 1 do.

    The result has the operands' dtype, or the one that is given: torch sums small integers in some operators as such.
    """
    read, _, written = text.partition("->")
    refuse_mixed(reader, *operands)
    values = [reader.value(known) for known in operands]
    terms = read.split(",")
    letters = [term.replace("...", "") for term in terms]
    leading = [v.ndim - len(row) if "..." in term else 0 for v, row, term in zip(values, letters, terms, strict=True)]
    shape = broadcast(*(value.shape[:count] for value, count in zip(values, leading, strict=True)))
    batch = reader.builder.variables(shape)
    sizes: dict[str, int] = {}
    for value, row, count in zip(values, letters, leading, strict=True):
        for letter, size in zip(row, value.shape[count:], strict=True):
            if 1 not in (size, sizes.get(letter, size)) and size != sizes.get(letter, size):
                shapes = ", ".join(str(list(v.shape)) for v in values)
                message = f"a product of {shapes} as {text} sums over sizes {sizes[letter]} and {size}"
                raise reader.error(message, "Give both operands the same number of features.")
            sizes[letter] = size if sizes.get(letter, 1) == 1 else sizes[letter]
    variables = {letter: (reader.builder.variable(size),) for letter, size in sizes.items()}
    readings: list[tuple[Value, VariableDims]] = []
    for value, row, term in zip(values, letters, terms, strict=True):
        front = batch if "..." in term else ()
        full = [*(shape if "..." in term else ()), *(sizes[letter] for letter in row)]
        readings.append((expand(value, full), (*front, *(variables[letter] for letter in row))))
    out = (*(batch if "..." in written else ()), *(variables[letter] for letter in written.replace("...", "")))
    join = operand(0)
    for k in range(1, len(values)):
        join = join * operand(k)
    found = reader.builder.einsum(readings, out, join, "sum", reader.origin(part))
    return reader.value(in_dtype(reader, found, dtype or values[0].dtype))  # sums of small integers are int64


def at_key(key: Expr, label: Expr, x: Expr, zero: Expr, holds: Expr | None = None) -> Expr:
    """`where(key == index(l), x, 0)`, the join of two tensors by a key; where given, only if `holds` is true as well.

    Either of the two may be the index. Their order and the zero stay as they are given: a Graph's hash depends on both.
    """
    met = call("eq", key, label)
    return call("where", met if holds is None else call("and", met, holds), x, zero)


def pick(reader: Reader, value: Value, dim: int, at: int) -> Value:
    """`sum over l of where(index(l) == at, x, 0)`, which the runtime carries out as a slice."""
    if all(not factor.carried for factor in value.dims[dim]):
        return replace(value, dims=value.dims[:dim] + value.dims[dim + 1 :])
    labels = reader.builder.variables(value.shape)
    out = labels[:dim] + labels[dim + 1 :]
    if value.dtype == "bool":
        zero, agg = const(False), "any"
    else:
        zero, agg = cast(const(0), value.dtype), "sum"
    join = at_key(variable_index(labels[dim][0]), const(at), operand(0), zero)
    picked = reader.builder.einsum([(value, labels)], out, join, agg, reader.origin())
    return reader.value(in_dtype(reader, picked, value.dtype))  # sums of small integers are int64
