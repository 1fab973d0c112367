"""The meaning of a Graph in plain torch operators, so that torch.autograd gives its gradients.

An oracle: of the package it knows the Graph's own structures and nothing else. What happens at ties, at zeros of a
product, where nothing is aggregated and where all is -inf is torch's word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from math import prod

import msgspec
import numpy as np
import torch
from torch import Tensor

from einsplit.graph import Einsum, Graph, Input, Kernel, Label, Node
from einsplit.scalar import Expr


def torch_gradients(graph: Graph, feeds: Mapping[str, np.ndarray], of: str, wrt: Sequence[str]) -> list[np.ndarray]:
    """torch.autograd's gradients of one output by some inputs; 0 where the output does not depend on one."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in feeds.items()}
    wanted = [tensors[name].requires_grad_() for name in wrt]
    return [found.numpy() for found in gradients(torch_meaning(graph, tensors)[of], wanted)]


def gradients(output: Tensor, wanted: Sequence[Tensor], create_graph: bool = False) -> tuple[Tensor, ...]:
    """Of the one number `output`; zeros where it does not depend on a tensor."""
    if not output.requires_grad:
        return tuple(torch.zeros_like(tensor) for tensor in wanted)
    return torch.autograd.grad(
        output.sum(), wanted, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )


def torch_meaning(graph: Graph, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Outputs by name."""
    met: list[Tensor] = []
    for node in graph.nodes:
        met.append(_node(graph, node, met, tensors))
    return {name: met[at].reshape(graph.shape(at)) for name, at in graph.outputs}


def _node(graph: Graph, node: Node, met: Sequence[Tensor], tensors: Mapping[str, Tensor]) -> Tensor:
    """The value, one dimension for each of its labels."""
    written = [label for dim in node.dims for label in dim]
    shape = [graph.sizes[label] for label in written]
    if isinstance(node, Input):
        return tensors[node.name].reshape(shape)
    if isinstance(node, Kernel):
        attributes = msgspec.json.decode(node.attributes)
        parts = [_presented(graph, node, k, met[row.node]) for k, row in enumerate(node.operands)]
        results = KERNEL[node.kernel](
            attributes, parts, [prod(graph.sizes[label] for label in dim) for dim in node.dims]
        )
        return results[node.output].reshape(shape)
    return _einsum(graph, node, met, written)


def _grid(order: Sequence[Label], sizes: Mapping[Label, int]) -> dict[Label, Tensor]:
    """For each label its index, along its own dimension of a tensor over all of `order`."""
    rank = len(order)
    return {
        label: torch.arange(sizes[label]).reshape([1] * k + [-1] + [1] * (rank - k - 1))
        if sizes[label]
        else torch.zeros([1] * k + [0] + [1] * (rank - k - 1), dtype=torch.int64)
        for k, label in enumerate(order)
    }


def _einsum(graph: Graph, node: Einsum, met: Sequence[Tensor], written: list[Label]) -> Tensor:
    read = [label for row in node.operands for label in row.labels]
    order = list(dict.fromkeys((*written, *read)))
    grid = _grid(order, graph.sizes)
    # Indexing with index grids is the definition: it repeats, transposes and takes diagonals alike.
    # The join stands at every combination of labels: torch sums what an operand gets after it went through the join.
    every = [graph.sizes[label] for label in order]
    values = [met[row.node][tuple(grid[label] for label in row.labels)].expand(every) for row in node.operands]
    value = _value(node.join, values, grid).expand(every)
    if len(order) > len(written):
        own = [graph.sizes[label] for label in written]
        value = AGGREGATE[node.agg](value.reshape([*own, prod(every[len(written) :])]))
    return value.to(getattr(torch, node.dtype))


def _value(expr: Expr, operands: Sequence[Tensor], grid: Mapping[Label, Tensor]) -> Tensor:
    if expr.op == "const":
        return torch.tensor(expr.value, dtype=torch.float64 if isinstance(expr.value, float) else None)
    if expr.op == "operand":
        return operands[int(expr.value or 0)]
    if expr.op == "index":
        return grid[expr.name or ""]
    args = [_value(arg, operands, grid) for arg in expr.args]
    return args[0].to(getattr(torch, expr.name or "")) if expr.op == "cast" else SCALAR[expr.op](*args)


SCALAR: dict[str, Callable[..., Tensor]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "neg": torch.neg, "abs": torch.abs,
    "mod": torch.remainder, "pow": torch.pow, 
    "max": torch.maximum, "min": torch.minimum, "where": torch.where,
    "eq": torch.eq, "ne": torch.ne, "lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge,
    "and": torch.logical_and, "or": torch.logical_or, "not": torch.logical_not,
    "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "erf": torch.erf, "sin": torch.sin, "cos": torch.cos,
    "stop_gradient": torch.Tensor.detach,
    # Steps are constants here. Torch hands on zeros, of which an infinite slope further back would make NaN.
    "floor": lambda x: torch.floor(x.detach()),
    "floordiv": lambda x, y: torch.div(x.detach(), y.detach(), rounding_mode="floor"),
}  # fmt: skip


def _extreme(take: Callable[..., Tensor], of_none: float) -> Callable[[Tensor], Tensor]:
    def apply(x: Tensor) -> Tensor:
        if x.shape[-1]:
            return take(x, -1)
        return x.new_full(x.shape[:-1], of_none)  # torch has no largest one of none

    return apply


AGGREGATE: dict[str, Callable[[Tensor], Tensor]] = {  # over the last dimension
    "sum": lambda x: x.sum(-1), "prod": lambda x: x.prod(-1), "mean": lambda x: x.mean(-1),
    "max": _extreme(torch.amax, -np.inf), "min": _extreme(torch.amin, np.inf),
    "logsumexp": lambda x: x.logsumexp(-1), "any": lambda x: x.any(-1), "all": lambda x: x.all(-1),
}  # fmt: skip


def _presented(graph: Graph, node: Kernel, number: int, value: Tensor) -> Tensor:
    """An operand in the dimensions that the kernel sees."""
    dims = node.reads[number]
    order = [label for dim in dims for label in dim]
    grid = _grid(order, graph.sizes)
    seen = value[tuple(grid[label] for label in node.operands[number].labels)]
    return seen.expand([graph.sizes[label] for label in order]).reshape(
        [reduce(lambda n, label: n * graph.sizes[label], dim, 1) for dim in dims]
    )


def _slice(attributes: Mapping[str, int], parts: list[Tensor], shape: list[int]) -> list[Tensor]:
    dim, start, step = (attributes[name] for name in ("dim", "start", "step"))
    return [parts[0].index_select(dim, torch.arange(shape[dim]) * step + start)]


def _place(attributes: Mapping[str, int], parts: list[Tensor], shape: list[int]) -> list[Tensor]:
    """The transpose of the matrix of `slice`."""
    dim, start, step = (attributes[name] for name in ("dim", "start", "step"))
    held = torch.arange(parts[0].shape[dim])
    matrix = torch.zeros(shape[dim], len(held), dtype=parts[0].dtype)
    matrix[start + step * held, held] = 1
    return [torch.tensordot(matrix, parts[0], ([1], [dim])).movedim(0, dim)]


def _scatter(attributes: Mapping[str, int], parts: list[Tensor], shape: list[int]) -> list[Tensor]:
    """One hot rows, summed."""
    dim = attributes["dim"]
    hit = parts[1].movedim(dim, -1)[..., None] == torch.arange(shape[dim])
    return [(hit * parts[0].movedim(dim, -1)[..., None]).sum(-2).movedim(-1, dim)]


def _ordered(descending: str) -> Callable[..., list[Tensor]]:
    def apply(attributes: Mapping[str, int], parts: list[Tensor], shape: list[int]) -> list[Tensor]:
        dim = attributes["dim"]
        results = torch.sort(parts[0], dim=dim, descending=bool(attributes[descending]), stable=True)
        return [result.narrow(dim, 0, shape[dim]) for result in results]

    return apply


def _operator(attributes: Mapping[str, object], parts: list[Tensor], shape: list[int]) -> Sequence[Tensor]:
    """An operator of torch whose tensors are its first arguments."""
    namespace, name, overload = str(attributes["op"]).split(".")
    given = attributes["args"]
    assert isinstance(given, list)
    found = getattr(getattr(getattr(torch.ops, namespace), name), overload)(*parts, *given[len(parts) :])
    return [found] if isinstance(found, Tensor) else found


KERNEL: dict[str, Callable[..., Sequence[Tensor]]] = {
    "reshape": lambda attributes, parts, shape: [parts[0].reshape(shape)],
    "slice": _slice,
    "place": _place,
    "cat": lambda attributes, parts, shape: [torch.cat(parts, attributes["dim"])],
    "gather": lambda attributes, parts, shape: [torch.take_along_dim(parts[0], parts[1], attributes["dim"])],
    "scatter": _scatter,
    "sort": _ordered("descending"),
    "top_k": _ordered("largest"),
    "cumsum": lambda attributes, parts, shape: [parts[0].cumsum(attributes["dim"])],
    "aten": _operator,
}
