"""What a search knows of a prepared Graph whatever the digit tables: how it folds, what may be chosen, prices met.

Prices are kept by content, so that repeated layers are priced once, and by every Problem of one search.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from einsplit.graph import Graph, Label, aggregated_labels
from einsplit.solver.layers.deep import Deep
from einsplit.solver.layers.unroll import Unrolled
from einsplit.solver.machine import Machine
from einsplit.solver.pricing.calls import Pair, pairs
from einsplit.solver.pricing.content import node_content
from einsplit.solver.pricing.forms import Form, form
from einsplit.solver.pricing.liveness import Liveness, Read, liveness
from einsplit.solver.pricing.price import Price
from einsplit.solver.problem.fold import Folding, fold, folded_classes
from einsplit.solver.sharding import (
    Digits,
    DigitTables,
    Layout,
    Sharding,
    Sum,
    aggregation,
    cuttable_labels,
    make_tables,
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


class Memo:
    """Shared by the Problems of one search; `folding` unless given is that of the Graph's repeated layers.

    `deep`: of what the Graph is the short form. Prices and bytes of plans are those of the deep one.
    """

    def __init__(
        self, graph: Graph, machine: Machine, folding: Folding | None = None, deep: Deep | None = None
    ) -> None:
        self.graph = graph
        self.machine = machine
        self.deep = deep
        self.times: Sequence[int] = (1,) * len(graph.nodes) if deep is None else deep.times
        self.forms: tuple[Form, ...] = tuple(
            form(node, [graph.nodes[row.node].dtype for row in node.operands], graph.sizes) for node in graph.nodes
        )
        found = zip(graph.nodes, self.forms, strict=True)
        self._contents = [self.number(node_content(graph, node, form_)) for node, form_ in found]
        alike = () if deep is None else deep.alike()
        self.folding = fold(graph, self._contents, alike, self.times) if folding is None else folding
        self.classes: Mapping[Label, Label] = folded_classes(graph, self.folding)
        self.pairs = pairs(graph)
        self._places: dict[tuple[int, Sharding], tuple[int, ...]] = {}
        self._left: dict[tuple[int, Sharding], Layout] = {}
        self._wanted: dict[tuple[int, int, Sharding], Layout] = {}
        self.seconds: dict[tuple[int, tuple[int, ...]], float] = {}
        self.further_seconds: dict[tuple[int, tuple[int, ...]], float] = {}
        self.edge_prices: dict[tuple[int, Layout, Layout], Price] = {}
        self.edge_tables: dict[tuple[int, tuple[Layout, ...], tuple[Layout, ...]], Seconds] = {}

    @cached_property
    def _numbers(self) -> dict[object, int]:
        return {}

    def number(self, content: object) -> int:
        """A number for equal contents: hashing a long content once for every node, not for every price."""
        return self._numbers.setdefault(content, len(self._numbers))

    def tables(self, axes_of: Mapping[Label, Sequence[int]]) -> DigitTables:
        """Digit tables from the axes of each class of labels; a class left out is not cut."""
        return make_tables(self.graph, self.machine.sizes, axes_of, self.classes)

    def content(self, node: int, tables: DigitTables) -> object:
        """Equal for nodes that cost the same under equal `places`."""
        digits: tuple[Digits, ...] = tuple(tables[label] for label in self.folding.rows[node])
        return (self._contents[node], digits)

    def places(self, node: int, sharding: Sharding) -> tuple[int, ...]:
        """The sharding with each label as its order of appearance; -1 where no label is cut."""
        key = (node, sharding)
        if key not in self._places:
            row = self.folding.rows[node]
            self._places[key] = tuple([row.index(choice) if isinstance(choice, str) else -1 for choice in sharding])
        return self._places[key]

    def left(self, node: int, sharding: Sharding) -> Layout:
        """The layout in which a node leaves its value."""
        key = (node, sharding)
        if key not in self._left:
            self._left[key] = output_layout(self.graph.nodes[node], sharding)
        return self._left[key]

    def wanted(self, node: int, number: int, sharding: Sharding) -> Layout:
        """The layout in which a node wants an operand; as a state, its next value (number -1)."""
        if number < 0:
            return self.left(node, sharding)
        key = (node, number, sharding)
        if key not in self._wanted:
            self._wanted[key] = operand_layout(self.graph.nodes[node], number, sharding)
        return self._wanted[key]

    @cached_property
    def aggs(self) -> tuple[str, ...]:
        """By node, how its partial results combine."""
        return tuple(map(aggregation, self.graph.nodes))

    @cached_property
    def labels(self) -> tuple[tuple[Label, ...], ...]:
        """By node, what may be cut."""
        return tuple(map(cuttable_labels, self.graph.nodes))

    @cached_property
    def sums(self) -> tuple[tuple[Sum, ...], ...]:
        """By node, how it may carry addends: an output never leaves them, and nobody asks for those of a whole value,
        which is cheaper as it is."""
        outputs = {at for _, at in self.graph.outputs}
        by_content: dict[int, tuple[Sum, ...]] = {}
        may_be_partial: list[bool] = []
        found = []
        for at, node in enumerate(self.graph.nodes):
            if self._contents[at] not in by_content:
                by_content[self._contents[at]] = sum_choices(node)
            every = by_content[self._contents[at]]
            own = tuple(row for row in every if any(may_be_partial[node.operands[k].node] for k in row.carriers))
            may_be_partial.append(bool(own or aggregated_labels(node)))
            found.append(() if at in outputs else own)
        return tuple(found)

    @cached_property
    def sums_of_all(self) -> tuple[tuple[Sum, ...], ...]:
        """By class of nodes that choose alike, what all of them may carry."""
        of_members = ([self.sums[at] for at in members] for members in self.folding.members)
        return tuple(tuple(row for row in rows[0] if all(row in other for other in rows)) for rows in of_members)

    @cached_property
    def liveness(self) -> Liveness:
        """From when to when the value of every node stands; of a deep graph, of every node of that."""
        graph = self.graph
        if self.deep is None:
            reads = [[row.node for row in node.operands] for node in graph.nodes]
            outputs = [at for _, at in graph.outputs]
            return liveness(Read(graph.nodes, self.forms, reads, outputs, graph.updates))
        every = self._unrolled
        nodes, forms = [graph.nodes[at] for at in every.stands], [self.forms[at] for at in every.stands]
        return liveness(Read(nodes, forms, every.reads, every.outputs, every.updates))

    @cached_property
    def stands(self) -> Sequence[int]:
        """By node that has a span, the node of the graph that stands for it: itself, unless that is of a deep one."""
        return range(len(self.graph.nodes)) if self.deep is None else self._unrolled.stands

    @cached_property
    def _unrolled(self) -> Unrolled:
        assert self.deep is not None
        return Unrolled(self.deep)

    @cached_property
    def variables(self) -> NDArray[np.int64]:
        """By node that has a span, its class."""
        return np.array(self.folding.variable, dtype=np.int64)[list(self.stands)]

    @cached_property
    def aliases(self) -> NDArray[np.int64]:
        """The nodes that have a span and write nothing."""
        is_alias = np.array([form.kind == "alias" for form in self.forms], dtype=bool)
        return np.flatnonzero(is_alias[list(self.stands)])

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Every operand of every node, and every update."""
        read = [
            Edge(operand.node, reader, number)
            for reader, node in enumerate(self.graph.nodes)
            for number, operand in enumerate(node.operands)
        ]
        return (*read, *(Edge(value, state, -1) for state, value in self.graph.updates))

    @cached_property
    def edges_of(self) -> tuple[tuple[Edge, ...], ...]:
        """By node, the edges that touch it."""
        touching: list[dict[Edge, None]] = [{} for _ in self.graph.nodes]
        for edge in self.edges:
            touching[edge.reader][edge] = touching[edge.writer][edge] = None
        return tuple(map(tuple, touching))

    def count(self, at: int, edge: Edge) -> int:
        """For how many edges of one node `at` of the graph that is planned an edge stands: all layers read what is of
        no layer, from what makes it or hands it on."""
        is_of_all = edge.reader != at and self.deep is not None and self.deep.layer[at] < 0
        return self.times[edge.reader] if is_of_all else 1

    @cached_property
    def pairs_of(self) -> dict[int, list[Pair]]:
        """By node, the pairs of results of one call that it is of."""
        found: dict[int, list[Pair]] = {}
        for pair in self.pairs:
            for at in (pair.first, pair.further):
                found.setdefault(at, []).append(pair)
        return found

    @cached_property
    def folded_edges(self) -> Counter[tuple[int, int, int]]:
        """How many edges there are between two classes, by the operand's number."""
        variable, found = self.folding.variable, Counter[tuple[int, int, int]]()
        for edge in self.edges:
            found[variable[edge.writer], variable[edge.reader], edge.number] += self.times[edge.reader]
        return found

    @cached_property
    def folded_pairs(self) -> dict[tuple[int, int], tuple[Pair, int]]:
        """Of results of one call of two classes, one pair, and how many there are."""
        variable, found = self.folding.variable, dict[tuple[int, int], tuple[Pair, int]]()
        for pair in self.pairs:
            key = (variable[pair.first], variable[pair.further])
            first, count = found.get(key, (pair, 0))
            found[key] = (first, count + self.times[pair.further])
        return found
