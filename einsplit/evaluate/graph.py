"""Graph + tensors by name -> tensors by name: what a Graph means, computed plainly, whole and in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from einsplit.dtypes import dtype_name, numpy_dtype
from einsplit.errors import DtypeError, GraphError, ShapeError, advice
from einsplit.evaluate.join import Read, aligned, diagonal, einsum_value
from einsplit.graph import Graph, Input, Kernel, dims_shape, dims_text, factors
from einsplit.kernels.registry import reference
from einsplit.monoid import Array
from einsplit.notation import flat


def evaluate(graph: Graph, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Every output by its name, and every update's next value under its input's name with a trailing "'".

    `tensors` holds the inputs by name. Raises GraphError for a missing or unknown name, ShapeError and DtypeError
    for a tensor that does not fit its input.
    """
    _check_names(graph, tensors)
    wanted = [at for _, at in graph.outputs] + [at for _, at in graph.updates]
    last_use = {operand.node: at for at, node in enumerate(graph.nodes) for operand in node.operands}
    values: dict[int, Array] = {}
    for at, node in enumerate(graph.nodes):
        reads = [Read(values[operand.node], operand.labels) for operand in node.operands]
        if isinstance(node, Input):
            values[at] = _input(graph, node, tensors[node.name])
        elif isinstance(node, Kernel):
            values[at] = _kernel(graph, node, reads)
        else:
            values[at] = einsum_value(reads, factors(node), node.join, node.agg, graph.sizes, node.dtype)
        for used in {operand.node for operand in node.operands}:
            if last_use[used] == at and used not in wanted:
                del values[used]
    found = {name: values[at].reshape(graph.shape(at)) for name, at in graph.outputs}
    found |= {f"{graph.nodes[s].name}'": values[at].reshape(graph.shape(at)) for s, at in graph.updates}
    return found


def _check_names(graph: Graph, tensors: Mapping[str, Array]) -> None:
    """Raises GraphError unless the tensors are the inputs, all and no others."""
    for name in graph.inputs:
        if name not in tensors:
            given = ", ".join(tensors) or "none"
            raise GraphError(f"input {name!r} of the graph is not given.", f"Given: {given}.")
    for name in tensors:
        if name not in graph.inputs:
            raise GraphError(f"the graph has no input {name!r}.", advice(name, graph.inputs, "Inputs"))


def _input(graph: Graph, node: Input, tensor: Array) -> Array:
    """The tensor, one dimension for each factor. Raises ShapeError or DtypeError where it does not fit."""
    array, shape = np.asarray(tensor), dims_shape(node.dims, graph.sizes)
    if array.shape != shape:
        remark = f"The graph has {dims_text(node.dims)} = {shape}."
        raise ShapeError(f"input {node.name!r} has shape {array.shape}.", remark)
    if dtype_name(array.dtype) != node.dtype:
        raise DtypeError(f"input {node.name!r} is {array.dtype}.", f"The graph has {node.dtype}.")
    return array.reshape(_factor_shape(graph, node))


def _factor_shape(graph: Graph, node: Input | Kernel) -> tuple[int, ...]:
    return tuple(graph.sizes[label] for label in factors(node))


def _kernel(graph: Graph, node: Kernel, reads: Sequence[Read]) -> Array:
    """The node's own one of the kernel's results, one dimension for each factor."""
    operands = []
    for read, dims in zip(reads, node.reads, strict=True):
        order = flat(dims)
        full = np.broadcast_to(aligned(diagonal(read), order), [graph.sizes[label] for label in order])
        operands.append(full.reshape(dims_shape(dims, graph.sizes)))
    attributes = msgspec.json.decode(node.attributes, type=dict[str, object])
    results = reference(node.kernel)(attributes, operands, dims_shape(node.dims, graph.sizes))
    value = results[node.output].reshape(_factor_shape(graph, node))
    return value.astype(numpy_dtype(node.dtype), copy=False)
