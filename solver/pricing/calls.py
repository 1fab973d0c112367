"""Results of one call: kernel nodes that differ in which result they are. Cut as the first is, all are made at once.

    seconds(call) = seconds(first) + sum over further results of
                    max(own operations / rate, bytes written / memory_bytes_per_second)

What a further result saves against a call of its own is a price of two nodes, as that of an edge is. A result may need
completion, by operands that the call does not have: attention's values, where devices cut the keys
(`einsplit.kernels.attention`). That is an einsum of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from einsplit.dtypes import ITEMSIZE, wide
from einsplit.graph import Einsum, Graph, Kernel, Label, Operand, aggregated_labels, factors, node_labels
from einsplit.kernels.attention import COMPLETIONS
from einsplit.solver.machine import Machine
from einsplit.solver.pricing.forms import Form, share
from einsplit.solver.pricing.price import cut_axes, node_seconds
from einsplit.solver.pricing.rates import operations_per_second
from einsplit.solver.sharding import Choice, DigitTables, Shape, Sharding

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


def _place(places: Places, choice: Choice) -> int | None:
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
            first_node = graph.nodes[other]
            assert isinstance(first_node, Kernel)
            found.append(Pair(other, at, _places(first_node), _places(node)))
    return tuple(found)


def _content(node: Kernel) -> object:
    """Equal for results of one call."""
    places, count = _places(node), _num_read(node)
    operands = tuple((row.node, tuple(places[label] for label in row.labels)) for row in node.operands[:count])
    reads = tuple(tuple(tuple(places[label] for label in dim) for dim in dims) for dims in node.reads[:count])
    row = COMPLETIONS.get(node.kernel)
    return (row.call if row else node.kernel, node.attributes, operands, reads)


def _num_read(node: Kernel) -> int:
    """How many operands the call reads."""
    row = COMPLETIONS.get(node.kernel)
    return len(node.operands) - (row.num_given if row else 0)


def completion(node: Kernel, sharding: Sharding) -> Einsum | None:
    """What completes the result, of it, of the call's first result, and of what is given; None where it is complete.

    Positions of its operands are not those of a Graph.
    """
    row = COMPLETIONS.get(node.kernel)
    if row is None or not any(choice in aggregated_labels(node) for choice in sharding):
        return None
    (given,) = node.operands[_num_read(node) :]
    return Einsum(
        name=node.name,
        operands=(Operand(0, factors(node)), Operand(1, given.labels), Operand(2, given.labels)),
        dims=node.dims,
        join=row.join(node.dtype),
        agg="sum",
        dtype=node.dtype,
        source=node.source,
    )


def _places(node: Kernel) -> dict[Label, int]:
    """The labels of what the call reads, in the order in which they are met."""
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
    """Seconds that a further result adds to the call, its completion among them."""
    local = _local(node, sharding, tables)
    written = prod(local[label] for label in factors(node)) * ITEMSIZE[node.dtype]
    # A further result is in the dtype of what it is computed from; only sums of a row are not, which are few.
    rate = operations_per_second(node, Form("kernel", dtype=node.dtype), local, tables, machine)
    seconds = max(own_operations(node, sharding, tables) / rate, written / machine.memory_bytes_per_second)
    completed = completion(node, sharding)
    if completed is None:
        return seconds
    dtypes = (node.dtype, wide(node.dtype), wide(node.dtype))
    rows = zip(completed.operands, dtypes, strict=True)
    shapes = tuple(Shape(tuple(tables[label] for label in row.labels), ITEMSIZE[dtype]) for row, dtype in rows)
    return seconds + node_seconds(completed, Form("join"), sharding, shapes, tables, machine)
