"""Any other operator: a kernel under torch's own name.

Its labels are free where torch calls it pointwise, and those that a row of `batched` leaves free; others are whole.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

import torch
from torch.utils.flop_counter import FlopCounterMode

from einsplit.builder import Builder
from einsplit.builder.settle import VariableDims
from einsplit.builder.views import Value, expand
from einsplit.capture.dtypes import dtype_name
from einsplit.capture.formulas import Formula
from einsplit.capture.reader import Reader
from einsplit.capture.rules.others.batched import LINEAR_ALGEBRA, Call, Signature, signature
from einsplit.capture.torch_private import Operator
from einsplit.dtypes import kind
from einsplit.kernels.aten import recorded_arguments
from einsplit.torch_dtypes import torch_dtype

# Torch raises where an integer is divided by 0, and the padding of a cut label may be 0.
_DIVIDES = ("aten.div.", "aten.fmod.", "aten.remainder.", "aten.floor_divide.", "aten.gcd.", "aten.lcm.")

_Labels = tuple[list[VariableDims], list[VariableDims], frozenset[int]]  # of operands, of results; those that are whole


def unknown(reader: Reader, target: Operator, *args: object, **kwargs: object) -> object:
    """The operator as an `aten` kernel, which has torch's own results."""
    results = kernel_of(reader, target, args, kwargs, reader.metas)
    return results if reader.is_list else results[0]


def kernel_of(
    reader: Reader,
    target: Operator,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    metas: Sequence[torch.Tensor],
    part: str = "",
) -> list[Value]:
    """An operator as an `aten` kernel; `metas`: shape and dtype of each of its results."""
    values: list[Value] = []
    template = [_template(reader, args, values), _template(reader, dict(kwargs), values)]
    attributes: dict[str, object] = {"op": str(target), "args": template[0], "kwargs": template[1]}
    shapes = [tuple(meta.shape) for meta in metas]
    dtypes = [dtype_name(meta.dtype) for meta in metas]
    builder = reader.builder
    raises = str(target).startswith(_DIVIDES) and kind(dtypes[0]) == "int"
    if torch.Tag.pointwise in target.tags and not raises and len(shapes) == 1:
        dims = builder.variables(shapes[0])
        operands = [(expand(value, shapes[0]), dims) for value in values]
        return list(builder.kernel("aten", operands, [(dims, dtypes[0])], reader.origin(part), attributes=attributes))
    found = signature(str(target), Call(args, kwargs, [value.shape for value in values], shapes))
    reads, outs, whole = _every_label_whole(builder, values, shapes) if found is None else _labels(builder, found)
    if found is not None and str(target) in LINEAR_ALGEBRA:
        attributes["padding"] = "identity"
    results = builder.kernel(
        "aten",
        list(zip(values, reads, strict=True)),
        list(zip(outs, dtypes, strict=True)),
        reader.origin(part),
        brackets=whole,
        attributes=attributes,
        operations=_num_operations(attributes, values, target),
    )
    return list(results)


def _every_label_whole(builder: Builder, values: Sequence[Value], shapes: Sequence[tuple[int, ...]]) -> _Labels:
    reads = [builder.variables(value.shape) for value in values]
    outs = [builder.variables(shape) for shape in shapes]
    return reads, outs, frozenset(variable for dims in (*reads, *outs) for (variable,) in dims)


def _labels(builder: Builder, found: Signature) -> _Labels:
    variables = {label: builder.variable(size) for label, size in found.sizes.items()}
    reads, outs = (
        [tuple(tuple(variables[label] for label in dim) for dim in dims) for dims in rows]
        for rows in (found.operands, found.results)
    )
    return reads, outs, frozenset(variables[label] for label in found.brackets)


def _num_operations(attributes: Mapping[str, object], values: Sequence[Value], target: Callable[..., object]) -> int:
    """What torch's own counter makes of the operator on tensors without data; 0 where it does not know it."""
    metas = [torch.empty(value.shape, dtype=torch_dtype(value.dtype), device="meta") for value in values]
    args, kwargs = recorded_arguments(attributes, metas)
    counter = FlopCounterMode(display=False)
    with contextlib.suppress(Exception), torch.no_grad(), counter:  # an operator may have no rule for such tensors
        target(*args, **kwargs)
    return counter.get_total_flops()


def _template(reader: Reader, argument: object, values: list[Value]) -> object:
    """The argument as JSON, tensors by their position among the kernel's operands."""
    if isinstance(argument, (Value, Formula, torch.Tensor)):
        value = reader.value(argument)
        if value not in values:
            values.append(value)
        return {"tensor": values.index(value)}
    if isinstance(argument, Sequence) and not isinstance(argument, str):
        return [_template(reader, part, values) for part in argument]
    if isinstance(argument, Mapping):
        return {str(key): _template(reader, part, values) for key, part in argument.items()}
    if isinstance(argument, torch.dtype):
        return {"dtype": dtype_name(argument)}
    if isinstance(argument, (torch.device, torch.layout, torch.memory_format)):
        return {"drop": True}
    if isinstance(argument, float) and argument - argument != 0:
        return {"float": str(argument)}
    if isinstance(argument, complex):
        return {"complex": [str(argument.real), str(argument.imag)]}
    if argument is None or isinstance(argument, (bool, int, float, str)):
        return argument
    kind_of = type(argument).__name__
    raise reader.error(f"{reader.target} has a {kind_of} among its arguments", f"Pass no {kind_of} here.")
