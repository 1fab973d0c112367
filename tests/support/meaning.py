"""The meaning of a Graph by enumeration: every node over all its labels at once, in plain numpy.

An oracle: of the package it knows the Graph's own structures and nothing else. Values are float64, int64 and bool.
Beside each value stands a *scale*: a bound, made with the same graph on absolute values, such that the rounding errors
of any order of additions stay below a small multiple of the machine's precision times it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod

import msgspec
import numpy as np

from einsplit.graph import Einsum, Graph, Input, Kernel, Label, Node
from einsplit.scalar import Expr

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Meant:
    """An array, and the scale of each of its elements."""

    value: Array
    scale: Array


def meaning(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, Meant]:
    """Outputs by name, and the next value of each updated state by the state's name."""
    with np.errstate(all="ignore"):
        met: list[Meant] = []
        for node in graph.nodes:
            met.append(_node(graph, node, met, feeds))
    found = {name: met[at] for name, at in graph.outputs}
    found |= {graph.nodes[state].name: met[value] for state, value in graph.updates}
    shape = {name: graph.shape(at) for name, at in graph.outputs}
    shape |= {graph.nodes[state].name: graph.shape(state) for state, _ in graph.updates}
    return {k: Meant(m.value.reshape(shape[k]), m.scale.reshape(shape[k])) for k, m in found.items()}


def _node(graph: Graph, node: Node, met: Sequence[Meant], feeds: Mapping[str, Array]) -> Meant:
    written = [label for dim in node.dims for label in dim]
    shape = [graph.sizes[label] for label in written]
    if isinstance(node, Input):
        value = feeds[node.name].reshape(shape)
        return Meant(value, np.abs(value.astype(np.float64)))
    if isinstance(node, Kernel):
        return _kernel(graph, node, met, shape)
    return _einsum(graph, node, met, written)


def _grid(order: Sequence[Label], sizes: Mapping[Label, int]) -> dict[Label, Array]:
    """For each label its index, along its own dimension of an array over all of `order`."""
    alone = np.eye(len(order), dtype=int)  # row k: 1 for its own dimension
    return {label: np.arange(sizes[label]).reshape(np.where(alone[k], -1, 1)) for k, label in enumerate(order)}


def _einsum(graph: Graph, node: Einsum, met: Sequence[Meant], written: list[Label]) -> Meant:
    summed = list(dict.fromkeys(label for o in node.operands for label in o.labels if label not in written))
    order = written + summed
    grid = _grid(order, graph.sizes)
    # Indexing with index arrays is the definition: it repeats, transposes and takes diagonals alike.
    places = [tuple(grid[label] for label in o.labels) for o in node.operands]
    values = [met[o.node].value[place] for o, place in zip(node.operands, places, strict=True)]
    scales = [met[o.node].scale[place] for o, place in zip(node.operands, places, strict=True)]
    sizes = [graph.sizes[label] for label in order]
    value = np.broadcast_to(np.asarray(_value(node.join, values, grid)), sizes)
    scale = np.broadcast_to(np.asarray(_scale(node.join, scales, grid), np.float64), sizes)
    axes = tuple(range(len(written), len(order)))
    if axes:
        value, scale = AGGREGATE[node.agg](value, axes), AGGREGATE_SCALE[node.agg](scale, axes)
    return Meant(value.astype(node.dtype), scale)


def _value(expr: Expr, operands: Sequence[Array], grid: Mapping[Label, Array]) -> Array:
    if expr.op == "const":
        return np.asarray(expr.value)
    if expr.op == "operand":
        return operands[int(expr.value or 0)]
    if expr.op == "index":
        return grid[expr.name or ""]
    args = [_value(arg, operands, grid) for arg in expr.args]
    return np.asarray(args[0]).astype(expr.name) if expr.op == "cast" else VALUE[expr.op](*args)


def _scale(expr: Expr, operands: Sequence[Array], grid: Mapping[Label, Array]) -> Array:
    if expr.op == "const":
        return np.abs(np.asarray(float(expr.value or 0)))
    if expr.op == "operand":
        return operands[int(expr.value or 0)]
    if expr.op == "index":
        return grid[expr.name or ""].astype(np.float64)
    args = [_scale(arg, operands, grid) for arg in expr.args]
    return args[0] if expr.op == "cast" else SCALE[expr.op](*args)


