"""Any other operator: a kernel under torch's own name, whole, or free in every label where torch calls it pointwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from einsplit.capture.formulas import Formula, dtype_name
from einsplit.capture.reader import Reader
from einsplit.views import Value, expand


def unknown(reader: Reader, target: torch._ops.OpOverload, *args: object, **kwargs: object) -> object:
    """The operator as an `aten` kernel node for each of its results."""
    if target._schema.is_mutable:
        raise reader.error(f"{target} changes its arguments in place: use the form that returns a new tensor")
    assert reader.node is not None
    meta = reader.node.meta["val"]
    metas = list(meta) if isinstance(meta, (tuple, list)) else [meta]
    if not all(isinstance(part, torch.Tensor) for part in metas):
        raise reader.error(
            f"{target} returns {type(meta).__name__}, not tensors: its value would choose the path taken"
        )
    values: list[Value] = []
    template = [_template(reader, args, values), _template(reader, dict(kwargs), values)]
    attributes: dict[str, object] = {"op": str(target), "args": template[0], "kwargs": template[1]}
    shapes = [tuple(int(size) for size in part.shape) for part in metas]
    dtypes = [dtype_name(part.dtype) for part in metas]
    builder = reader.builder
    pointwise = torch.Tag.pointwise in target.tags and len(metas) == 1
    if pointwise:
        dims = builder.variables(shapes[0])
        operands = [(expand(value, shapes[0]), dims) for value in values]
        results = [(dims, dtypes[0])]
        return builder.kernel("aten", operands, results, reader.origin, attributes=attributes)[0]
    reads = [builder.variables(value.shape) for value in values]
    outs = [builder.variables(shape) for shape in shapes]
    whole = frozenset(variable for dims in (*reads, *outs) for (variable,) in dims)
    found = builder.kernel(
        "aten",
        list(zip(values, reads, strict=True)),
        list(zip(outs, dtypes, strict=True)),
        reader.origin,
        brackets=whole,
        attributes=attributes,
    )
    return list(found) if isinstance(meta, (tuple, list)) else found[0]


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
    if argument is None or isinstance(argument, (bool, int, float, str)):
        return argument
    raise reader.error(f"an argument of type {type(argument).__name__} cannot be recorded")
