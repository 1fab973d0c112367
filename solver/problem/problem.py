"""The tables every optimizer receives: what each node may choose, what it costs, and what each edge costs.

Variables are the nodes of a prepared Graph, or classes of nodes that choose alike; a choice is one entry per mesh axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np

from einsplit.dtypes import ITEMSIZE
from einsplit.graph import Graph, Kernel, factors
from einsplit.solver.machine import Machine
from einsplit.solver.pricing.calls import Pair, further_seconds
from einsplit.solver.pricing.price import Price, edge_price, node_seconds
from einsplit.solver.problem.fold import unfolded
from einsplit.solver.problem.live import live_bytes
from einsplit.solver.problem.memo import Edge, Memo, Seconds
from einsplit.solver.sharding import (
    PARTIAL,
    Choice,
    DigitTables,
    Layout,
    Shape,
    Sharding,
    Sum,
)

# By node, what each mesh axis may choose, of what it could: what a user has pinned, or a rival does by design.
Limits = Mapping[int, tuple[tuple[Choice, ...], ...]]
# By time of the step, seconds that a byte held then costs: what a search pays where memory is short.
Tolls = Mapping[int, float]


class Problem:
    """A prepared Graph on a Machine under fixed digit tables.

    `limits` say what nodes may choose, where not all; `tolls` are paid for bytes held, by a search only: they are part
    of the price of no node, edge or plan, but of a network and of what is `folded`.
    """

    def __init__(
        self,
        graph: Graph,
        machine: Machine,
        tables: DigitTables,
        memo: Memo | None = None,
        limits: Limits | None = None,
        tolls: Tolls | None = None,
    ) -> None:
        self.graph = graph
        self.machine = machine
        self.tables = tables
        self.memo = memo or Memo(graph, machine)
        self.limits = limits or {}
        self.tolls = tolls or {}
        assert self.memo.machine == machine  # its prices are those of one machine
        self.pairs = self.memo.pairs
        # By node, found when first asked for: most Problems of a search ask for one node of a class.
        self._shapes: dict[int, Shape] = {}
        self._moved: dict[int, int] = {}
        self._kinds: dict[int, int] = {}

    @property
    def edges(self) -> tuple[Edge, ...]:
        return self.memo.edges

    def shape(self, node: int) -> Shape:
        """The digits of a node's value."""
        if node not in self._shapes:
            row = self.graph.nodes[node]
            self._shapes[node] = Shape(tuple(self.tables[label] for label in factors(row)), ITEMSIZE[row.dtype])
        return self._shapes[node]

    def moved(self, node: int) -> int:
        """Equal for nodes whose values cost the same to move."""
        if node not in self._moved:
            self._moved[node] = self.memo.number((self.shape(node), self.memo.aggs[node]))
        return self._moved[node]

    def kind(self, node: int) -> int:
        """Equal for nodes that cost the same when cut alike."""
        if node not in self._kinds:
            self._kinds[node] = self.memo.number(self.memo.content(node, self.tables))
        return self._kinds[node]

    def choices(self, node: int, axis: int) -> tuple[Choice, ...]:
        """What an axis may do at a node: whole, cut a label whose class has a digit for it, hold addends."""
        cuts = tuple(label for label in self.memo.labels[node] if axis in self.tables[label].axes)
        every = (None, *cuts, *self.memo.sums[node])
        if node not in self.limits:
            return every
        return tuple(choice for choice in every if choice in self.limits[node][axis])

    def class_choices(self, number: int, axis: int) -> tuple[Choice, ...]:
        """What an axis may do at all nodes of a class that choose alike, in the labels of the first of them."""
        folding = self.memo.folding
        first, *others = folding.members[number]
        sums = self.memo.sums_of_all[number]
        found = tuple(row for row in self.choices(first, axis) if not isinstance(row, Sum) or row in sums)
        if not self.limits:
            return found
        held = [at for at in others if at in self.limits]
        return tuple(
            row for row in found if all(folding.as_of((row,), first, at)[0] in self.choices(at, axis) for at in held)
        )

    def node_price(self, node: int, sharding: Sharding) -> Price:
        """What the node itself costs a device."""
        key = (self.kind(node), self.memo.places(node, sharding))
        if key not in self.memo.seconds:
            found = self.graph.nodes[node]
            shapes = tuple(self.shape(operand.node) for operand in found.operands)
            form_ = self.memo.forms[node]
            self.memo.seconds[key] = node_seconds(found, form_, sharding, shapes, self.tables, self.machine)
        return Price(self.memo.seconds[key])

    def pair_seconds(self, pair: Pair, first: Sharding, further: Sharding) -> float:
        """What two results of one call cost a device less (below 0) where they are cut alike."""
        if not pair.alike(first, further):
            return 0.0
        key = (self.kind(pair.further), self.memo.places(pair.further, further))
        if key not in self.memo.further_seconds:
            node = self.graph.nodes[pair.further]
            assert isinstance(node, Kernel)
            added = further_seconds(node, further, self.tables, self.machine)
            self.memo.further_seconds[key] = added - self.node_price(pair.further, further).seconds
        return self.memo.further_seconds[key]

    def left(self, node: int, sharding: Sharding) -> Layout:
        """The layout in which a node leaves its value."""
        return self.memo.left(node, sharding)

    def wanted(self, edge: Edge, sharding: Sharding) -> Layout:
        """The layout in which an edge's reader wants the value."""
        return self.memo.wanted(edge.reader, edge.number, sharding)

    def edge_price(self, edge: Edge, writer: Sharding, reader: Sharding) -> Price:
        """What moving the writer's value to the reader costs a device."""
        return self.layout_price(edge.writer, self.left(edge.writer, writer), self.wanted(edge, reader))

    def edge_table(self, edge: Edge, left: Sequence[Layout], wanted: Sequence[Layout]) -> Seconds:
        """Seconds of the edge from each layout that its writer may leave to each that its reader may want."""
        rows, columns = ({layout: k for k, layout in enumerate(dict.fromkeys(every))} for every in (left, wanted))
        key = (self.moved(edge.writer), tuple(rows), tuple(columns))
        if key not in self.memo.edge_tables:
            found = [[self.layout_price(edge.writer, a, b).seconds for b in columns] for a in rows]
            self.memo.edge_tables[key] = np.array(found)
        distinct = self.memo.edge_tables[key]
        return distinct[np.ix_([rows[layout] for layout in left], [columns[layout] for layout in wanted])]

    def layout_price(self, writer: int, left: Layout, wanted: Layout) -> Price:
        """What changing the layout of a node's value costs a device."""
        agg = self.memo.aggs[writer]
        if left == wanted and (agg == "sum" or PARTIAL not in left):
            return Price()
        key = (self.moved(writer), left, wanted)
        if key not in self.memo.edge_prices:
            self.memo.edge_prices[key] = edge_price(left, wanted, agg, self.shape(writer), self.machine)
        return self.memo.edge_prices[key]

    def price(self, shardings: Sequence[Sharding]) -> Price:
        """What a whole plan costs a device, given what every node chooses."""
        total, times = Price(), self.memo.times
        for node in range(len(self.graph.nodes)):
            total += self.node_price(node, shardings[node]) * times[node]
        for edge in self.edges:
            total += self.edge_price(edge, shardings[edge.writer], shardings[edge.reader]) * times[edge.reader]
        for pair in self.pairs:
            seconds = self.pair_seconds(pair, shardings[pair.first], shardings[pair.further])
            total += Price(seconds) * times[pair.further]
        return total