VALUE: dict[str, Callable[..., Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative,
    "floordiv": np.floor_divide, "mod": np.mod, "abs": np.abs, "floor": np.floor,
    "max": np.maximum, "min": np.minimum, "where": np.where,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "and": np.logical_and, "or": np.logical_or, "not": np.logical_not,
    "exp": np.exp, "tanh": np.tanh, "sin": np.sin, "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}  # fmt: skip


def _first(x: Array, *_: Array) -> Array:
    return x


def _one(*_: Array) -> Array:
    return np.ones(())


# An error e of an argument becomes at most e times the slope: of exp the value itself, of the others here 1 or less.
SCALE: dict[str, Callable[..., Array]] = {
    "add": np.add, "sub": np.add, "mul": np.multiply, "div": np.multiply, "neg": _first,
    "floordiv": _first, "mod": np.maximum, "abs": _first, "floor": lambda x: x + 1,
    "max": np.maximum, "min": np.maximum, "where": lambda _, x, y: np.maximum(x, y),
    "eq": _one, "ne": _one, "lt": _one, "le": _one, "gt": _one, "ge": _one, "and": _one, "or": _one, "not": _one,
    "exp": lambda x: (1 + x) * np.exp(x), "tanh": lambda x: x + 1, "sin": lambda x: x + 1, "sigmoid": lambda x: x + 1,
}  # fmt: skip


def _extreme(of: np.ufunc, x: Array, axes: tuple[int, ...]) -> Array:
    """The largest or smallest; over nothing the smallest or largest that there is."""
    sign = -1 if of is np.maximum else 1
    if x.dtype.kind == "f":
        start: float | int = sign * np.inf
    elif x.dtype.kind == "i":
        start = np.iinfo(x.dtype).min if sign < 0 else np.iinfo(x.dtype).max
    else:
        start = sign > 0
    return of.reduce(x, axes, initial=start)


def _logsumexp(x: Array, axes: tuple[int, ...]) -> Array:
    top = x.max(axes, keepdims=True, initial=-np.inf)
    return np.log(np.exp(x - top).sum(axes)) + top.squeeze(axes)


AGGREGATE: dict[str, Callable[[Array, tuple[int, ...]], Array]] = {
    "sum": lambda x, axes: x.sum(axes), "prod": lambda x, axes: x.prod(axes),
    "mean": lambda x, axes: x.sum(axes) / prod(x.shape[k] for k in axes),
    "max": lambda x, axes: _extreme(np.maximum, x, axes), "min": lambda x, axes: _extreme(np.minimum, x, axes),
    "any": lambda x, axes: x.any(axes), "all": lambda x, axes: x.all(axes), "logsumexp": _logsumexp,
}  # fmt: skip

AGGREGATE_SCALE: dict[str, Callable[[Array, tuple[int, ...]], Array]] = {
    "sum": AGGREGATE["sum"], "mean": AGGREGATE["mean"], "prod": lambda x, axes: np.maximum(x, 1).prod(axes),
    "max": AGGREGATE["max"], "min": AGGREGATE["max"], "any": AGGREGATE["max"], "all": AGGREGATE["max"],
    "logsumexp": lambda x, axes: AGGREGATE["max"](x, axes) + np.log(prod(x.shape[k] for k in axes)) + 1,
}  # fmt: skip


def _kernel(graph: Graph, node: Kernel, met: Sequence[Meant], shape: list[int]) -> Meant:
    attributes = msgspec.json.decode(node.attributes)
    read = [_presented(graph, node, k, met[o.node]) for k, o in enumerate(node.operands)]
    found = [
        KERNEL[node.kernel](attributes, list(parts)) for parts in zip(*((m.value, m.scale) for m in read), strict=True)
    ]
    value, scale = (x.reshape(shape) for x in found)
    return Meant(value, scale)


def _presented(graph: Graph, node: Kernel, number: int, found: Meant) -> Meant:
    """An operand in the dimensions that the kernel sees."""
    dims = node.reads[number]
    order = [label for dim in dims for label in dim]
    grid = _grid(order, graph.sizes)
    at = tuple(grid[label] for label in node.operands[number].labels)
    full = [graph.sizes[label] for label in order]
    seen = [reduce(lambda n, label: n * graph.sizes[label], dim, 1) for dim in dims]
    value, scale = (np.broadcast_to(x[at], full).reshape(seen) for x in (found.value, found.scale))
    return Meant(value, scale)


def _slice(attributes: Mapping[str, int], parts: list[Array]) -> Array:
    # To the end: the reshape to the node's true shape would fail if that were too much.
    start, step, length = attributes["start"], attributes["step"], attributes["length"]
    taken = np.moveaxis(parts[0], attributes["dim"], 0)[start : start + step * length : step]
    return np.moveaxis(taken, 0, attributes["dim"])


KERNEL: dict[str, Callable[..., Array]] = {
    "reshape": lambda attributes, parts: parts[0],
    "slice": _slice,
    "cat": lambda attributes, parts: np.concatenate(parts, attributes["dim"]),
}
