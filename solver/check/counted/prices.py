"""The seconds of a plan and the bytes that each device sends, counted anew from what every device does and holds.

seconds(node) = launch + roofline(operations, bytes touched) + sum over operands with padding of pass(2 bytes)
seconds(row)  = seconds(node) + seconds of what brings its operands, and a state's next value, to it
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from einsplit.dtypes import ITEMSIZE
from einsplit.graph import Einsum, Graph, Kernel, Label, factors, node_labels
from einsplit.scalar import index, labels_of, substitute
from einsplit.solver.check.counted.calls import completion_of, further_results
from einsplit.solver.check.counted.moves import Moved, Value, moved
from einsplit.solver.check.counted.rates import of_kernel
from einsplit.solver.check.counted.work import Carried, Work, carried_out, held_along, kernel_share, work_of
from einsplit.solver.check.extents import Extent
from einsplit.solver.check.layouts import Entries, combines_by, entries_left, entries_wanted
from einsplit.solver.machine import Machine
from einsplit.solver.sharding import Sharding


def roofline(work: Work, machine: Machine) -> float:
    """Seconds that a device takes to compute or, if that is longer, to read and write."""
    multiplied = work.multiplied
    per_second = machine.flops_per_second if multiplied is None else multiplied.per_second(machine)
    return max(work.operations / per_second, work.touched / machine.memory_bytes_per_second)


def work_seconds(work: Work, machine: Machine) -> float:
    """Seconds of a kernel, and of the passes over padding before it."""
    passes = sum(machine.launch_seconds + 2 * size / machine.memory_bytes_per_second for size in work.overwritten)
    return machine.launch_seconds + roofline(work, machine) + passes


@dataclass(frozen=True, slots=True)
class Edge:
    """Node `reader` reads node `writer` as its operand `number`; -1: `writer` makes the next value of the state."""

    writer: int
    reader: int
    number: int


class Prices:
    """Prices of the nodes and edges of a prepared Graph, under digit tables; equal things are priced once."""

    def __init__(self, graph: Graph, machine: Machine, extents: Mapping[Label, Extent]) -> None:
        self._graph, self._machine, self._extents = graph, machine, extents
        self._dtypes = [tuple(graph.nodes[row.node].dtype for row in node.operands) for node in graph.nodes]
        self._values = [
            Value(tuple(extents[label] for label in factors(node)), ITEMSIZE[node.dtype]) for node in graph.nodes
        ]
        self._further = further_results(graph)
        self._called_by: dict[int, list[int]] = defaultdict(list)
        for at, row in self._further.items():
            self._called_by[row.first].append(at)
        self._edges: list[list[Edge]] = [[] for _ in graph.nodes]  # those that end at a node, then those that start
        self._leaving: list[list[Edge]] = [[] for _ in graph.nodes]
        for at, node in enumerate(graph.nodes):
            for number, operand in enumerate(node.operands):
                self._join(Edge(operand.node, at, number))
        for state, value in graph.updates:
            self._join(Edge(value, state, -1))
        numbers: dict[Hashable, int] = {}
        self._contents = [numbers.setdefault(self._content(at), len(numbers)) for at in range(len(graph.nodes))]
        self._order = [{label: k for k, label in enumerate(node_labels(node))} for node in graph.nodes]
        self._carried: dict[int, Carried] = {}
        self._seconds: dict[tuple[int, tuple[int, ...], bool], float] = {}
        self._moved: dict[tuple[Value, Entries, Entries, str], Moved] = {}

    def _join(self, edge: Edge) -> None:
        self._edges[edge.reader].append(edge)
        self._leaving[edge.writer].append(edge)

    def row(self, cuts: Sequence[Sharding], at: int) -> tuple[float, int]:
        """Seconds of a node and of what brings its operands to it; bytes sent for that."""
        brought = [self.edge(cuts, edge) for edge in self._edges[at]]
        return self._own(cuts, at) + sum(m.seconds for m in brought), sum(m.bytes for m in brought)

    def around(self, cuts: Sequence[Sharding], at: int) -> float:
        """Seconds of all that depends on how a node is cut."""
        edges = dict.fromkeys((*self._edges[at], *self._leaving[at]))
        calls = sum(self._own(cuts, other) for other in self._called_by[at])
        return self._own(cuts, at) + calls + sum(self.edge(cuts, edge).seconds for edge in edges)

    def bytes_by_axes(self, cuts: Sequence[Sharding]) -> dict[tuple[int, ...], int]:
        """Bytes that each device sends, by the axes of the collective."""
        found: Counter[tuple[int, ...]] = Counter()
        for edges in self._edges:
            for edge in edges:
                for axes, count in self.edge(cuts, edge).sent:
                    found[axes] += count
        return {axes: count for axes, count in found.items() if count}

    def edge(self, cuts: Sequence[Sharding], edge: Edge) -> Moved:
        """What it takes to bring the writer's value to the reader."""
        writer, reader = self._graph.nodes[edge.writer], self._graph.nodes[edge.reader]
        left, cut = entries_left(writer, cuts[edge.writer]), cuts[edge.reader]
        wanted = entries_left(reader, cut) if edge.number < 0 else entries_wanted(reader, edge.number, cut)
        key = (self._values[edge.writer], left, wanted, combines_by(writer))
        if key not in self._moved:
            self._moved[key] = moved(*key, self._machine)
        return self._moved[key]

    def _own(self, cuts: Sequence[Sharding], at: int) -> float:
        """Seconds of the node itself; of a further result of a call, what it adds to the call."""
        row, cut = self._further.get(at), cuts[at]
        is_further = row is not None and row.is_cut_alike(cuts[row.first], cut)
        places = tuple(self._order[at][choice] if isinstance(choice, str) else -1 for choice in cut)
        key = (self._contents[at], places, is_further)
        if key not in self._seconds:
            self._seconds[key] = self._added(at, cut) if is_further else self._alone(at, cut)
        return self._seconds[key]

    def _alone(self, at: int, cut: Sharding) -> float:
        node = self._graph.nodes[at]
        # By node, not by content: keys name labels.
        if at not in self._carried:
            self._carried[at] = carried_out(node, self._dtypes[at], self._graph.sizes)
        carried = self._carried[at]
        if carried.way == "nothing":
            return 0.0
        return work_seconds(work_of(node, carried, cut, self._dtypes[at], self._extents), self._machine)

    def _added(self, at: int, cut: Sharding) -> float:
        node = self._graph.nodes[at]
        assert isinstance(node, Kernel)
        held = held_along(node, cut, self._extents)
        written = prod(held[label] for label in factors(node))
        own = written + kernel_share(node.operations - node.shared, node, held, self._extents)
        # Its sums are in the dtype that it is written in, whatever the call reads first.
        added = Work(own, written * ITEMSIZE[node.dtype], (), of_kernel(node, node.dtype, held))
        seconds = roofline(added, self._machine)
        completed = completion_of(node, cut)
        if completed is None:
            return seconds
        made, dtypes = completed
        carried = carried_out(made, dtypes, self._graph.sizes)
        return seconds + work_seconds(work_of(made, carried, cut, dtypes, self._extents), self._machine)

    def _content(self, at: int) -> Hashable:
        """Equal for nodes that cost the same where they are cut alike: labels are numbered as they are met."""
        node = self._graph.nodes[at]
        row = node_labels(node)
        number = {label: k for k, label in enumerate(row)}

        def numbered(labels: Sequence[Label]) -> tuple[int, ...]:
            return tuple(number[label] for label in labels if label in number)

        reads = tuple(numbered(operand.labels) for operand in node.operands)
        extents = tuple(self._extents[label] for label in row)
        common = (type(node), reads, numbered(factors(node)), self._dtypes[at], node.dtype, extents)
        if isinstance(node, Einsum):
            renamed = {label: index(f"#{number[label]}") for label in labels_of(node.join)}
            return (*common, node.agg, substitute(node.join, {}, renamed))
        if isinstance(node, Kernel):
            whole, zeros, summed = map(numbered, (node.brackets, node.zeroed, node.summed))
            return (*common, node.kernel, node.attributes, whole, zeros, summed, node.operations, node.shared)
        return common