@dataclass(frozen=True, slots=True)
class Solution:
    """What every node of a Problem chooses, and what that costs."""

    problem: Problem
    shardings: tuple[Sharding, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Folded:
    """What every class of nodes that choose alike chooses, in the labels of its first node, and what that costs.

    `seconds` are those of the plan and of the tolls of its Problem.
    """

    problem: Problem
    chosen: tuple[Sharding, ...]
    seconds: float

    def spread(self) -> Solution:
        """The same, of every node."""
        return Solution(self.problem, self.problem.memo.folding.spread(self.chosen), self.seconds)


def folded(problem: Problem, chosen: Sequence[Sharding]) -> Folded:
    """A choice of each class, priced."""
    memo = problem.memo
    firsts = [members[0] for members in memo.folding.members]
    seconds = [
        count * problem.node_price(first, sharding).seconds
        for count, first, sharding in zip(memo.folding.counts, firsts, chosen, strict=True)
    ]
    for (writer, reader, number), count in memo.folded_edges.items():
        # Prices are by layout, and those are by position: that of the class's first node is that of all.
        edge = Edge(firsts[writer], firsts[reader], number)
        seconds.append(count * problem.edge_price(edge, chosen[writer], chosen[reader]).seconds)
    for (first, further), (pair, count) in memo.folded_pairs.items():
        of_first = memo.folding.as_of(chosen[first], firsts[first], pair.first)
        of_further = memo.folding.as_of(chosen[further], firsts[further], pair.further)
        seconds.append(count * problem.pair_seconds(pair, of_first, of_further))
    if problem.tolls:
        live = live_bytes(problem, chosen)
        seconds += [toll * float(live[time]) for time, toll in problem.tolls.items()]
    return Folded(problem, tuple(chosen), fsum(seconds))


def as_it_is(found: Solution) -> Folded:
    """What the nodes choose: as choices of classes where those of a class choose alike, else node by node."""
    problem, memo = found.problem, found.problem.memo
    alike = refolded(found)
    if alike.spread().shardings == found.shardings:
        return alike
    own = Memo(problem.graph, problem.machine, unfolded(problem.graph, memo.times), memo.deep)
    return folded(Problem(problem.graph, problem.machine, problem.tables, own, problem.limits), found.shardings)


def refolded(found: Solution) -> Folded:
    """What the first node of every class chooses, as the choice of the class."""
    return folded(found.problem, [found.shardings[members[0]] for members in found.problem.memo.folding.members])
