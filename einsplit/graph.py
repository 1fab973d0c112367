"""The one description of what is computed: a flat, immutable tuple of nodes in topological order.

A value is a tensor whose every dimension is a sequence of labels: `(("b",), ("h", "d"))` is a matrix whose columns are
made of heads `h` and features `d`. The labels of a value, flattened, are its *factors*. A reader names the factors
anew, one label each, so that one value can be read under two names (`i` and `j` of attention scores), transposed,
along a diagonal, or with further labels that the value does not have. So views cost nothing: they are readings.

Laws (checked where a Graph is built): operands are earlier nodes; a reading has one label per factor, of the factor's
size; a label has one size in the whole graph; an output has no label twice; every label of a join is one of its node;
a state and its next value have factors of the same sizes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import msgspec

from einsplit.errors import GraphError, advice
from einsplit.monoid import MONOIDS
from einsplit.notation.dims import Dims, Label, dims_shape, dims_text, flat
from einsplit.scalar import Expr, labels_of, operands_of, to_text

__all__ = [
    "Dims",
    "Einsum",
    "Graph",
    "Input",
    "Kernel",
    "Label",
    "Node",
    "Operand",
    "Role",
    "aggregated_labels",
    "check",
    "dims_shape",
    "dims_text",
    "factors",
    "node_labels",
    "node_text",
]

Role = Literal["data", "parameter", "state", "constant"]


class Operand(msgspec.Struct, frozen=True):
    """A reading of an earlier node's value."""

    node: int
    labels: tuple[Label, ...]  # one per factor of that value, in the value's order


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor that comes from outside."""

    name: str
    dims: Dims
    dtype: str
    role: Role = "data"
    source: str = ""

    @property
    def operands(self) -> tuple[Operand, ...]:
        return ()


class Einsum(msgspec.Struct, frozen=True, kw_only=True):
    """`value[dims] = AGG over the labels not in dims of JOIN(operands, label indices)`."""

    name: str
    operands: tuple[Operand, ...]
    dims: Dims
    join: Expr
    agg: str
    dtype: str
    source: str = ""


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """A registered kernel. It sees operand k as a tensor of dimensions `reads[k]`.

    Labels in `brackets` are whole, of true size and in original order wherever the kernel runs. The other labels may
    be cut. One that the result lacks is in `summed`: devices that cut it hold addends of the result, and its
    padding is zeros.
    """

    name: str
    kernel: str
    attributes: str  # a canonical JSON object
    operands: tuple[Operand, ...]
    reads: tuple[Dims, ...]
    dims: Dims
    brackets: tuple[Label, ...]
    dtype: str
    output: int = 0  # which of the kernel's results this node is
    summed: tuple[Label, ...] = ()
    operations: int = 0  # scalar operations of the whole kernel, besides reading and writing each element
    source: str = ""


Node = Input | Einsum | Kernel


def factors(node: Node) -> tuple[Label, ...]:
    """The labels of the node's value, flattened."""
    return flat(node.dims)


def node_labels(node: Node) -> tuple[Label, ...]:
    """Every label of the node, once: those of its value first, then those that it aggregates or needs whole."""
    read = (label for operand in node.operands for label in operand.labels)
    presented = node.reads if isinstance(node, Kernel) else ()
    inside = (label for dims in presented for label in flat(dims))
    return tuple(dict.fromkeys((*factors(node), *read, *inside)))


