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
from einsplit.solver.machine import Machine
from einsplit.solver.pricing.calls import Pair, pairs
from einsplit.solver.pricing.content import node_content
from einsplit.solver.pricing.forms import Form, form
from einsplit.solver.pricing.liveness import Liveness, liveness
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
    """Shared by the Problems of one search; `folding` unless given is that of the Graph's repeated layers."""

    def __init__(self, graph: Graph, machine: Machine, folding: Folding | None = None) -> None:
        self.graph = graph
        self.machine = machine
        self.forms: tuple[Form, ...] = tuple(
            form(node, [graph.nodes[row.node].dtype for row in node.operands], graph.sizes) for node in graph.nodes
        )
        found = zip(graph.nodes, self.forms, strict=True)
        self._contents = [self.number(node_content(graph, node, form_)) for node, form_ in found]
        self.folding = fold(graph, self._contents) if folding is None else folding
        self.classes: Mapping[Label, Label] = folded_classes(graph, self.folding)
        self.pairs = pairs(graph)
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
        row = self.folding.rows[node]
        return tuple(row.index(choice) if isinstance(choice, str) else -1 for choice in sharding)

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
        """From when to when the value of every node stands."""
        return liveness(self.graph, self.forms)

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
        variable = self.folding.variable
        return Counter((variable[edge.writer], variable[edge.reader], edge.number) for edge in self.edges)

    @cached_property
    def folded_pairs(self) -> dict[tuple[int, int], list[Pair]]:
        """The pairs of results of one call between two classes."""
        variable, found = self.folding.variable, dict[tuple[int, int], list[Pair]]()
        for pair in self.pairs:
            found.setdefault((variable[pair.first], variable[pair.further]), []).append(pair)
        return found
