"""The one description of what is computed: a flat, immutable tuple of nodes in topological order.

A value is a tensor whose every dimension is a sequence of labels: `(("b",), ("h", "d"))` is a matrix whose columns are
made of heads `h` and features `d`. The labels of a value, flattened, are its *factors*. A reader names the factors
anew, one label each, so that one value can be read under two names (`i` and `j` of attention scores), transposed,
along a diagonal, or with further labels that the value does not have. So views cost nothing: they are readings.

Laws (checked where a Graph is built): operands are earlier nodes; a reading has one label per factor, of the factor's
size; a label has one size in the whole graph; an output has no label twice; every label of a join is one of its node;
a state and its next value have factors of the same sizes. Of a kernel: every label is in its result, whole or summed;
only labels of its own are zeroed; of its operations, at least none and at most all are shared. Aggregations are
registered ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from einsplit.graph.laws import check
from einsplit.graph.nodes import Einsum, Input, Kernel, Node, node_text
from einsplit.notation.dims import Label, dims_shape


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
            for row in _content(self):
                digest.update(msgspec.msgpack.encode(row))
            self._hash.append(digest.hexdigest())
        return self._hash[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return "\n".join(_lines(self))


def _content(graph: Graph) -> Iterator[tuple[object, ...]]:
    """What is hashed: each row is of one kind of thing, and says how long its parts are."""
    for node in graph.nodes:
        yield (node.operands, node.dims, node.dtype, *_extra(node))
    yield (tuple(graph.sizes.items()), graph.outputs, graph.updates)


def _extra(node: Node) -> tuple[object, ...]:
    if isinstance(node, Kernel):
        own = (node.attributes, node.output, node.brackets, node.summed, node.agg, node.zeroed)
        # As text: they may be more than a packed number holds.
        return ("kernel", node.kernel, *own, str(node.operations), str(node.shared), node.reads)
    return ("einsum", node.join.digest, node.agg) if isinstance(node, Einsum) else ("input", node.name, node.role)


def _lines(graph: Graph) -> Iterator[str]:
    yield f"Graph of {len(graph.nodes)} nodes, {', '.join(f'{k}={v}' for k, v in graph.sizes.items())}"
    for at, node in enumerate(graph.nodes):
        read = "".join(f" %{operand.node}" for operand in node.operands)
        yield f"  %{at} {node.name}: {node.dtype}{list(graph.shape(at))} ={read}  {node_text(node)}"
    yield "  outputs " + ", ".join(f"{name}=%{at}" for name, at in graph.outputs)
    if graph.updates:
        yield "  updates " + ", ".join(f"%{state}<-%{value}" for state, value in graph.updates)