def aggregated_labels(node: Node) -> tuple[Label, ...]:
    """The labels over which partial results of the node combine."""
    if isinstance(node, Einsum):
        out = set(factors(node))
        return tuple(label for label in node_labels(node) if label not in out)
    if isinstance(node, Kernel):
        return node.summed
    return ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Graph:
    """What is computed: nodes, the size of every label, named outputs, and updates of state.

    `outputs` are (name, node) pairs; `updates` are (input node, node of its next value) pairs. Two graphs are equal if
    their hashes are. Raises GraphError where a law of a well-formed graph is broken.
    """

    nodes: tuple[Node, ...]
    sizes: Mapping[Label, int]
    outputs: tuple[tuple[str, int], ...]
    updates: tuple[tuple[int, int], ...] = ()
    _hash: list[str] = field(init=False, default_factory=list)  # found once, when it is first asked for

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", MappingProxyType(dict(sorted(self.sizes.items()))))
        check(self)

    @property
    def inputs(self) -> dict[str, int]:
        """Position of every input by its name, in order."""
        return {node.name: at for at, node in enumerate(self.nodes) if isinstance(node, Input)}

    def shape(self, at: int) -> tuple[int, ...]:
        """The shape of node `at`'s value."""
        return dims_shape(self.nodes[at].dims, self.sizes)

    @property
    def hash(self) -> str:
        """Content hash, equal between processes and runs: names and source lines of inner nodes do not count."""
        if not self._hash:
            digest = hashlib.sha256()
            for line in _content(self):
                digest.update(line.encode() + b"\n")
            self._hash.append(digest.hexdigest())
        return self._hash[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return "\n".join(_lines(self))


def node_text(node: Node) -> str:
    """The node's own expression in the notation."""
    if isinstance(node, Input):
        return f"{node.role} {dims_text(node.dims)}"
    if isinstance(node, Kernel):
        read = ", ".join(_bracketed(dims, node.brackets) for dims in node.reads)
        return f"{node.kernel}: {read} -> {_bracketed(node.dims, node.brackets)}"
    read = ", ".join(" ".join(operand.labels) for operand in node.operands)
    agg = f", {node.agg}" if aggregated_labels(node) else ""
    return f"{read} -> {dims_text(node.dims)}, {to_text(node.join)}{agg}"


def _bracketed(dims: Dims, brackets: tuple[Label, ...]) -> str:
    """`b s [k]`."""
    parts = [dims_text((dim,)) for dim in dims]
    return " ".join(f"[{t}]" if set(dim) & set(brackets) else t for t, dim in zip(parts, dims, strict=True))


def check(graph: Graph) -> None:
    """The laws of a well-formed graph. Raises GraphError, naming the node, where one is broken."""
    for at, node in enumerate(graph.nodes):
        for mistake, remark in _faults(graph, at, node):
            raise GraphError(f"node {at} ({node.name}): {mistake}", node_text(node), remark)
    for name, number in Counter(node.name for node in graph.nodes if isinstance(node, Input)).items():
        if number > 1:
            raise GraphError(f"input {name!r} is defined twice", "Inputs are fed by name: rename one of them.")
    for name, at in graph.outputs:
        if not _is_node(graph, at):
            mistake = f"output {name!r} is node {at}, and there are {len(graph.nodes)} nodes"
            raise GraphError(mistake, _positions(len(graph.nodes)))
    for state, value in graph.updates:
        for mistake, remark in _update_faults(graph, state, value):
            raise GraphError(f"update of node {state} by node {value}: {mistake}", remark)


Fault = tuple[str, str]  # the mistake, and advice


def _is_node(graph: Graph, at: int) -> bool:
    return 0 <= at < len(graph.nodes)


def _positions(num_nodes: int) -> str:
    return f"Nodes are numbered 0 to {num_nodes - 1}." if num_nodes else "There are no nodes before it."


def _faults(graph: Graph, at: int, node: Node) -> Iterator[Fault]:
    """What is wrong with node `at`. Later faults take it that the earlier ones are mended."""
    out, labels = factors(node), node_labels(node)
    for label in labels:
        if label not in graph.sizes:
            yield f"label {label!r} has no size", advice(label, graph.sizes, "Labels with a size")
    if len(set(out)) != len(out):
        yield f"a label stands twice in the output {dims_text(node.dims)}", "Only an operand may repeat a label."
    for operand in node.operands:
        if not 0 <= operand.node < at:
            yield f"operand {operand.node} is not an earlier node", _positions(at)
        written = factors(graph.nodes[operand.node])
        sizes, read = _sizes(graph, written), _sizes(graph, operand.labels)
        if sizes != read:
            mistake = f"reads {written} of node {operand.node} as {operand.labels}: not the same sizes"
            yield mistake, f"Sizes {sizes} are read as {read}: one label for each factor, of its size."
    if isinstance(node, Einsum):
        yield from _einsum_faults(node)
    if isinstance(node, Kernel):
        known = {*out, *node.brackets, *aggregated_labels(node)}
        for label in labels:
            if label not in known:
                mistake = f"label {label!r} is read, not written, not whole, and not summed"
                yield mistake, "Name it among `brackets`, or among `summed`."


def _einsum_faults(node: Einsum) -> Iterator[Fault]:
    labels = node_labels(node)
    if node.agg not in MONOIDS:
        yield f"unknown aggregation {node.agg!r}", advice(node.agg, MONOIDS)
    if any(k >= len(node.operands) for k in operands_of(node.join)):
        yield f"the join {to_text(node.join)} has more operands than the node", f"The node has {len(node.operands)}."
    for label in sorted(labels_of(node.join) - set(labels)):
        mistake = f"the join {to_text(node.join)} has an index that is no label of the node"
        yield mistake, advice(label, labels, "Labels here")


def _update_faults(graph: Graph, state: int, value: int) -> Iterator[Fault]:
    """What is wrong with the update of one state."""
    for at in (state, value):
        if not _is_node(graph, at):
            yield f"there are {len(graph.nodes)} nodes", _positions(len(graph.nodes))
    if not isinstance(graph.nodes[state], Input):
        yield f"node {state} is no input", f"Inputs: {', '.join(f'{name}={at}' for name, at in graph.inputs.items())}."
    before, after = (_sizes(graph, factors(graph.nodes[at])) for at in (state, value))
    if before != after:
        yield f"factors of sizes {before} and {after}", "The next value has the factors of the state that it becomes."


def _sizes(graph: Graph, labels: tuple[Label, ...]) -> tuple[int, ...]:
    return tuple(graph.sizes[label] for label in labels)


def _content(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        name = node.name if isinstance(node, Input) else ""
        reads = [(operand.node, operand.labels) for operand in node.operands]
        yield repr((type(node).__name__, name, node_text(node), reads, node.dims, node.dtype, _extra(node)))
    yield repr((tuple(graph.sizes.items()), graph.outputs, graph.updates))


def _extra(node: Node) -> tuple[object, ...]:
    if isinstance(node, Kernel):
        return (node.attributes, node.output, node.brackets, node.summed, node.operations, node.reads)
    return (node.agg,) if isinstance(node, Einsum) else (node.role,)


def _lines(graph: Graph) -> Iterator[str]:
    yield f"Graph of {len(graph.nodes)} nodes, {', '.join(f'{k}={v}' for k, v in graph.sizes.items())}"
    for at, node in enumerate(graph.nodes):
        read = "".join(f" %{operand.node}" for operand in node.operands)
        yield f"  %{at} {node.name}: {node.dtype}{list(graph.shape(at))} ={read}  {node_text(node)}"
    yield "  outputs " + ", ".join(f"{name}=%{at}" for name, at in graph.outputs)
    if graph.updates:
        yield "  updates " + ", ".join(f"%{state}<-%{value}" for state, value in graph.updates)
