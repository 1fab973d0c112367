"""The tables every optimizer receives: what each node may choose, what it costs, and what each edge costs.

Variables are the nodes of a prepared Graph; a choice of a node is one entry per mesh axis. Prices are kept by content,
so that repeated layers are priced once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from einsplit.dtypes import ITEMSIZE
from einsplit.graph import Graph, Kernel, Label, aggregated_labels, factors
from einsplit.solver.machine import Machine
from einsplit.solver.pricing.calls import Pair, further_seconds, pairs
from einsplit.solver.pricing.content import node_content
from einsplit.solver.pricing.forms import Form, form
from einsplit.solver.pricing.price import Price, edge_price, node_seconds
from einsplit.solver.search.fold import fold, folded_classes
from einsplit.solver.sharding import (
    PARTIAL,
    Choice,
    Digits,
    DigitTables,
    Layout,
    Shape,
    Sharding,
    Sum,
    aggregation,
    cuttable_labels,
    operand_layout,
    output_layout,
    sum_choices,
)

Seconds = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Edge:
    """Operand `number` of node `reader` is node `writer`'s value; number -1: the update of state `reader`."""

    writer: int
    reader: int
    number: int


class Problem:
    """A prepared Graph on a Machine under fixed digit tables."""

    def __init__(self, graph: Graph, machine: Machine, tables: DigitTables, memo: Memo | None = None) -> None:
        self.graph = graph
        self.machine = machine
        self.tables = tables
        self.memo = memo or Memo(graph, machine)
        assert self.memo.machine == machine  # its prices are those of one machine
        self.edges = self.memo.edges
        self.pairs = self.memo.pairs
        self._shapes = tuple(
            Shape(tuple(tables[label] for label in factors(node)), ITEMSIZE[node.dtype]) for node in graph.nodes
        )
        number = self.memo.number
        self._moved = tuple(number((s, agg)) for s, agg in zip(self._shapes, self.memo.aggs, strict=True))
        self._kinds = tuple(number(self.memo.content(node, tables)) for node in range(len(graph.nodes)))

    def variable_choices(self, variable: int, axis: int) -> tuple[Choice, ...]:
        """What an axis may do at all nodes of a folded class, in the labels of the first of them."""
        first = self.memo.folding.members[variable][0]
        sums = self.memo.sums_of_all[variable]
        return tuple(row for row in self.choices(first, axis) if not isinstance(row, Sum) or row in sums)

    def choices(self, node: int, axis: int) -> tuple[Choice, ...]:
        """What an axis may do at a node: whole, cut a label whose class has a digit for it, hold addends."""
        labels = self.memo.labels[node]
        cuts = tuple(label for label in labels if axis in self.tables[label].axes)
        return (None, *cuts, *self.memo.sums[node])

    def node_price(self, node: int, sharding: Sharding) -> Price:
        """What the node itself costs a device."""
        key = (self._kinds[node], self.memo.places(node, sharding))
        if key not in self.memo.seconds:
            found = self.graph.nodes[node]
            shapes = tuple(self._shapes[operand.node] for operand in found.operands)
            form_ = self.memo.forms[node]
            self.memo.seconds[key] = node_seconds(found, form_, sharding, shapes, self.tables, self.machine)
        return Price(self.memo.seconds[key])

    def pair_seconds(self, pair: Pair, first: Sharding, further: Sharding) -> float:
        """What two results of one call cost a device less (below 0) where they are cut alike."""
        if not pair.alike(first, further):
            return 0.0
        key = (self._kinds[pair.further], self.memo.places(pair.further, further))
        if key not in self.memo.further_seconds:
            node = self.graph.nodes[pair.further]
            assert isinstance(node, Kernel)
            added = further_seconds(node, further, self.tables, self.machine)
            self.memo.further_seconds[key] = added - self.node_price(pair.further, further).seconds
        return self.memo.further_seconds[key]

    def left(self, node: int, sharding: Sharding) -> Layout:
        """The layout in which a node leaves its value."""
        return output_layout(self.graph.nodes[node], sharding)

    def wanted(self, edge: Edge, sharding: Sharding) -> Layout:
        """The layout in which an edge's reader wants the value."""
        node = self.graph.nodes[edge.reader]
        return output_layout(node, sharding) if edge.number < 0 else operand_layout(node, edge.number, sharding)

    def edge_price(self, edge: Edge, writer: Sharding, reader: Sharding) -> Price:
        """What moving the writer's value to the reader costs a device."""
        return self.layout_price(edge.writer, self.left(edge.writer, writer), self.wanted(edge, reader))

    def edge_table(self, edge: Edge, left: tuple[Layout, ...], wanted: tuple[Layout, ...]) -> Seconds:
        """Seconds of the edge from each layout that its writer may leave to each that its reader may want."""
        key = (self._moved[edge.writer], left, wanted)
        if key not in self.memo.edge_tables:
            rows = [[self.layout_price(edge.writer, a, b).seconds for b in wanted] for a in left]
            self.memo.edge_tables[key] = np.array(rows)
        return self.memo.edge_tables[key]

    def layout_price(self, writer: int, left: Layout, wanted: Layout) -> Price:
        """What changing the layout of a node's value costs a device."""
        agg = self.memo.aggs[writer]
        if left == wanted and (agg == "sum" or PARTIAL not in left):
            return Price()
        key = (self._moved[writer], left, wanted)
        if key not in self.memo.edge_prices:
            self.memo.edge_prices[key] = edge_price(left, wanted, agg, self._shapes[writer], self.machine)
        return self.memo.edge_prices[key]

    def price(self, shardings: Sequence[Sharding]) -> Price:
        """What a whole plan costs a device."""
        total = Price()
        for node in range(len(self.graph.nodes)):
            total += self.node_price(node, shardings[node])
        for edge in self.edges:
            total += self.edge_price(edge, shardings[edge.writer], shardings[edge.reader])
        for pair in self.pairs:
            total += Price(self.pair_seconds(pair, shardings[pair.first], shardings[pair.further]))
        return total


