"""Results of one call: kernel nodes that differ in which result they are. Cut alike, the kernel runs once for all.

    seconds(call) = seconds(first) + sum over further results of
                    max(own operations / flops_per_second, bytes written / memory_bytes_per_second)

What a further result saves against a call of its own is a price of two nodes, as that of an edge is.

Attention's values are a further result of the call that gives the logsumexp z' of the scores at hand: weighted by z',
and, where keys are cut, weighted anew by that of all keys, `o = o' exp(z' - z)` (`einsplit.kernels.attention`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from einsplit.dtypes import ITEMSIZE, wide
from einsplit.graph import Graph, Kernel, Label, Node, aggregated_labels, factors, node_labels
from einsplit.scalar import Expr, call, cast, const, num_operations, operand
from einsplit.solver.machine import Machine
from einsplit.solver.pricing.forms import share
from einsplit.solver.pricing.price import compute_seconds, cut_axes
from einsplit.solver.sharding import DigitTables, Sharding

Places = Mapping[Label, int]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two results that one call may give; `places` number the labels of what each reads, which is the same."""

    first: int
    further: int
    places_first: Places
    places_further: Places

    def alike(self, first: Sharding, further: Sharding) -> bool:
        """Whether these shardings cut the two alike."""
        rows = zip(first, further, strict=True)
        return all(_place(self.places_first, a) == _place(self.places_further, b) for a, b in rows)

    def renamed(self, label: Label) -> Label:
        """A label of the further result as the first one calls it; itself where it is not read."""
        if label not in self.places_further:
            return label
        return next(name for name, at in self.places_first.items() if at == self.places_further[label])


def _place(places: Places, choice: object) -> int | None:
    return places[choice] if isinstance(choice, str) else None


def pairs(graph: Graph) -> tuple[Pair, ...]:
    """Every kernel node with the first earlier one that reads the same, and calls the same kernel."""
    first: dict[object, int] = {}
    found = []
    for at, node in enumerate(graph.nodes):
        if not isinstance(node, Kernel):
            continue
        other = first.setdefault(_content(node), at)
        if other != at:
            found.append(Pair(other, at, _places(graph.nodes[other]), _places(node)))
    return tuple(found)


def _content(node: Kernel) -> object:
    """Equal for results of one call."""
    places, count = _places(node), _num_read(node)
    operands = tuple((row.node, tuple(places[label] for label in row.labels)) for row in node.operands[:count])
    reads = tuple(tuple(tuple(places[label] for label in dim) for dim in dims) for dims in node.reads[:count])
    return (_called(node), node.attributes, operands, reads)


def _called(node: Kernel) -> str:
    return "attention" if is_weighted_anew(node) else node.kernel


def _num_read(node: Kernel) -> int:
    """How many operands the call reads: not the logsumexp of all keys."""
    return len(node.operands) - is_weighted_anew(node)


def is_weighted_anew(node: Node) -> bool:
    """Whether it is attention's values, given the logsumexp of the scores with all keys."""
    return isinstance(node, Kernel) and node.kernel == "attention_values"


def _places(node: Node) -> dict[Label, int]:
    """The labels of what the call reads, in the order in which they are met."""
    assert isinstance(node, Kernel)
    count = _num_read(node)
    met = [label for row in node.operands[:count] for label in row.labels]
    met += [label for dims in node.reads[:count] for dim in dims for label in dim]
    return {label: at for at, label in enumerate(dict.fromkeys(met))}


def own_operations(node: Kernel, sharding: Sharding, tables: DigitTables) -> int:
    """Scalar operations of one device that a further result adds to the call: each element is written, at least."""
    local = _local(node, sharding, tables)
    return prod(local[label] for label in factors(node)) + share(node.operations - node.shared, node, local, tables)


def _local(node: Kernel, sharding: Sharding, tables: DigitTables) -> dict[Label, int]:
    return {label: tables[label].local(cut_axes(sharding, label)) for label in node_labels(node)}


def further_seconds(node: Kernel, sharding: Sharding, tables: DigitTables, machine: Machine) -> float:
    """Seconds that a further result adds to the call."""
    local = _local(node, sharding, tables)
    elements = prod(local[label] for label in factors(node))
    written = elements * ITEMSIZE[node.dtype]
    own = own_operations(node, sharding, tables) / machine.flops_per_second
    seconds = max(own, written / machine.memory_bytes_per_second)
    if not is_weighted_anew(node) or not keys_are_cut(node, sharding):
        return seconds
    given = node.operands[-1].labels
    z = prod(local[label] for label in given) * ITEMSIZE[wide(node.dtype)]
    return seconds + compute_seconds(elements * num_operations(anew(node.dtype)), 2 * (written + z), machine)


def keys_are_cut(node: Kernel, sharding: Sharding) -> bool:
    """Whether devices hold partial results."""
    return any(choice in aggregated_labels(node) for choice in sharding)


def anew(dtype: str) -> Expr:
    """`o' exp(z' - z)`, of o' in `dtype`, z' and z; where there is no key at hand, 0."""
    weight = call("where", call("eq", operand(1), const(-math.inf)), const(0.0), call("exp", operand(1) - operand(2)))
    return cast(cast(operand(0), wide(dtype)) * weight, dtype) if wide(dtype) != dtype else operand(0) * weight
