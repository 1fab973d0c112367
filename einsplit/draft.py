"""A Graph in the making: nodes are appended, and their labels, dims and dtypes are those of what they read.

Passes that add to a Graph (the gradient, the update) start a Draft with its nodes; passes that rewrite one
(`Rewriting`) start with none, and go through its nodes from front to back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from math import prod

import msgspec

from einsplit.dtypes import ITEMSIZE
from einsplit.errors import GraphError
from einsplit.graph import Dims, Einsum, Graph, Label, Node, Operand, factors
from einsplit.monoid import monoid
from einsplit.scalar import (
    Expr,
    call,
    cast,
    const,
    index,
    labels_of,
    operand,
    operands_of,
    result_dtype,
    simplify,
    substitute,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an appended node comes from, for people: a name and a source line."""

    name: str
    source: str = ""


class Draft:
    """Nodes of a Graph to be, in order, and the sizes of their labels."""

    def __init__(self, nodes: Iterable[Node], sizes: Mapping[Label, int]) -> None:
        self.nodes: list[Node] = list(nodes)
        self.sizes: dict[Label, int] = dict(sizes)

    def fresh(self, label: Label) -> Label:
        """Another label of the same size: `k~2` for `k`, with the first number that is free."""
        found = next(name for number in count(2) if (name := f"{label.split('~')[0]}~{number}") not in self.sizes)
        self.sizes[found] = self.sizes[label]
        return found

    def read(self, at: int) -> Operand:
        """The value under its own labels."""
        return Operand(at, factors(self.nodes[at]))

    def einsum(
        self,
        operands: Sequence[Operand],
        dims: Dims,
        join: Expr,
        agg: str,
        origin: Origin,
        over: Collection[Label] = (),
    ) -> int:
        """Position of `value[dims] = agg of join` over every label of `operands`, and of `over`, that `dims` lacks.

        What the simplified join does not read is not an operand. A sum over a label that then nothing has is a
        product with its size.
        """
        join = simplify(join)
        out = {label for dim in dims for label in dim}
        everything = {label for row in operands for label in row.labels}.union(over)
        used = sorted(operands_of(join))
        needed = labels_of(join) - out
        kept, num_given = list(used), len(operands)
        for k, row in enumerate(operands):
            met = {label for at in kept for label in operands[at].labels}
            # Only a sum is repeated by a factor, and not by 0: 0 times infinity is not an empty sum.
            unread = set(row.labels) - out - met
            unrepeatable = unread if agg != "sum" else {label for label in unread if self.sizes[label] == 0}
            if k not in kept and ((needed - met) & set(row.labels) or unrepeatable):
                kept.append(k)
        operands = [*operands, *map(self._carrier, sorted(needed - {k for at in kept for k in operands[at].labels}))]
        kept.extend(range(num_given, len(operands)))
        met = {label for at in kept for label in operands[at].labels}
        lost = prod(self.sizes[label] for label in everything - out - met)
        if lost != 1:
            assert agg == "sum" and lost, agg  # `over` names labels of sums, and those are not empty
            join = join * const(float(lost))
        join = substitute(join, {at: operand(k) for k, at in enumerate(kept)}, {})
        rows = tuple(operands[at] for at in kept)
        dtype = result_dtype(join, [self.nodes[row.node].dtype for row in rows])
        if met - out:
            dtype = monoid(agg).result_dtype(dtype)
        node = Einsum(name=origin.name, operands=rows, dims=dims, join=join, agg=agg, dtype=dtype, source=origin.source)
        return self.add(node)

    def pointwise(self, join: Expr, ats: Sequence[int], origin: Origin) -> int:
        """An elementwise value of values with as many factors of the same sizes; labels are those of the first."""
        labels = factors(self.nodes[ats[0]])
        operands = [Operand(at, labels) for at in ats]
        return self.einsum(operands, self.nodes[ats[0]].dims, join, "sum", origin)

    def _carrier(self, label: Label) -> Operand:
        """A reading of a value along that label, for a join that reads its index where no operand has it."""
        node = Einsum(name=f"{label}.carrier", operands=(), dims=((label,),), join=const(True), agg="sum", dtype="bool")
        return Operand(self.add(node), (label,))

    def adjoint(self, rows: Sequence[Operand], to: Operand, join: Expr, origin: Origin) -> int:
        """Position of `sum of join` over the labels that `to` lacks: a value of the dims of the node that `to` reads.

        `rows` are read with the labels that `to` has. A label that stands twice in it is told apart by a delta. A cast
        to a narrower dtype of what is summed is done after the sum.
        """
        labels: list[Label] = []
        for label in to.labels:
            twin = self.fresh(label) if label in labels else label
            if twin != label:
                join = call("where", call("eq", index(label), index(twin)), join, const(0.0))
            labels.append(twin)
        names = iter(labels)
        dims = tuple(tuple(next(names) for _ in dim) for dim in self.nodes[to.node].dims)
        read = {label for row in rows for label in row.labels}
        dtype = self.nodes[to.node].dtype
        narrows = join.op == "cast" and ITEMSIZE[str(join.name)] < 4  # summed in half precision, much would be lost
        narrow = narrows and bool(read - set(labels))
        at = self.einsum(rows, dims, join.args[0] if narrow else join, "sum", origin)
        return at if self.nodes[at].dtype == dtype else self.pointwise(cast(operand(0), dtype), [at], origin)

    def add(self, node: Node) -> int:
        """Position of a node that is made already."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def built(self, outputs: Sequence[tuple[str, int]], updates: Sequence[tuple[int, int]]) -> Graph:
        """The finished Graph. Raises GraphError where a law is broken, or an output's name stands twice."""
        names = [name for name, _ in outputs]
        if len(set(names)) < len(names):
            raise GraphError(f"output {next(n for n in names if names.count(n) > 1)!r} is defined twice")
        return Graph(tuple(self.nodes), self.sizes, tuple(outputs), tuple(updates))


class Rewriting(Draft):
    """A new graph that is drafted while an old one is read from front to back; `at` says where its nodes went.

    Where every old node is given its place in turn, `origins` and `named` say of each new node at which old one it was
    made, and which old one it is named after; those made behind the last have the number of old nodes.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__((), graph.sizes)
        self.graph = graph
        self.at: dict[int, int] = {}  # old position -> new position
        self.origins: list[int] = []
        self.named: list[int] = []

    def add(self, node: Node, named: int | None = None) -> int:
        """Position of a node that is made already; `named` after that old node, unless it is the one at hand."""
        self.origins.append(len(self.at))
        self.named.append(len(self.at) if named is None else named)
        return super().add(node)

    def moved(self, node: Node) -> Node:
        """The node with its operands at their new positions."""
        if not node.operands:
            return node
        operands = tuple(Operand(self.at[row.node], row.labels) for row in node.operands)
        return msgspec.structs.replace(node, operands=operands)

    def finish(self) -> Graph:
        """The new graph, under the old outputs and updates."""
        outputs = [(name, self.at[at]) for name, at in self.graph.outputs]
        return self.built(outputs, [(self.at[state], self.at[value]) for state, value in self.graph.updates])