class Memo:
    """What does not depend on digit tables, and prices by content: shared by the Problems of one search."""

    def __init__(self, graph: Graph, machine: Machine) -> None:
        self.machine = machine
        outputs = {at for _, at in graph.outputs}
        self.forms: tuple[Form, ...] = tuple(
            form(node, [graph.nodes[row.node].dtype for row in node.operands], graph.sizes) for node in graph.nodes
        )
        self.folding = fold(graph, self.forms)
        self.classes = folded_classes(graph, self.folding)
        self.aggs = tuple(aggregation(node) for node in graph.nodes)
        self.labels: tuple[tuple[Label, ...], ...] = tuple(cuttable_labels(node) for node in graph.nodes)
        sums = _sums(graph)
        self.sums = tuple(() if at in outputs else found for at, found in enumerate(sums))
        self.sums_of_all = tuple(
            tuple(row for row in self.sums[members[0]] if all(row in self.sums[at] for at in members))
            for members in self.folding.members
        )
        self.edges = (
            *(
                Edge(operand.node, reader, number)
                for reader, node in enumerate(graph.nodes)
                for number, operand in enumerate(node.operands)
            ),
            *(Edge(value, state, -1) for state, value in graph.updates),
        )
        self.pairs = pairs(graph)
        self.pairs_of = tuple(
            tuple(pair for pair in self.pairs if at in (pair.first, pair.further)) for at in range(len(graph.nodes))
        )
        variable = self.folding.variable
        self.folded_edges = Counter((variable[e.writer], variable[e.reader], e.number) for e in self.edges)
        self.folded_pairs: dict[tuple[int, int], list[Pair]] = {}
        for pair in self.pairs:
            self.folded_pairs.setdefault((variable[pair.first], variable[pair.further]), []).append(pair)
        touching: list[dict[Edge, None]] = [{} for _ in graph.nodes]
        for edge in self.edges:
            touching[edge.reader][edge] = touching[edge.writer][edge] = None
        self.edges_of = tuple(tuple(edges) for edges in touching)
        self.seconds: dict[tuple[int, tuple[int, ...]], float] = {}
        self.further_seconds: dict[tuple[int, tuple[int, ...]], float] = {}
        self.edge_prices: dict[tuple[int, Layout, Layout], Price] = {}
        self.edge_tables: dict[tuple[int, tuple[Layout, ...], tuple[Layout, ...]], Seconds] = {}
        forms = zip(graph.nodes, self.forms, strict=True)
        self._contents = tuple(node_content(graph, node, found) for node, found in forms)
        self._rows = self.folding.rows
        self._place = tuple({label: k for k, label in enumerate(row)} for row in self._rows)
        self._numbers: dict[object, int] = {}

    def number(self, content: object) -> int:
        """A number for equal contents: hashing a long content once for every node, not for every price."""
        return self._numbers.setdefault(content, len(self._numbers))

    def content(self, node: int, tables: DigitTables) -> object:
        """Equal for nodes that cost the same under equal `places`."""
        digits: tuple[Digits, ...] = tuple(tables[label] for label in self._rows[node])
        return (self._contents[node], digits)

    def places(self, node: int, sharding: Sharding) -> tuple[int, ...]:
        """The sharding with each label as its order of appearance; -1 where no label is cut."""
        place = self._place[node]
        return tuple(place[choice] if isinstance(choice, str) else -1 for choice in sharding)


def _sums(graph: Graph) -> list[tuple[Sum, ...]]:
    """How each node may carry addends: only of operands that can have any, for a whole value is cheaper as it is."""
    may_be_partial: list[bool] = []
    found = []
    for node in graph.nodes:
        own = tuple(
            choice
            for choice in sum_choices(node)
            if any(may_be_partial[node.operands[k].node] for k in choice.carriers)
        )
        found.append(own)
        may_be_partial.append(bool(own or aggregated_labels(node)))
    return found


@dataclass(frozen=True, slots=True)
class Solution:
    """What every node of a Problem chooses, and what that costs."""

    problem: Problem
    shardings: tuple[Sharding, ...]
    seconds: float
