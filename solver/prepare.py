"""Before planning: what is priced must be what is run. Graph -> Graph; outputs, updates and their values are unchanged.

- A sum of products over three or more operands becomes binary nodes along opt_einsum's path, so that intermediates
  can be cut and kept.
- stop_gradient goes: nothing is differentiated any more.
- A mean becomes a sum and a division: partial sums combine, partial means do not.
- Attention becomes the logsumexp of its scores and, given that, a sum over keys: partial results of both combine, and
  where both are cut alike one call makes them (`einsplit.kernels.attention`).
- A value that several read is read through a *use node*, an identity with a sharding of its own: a repartition that the
  readers share is then one edge, paid once. So is every output: addends never leave the devices uncombined. Readers in
  the forward part and after it share one each: what is held between them may be less than what they read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from math import prod

import msgspec
import opt_einsum
from opt_einsum import get_symbol

from einsplit.draft import Rewriting
from einsplit.graph import Einsum, Graph, Kernel, Node, Operand, aggregated_labels, factors, node_labels
from einsplit.kernels.attention import logsum_of
from einsplit.passes import content, drop_dead, drop_stops, merge_equal, read_through
from einsplit.scalar import const, is_product, operand
from einsplit.solver.pricing.calls import pairs


@dataclass(frozen=True, slots=True)
class Prepared:
    """The graph that is planned; by node of it, the node of the given one at which it was made, and the one that it is
    named after. What is made behind all nodes has their number."""

    graph: Graph
    origins: tuple[int, ...]
    named: tuple[int, ...]


def prepare(graph: Graph) -> Graph:
    """The graph that is planned and run."""
    return prepare_computed(computed(graph))


def prepare_computed(graph: Graph) -> Graph:
    """Likewise, of what `computed` gives."""
    return prepared(graph).graph


def prepared(graph: Graph) -> Prepared:
    """Likewise, with where its nodes come from."""
    every = len(graph.nodes)
    origins = named = tuple(range(every))
    for rewrite in (_products_split, _means_split, _attention_split, _uses_inserted):
        new, graph = rewrite(graph)
        origins, named = (
            tuple(before[at] if at < len(before) else every for at in after)
            for before, after in ((origins, new.origins), (named, new.named))
        )
    return Prepared(graph, origins, named)


def computed(graph: Graph) -> Graph:
    """What the graph computes, and nothing of what its gradient would be: a plan is for this graph, by its hash.

    What gradients would flow is left out, so that a change of that alone needs no new plan; what is computed twice is
    computed once.
    """
    return drop_dead(merge_equal(read_through(drop_stops(graph))))


def _products_split(graph: Graph) -> tuple[Rewriting, Graph]:
    """Sums of products of three or more operands as binary nodes."""
    new = Rewriting(graph)
    for at, node in enumerate(graph.nodes):
        moved = new.moved(node)
        new.at[at] = _split_product(new, moved) if _is_wide_product(moved) else new.add(moved)
    return new, new.finish()


def _is_wide_product(node: Node) -> bool:
    """Whether it sums a product of three or more operands, each read once, that carry every label of the value."""
    if not isinstance(node, Einsum) or len(node.operands) < 3 or node.agg != "sum" or not aggregated_labels(node):
        return False
    distinct = all(len(set(o.labels)) == len(o.labels) for o in node.operands)
    carried = {label for o in node.operands for label in o.labels}
    product = is_product(node.join)
    return distinct and product is not None and len(product) == len(node.operands) and set(factors(node)) <= carried


def _split_product(new: Rewriting, node: Node) -> int:
    """The position of the node's value, made by nodes of two operands."""
    assert isinstance(node, Einsum)
    sizes = new.graph.sizes
    letters = {label: get_symbol(k) for k, label in enumerate(node_labels(node))}
    terms = [
        "".join(letters[label] for label in labels) for labels in (*(o.labels for o in node.operands), factors(node))
    ]
    text = ",".join(terms[:-1]) + "->" + terms[-1]
    shapes = [tuple(sizes[label] for label in o.labels) for o in node.operands]
    path, _ = opt_einsum.contract_path(text, *shapes, shapes=True, optimize="auto")
    waiting = list(node.operands)
    for number, pair in enumerate(path):
        chosen = [waiting.pop(k) for k in sorted(pair, reverse=True)][::-1]
        last = not waiting
        needed = set(factors(node)).union(*(o.labels for o in waiting))
        met = dict.fromkeys(label for o in chosen for label in o.labels)
        labels = factors(node) if last else tuple(label for label in met if label in needed)
        join = operand(0)
        for k in range(1, len(chosen)):
            join = join * operand(k)
        part = Einsum(
            name=node.name if last else f"{node.name}.{number}",
            operands=tuple(chosen),
            dims=node.dims if last else tuple((label,) for label in labels),
            join=join,
            agg="sum",
            dtype=node.dtype,
            source=node.source,
        )
        waiting.append(Operand(new.add(part), labels))
    return waiting[0].node


def _means_split(graph: Graph) -> tuple[Rewriting, Graph]:
    """Means as a sum and a division by the number of elements."""
    new = Rewriting(graph)
    for at, node in enumerate(graph.nodes):
        moved = new.moved(node)
        if not isinstance(moved, Einsum) or moved.agg != "mean":
            new.at[at] = new.add(moved)
            continue
        count = prod(graph.sizes[label] for label in aggregated_labels(moved))
        total = new.add(msgspec.structs.replace(moved, name=f"{moved.name}.sum", agg="sum"))
        read = (Operand(total, factors(moved)),)
        share = operand(0) / const(count)
        new.at[at] = new.add(msgspec.structs.replace(moved, operands=read, join=share, agg="sum"))
    return new, new.finish()


def _attention_split(graph: Graph) -> tuple[Rewriting, Graph]:
    """Attention as the logsumexp of its scores, and as the values weighted by it."""
    new = Rewriting(graph)
    logsums: dict[Hashable, int] = {}
    for at, node in enumerate(graph.nodes):
        moved = new.moved(node)
        if not isinstance(moved, Kernel) or moved.agg not in ("softmax", "logsumexp"):
            new.at[at] = new.add(moved)
            continue
        logsum = logsum_of(moved, new.sizes) if moved.agg == "softmax" else moved
        what = content(new.sizes, logsum, range(len(new.nodes)))
        if what not in logsums:
            logsums[what] = new.add(logsum)
        placed = logsums[what]
        if moved.agg == "softmax":
            given = Operand(placed, factors(logsum))
            of_all = msgspec.structs.replace(
                moved,
                kernel="attention_values",
                operands=(*moved.operands, given),
                reads=(*moved.reads, logsum.dims),
                agg="sum",
                shared=logsum.operations,
            )
            placed = new.add(of_all)
        new.at[at] = placed
    return new, new.finish()


def _uses_inserted(graph: Graph) -> tuple[Rewriting, Graph]:
    """An identity before the readers of every value that has several, before results of one call, before outputs.

    Where readers stand in the forward part and after it, those of either have one more of their own: what the first
    identity holds in between may be less than what they read, and is then brought together twice.
    """
    uses = _Uses(graph)
    for at in range(len(graph.nodes)):
        uses.add(at)
    return uses.new, uses.finish()


class _Uses:
    """A Graph being written anew, with its use nodes."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.new = Rewriting(graph)
        first = {pair.further: pair.first for pair in pairs(graph)}
        self.calls = {at: first.get(at, at) for at in (*first, *first.values())}
        self.later = _after_forward(graph)
        # By value and by whether it is read after the forward part: results of one call are one reader.
        readers = {
            (o.node, (self.calls[at],) if at in self.calls else (at, k))
            for at, n in enumerate(graph.nodes)
            for k, o in enumerate(n.operands)
        }
        self.readings = Counter((node, reader[0] in self.later) for node, reader in readers)
        self.readings.update((at, False) for _, at in graph.outputs)
        self.readings.update((value, True) for _, value in graph.updates)
        self.read_by: dict[tuple[int, int], int] = {}  # (call, value) -> its use node
        self.used: dict[tuple[int, bool], int] = {}  # (value, whether after the forward part) -> what is read

    def add(self, at: int) -> None:
        """A node, its operands read through their use nodes, and its own use nodes."""
        node, call = self.graph.nodes[at], self.calls.get(at)
        if call == at:
            for o in node.operands:
                if (at, o.node) not in self.read_by:
                    value = self.graph.nodes[o.node]
                    found = self._identity(self.used[o.node, at in self.later], o.node, f"{value.name}.read")
                    self.read_by[at, o.node] = found
        rows = []
        for o in node.operands:
            # What completes a further result is no operand of the call.
            of_call = None if call is None else self.read_by.get((call, o.node))
            rows.append(Operand(self.used[o.node, at in self.later] if of_call is None else of_call, o.labels))
        own = self.new.add(msgspec.structs.replace(node, operands=tuple(rows)) if rows else node)
        placed = own
        early, late = self.readings[at, False], self.readings[at, True]
        if early + late > 1:
            own = self._identity(own, at, f"{node.name}.use")
        for is_late, count, suffix in ((False, early, "forward"), (True, late, "after")):
            apart = count > 1 and count < early + late
            self.used[at, is_late] = self._identity(own, at, f"{node.name}.{suffix}") if apart else own
        self.new.at[at] = placed

    def finish(self) -> Graph:
        graph = self.graph
        outputs = tuple((name, self._identity(self.used[at, False], at, f"{name}.out")) for name, at in graph.outputs)
        # An update rests in its state's own layout: the state is the input itself, not a reading of it.
        updates = tuple((self.new.at[state], self.used[value, True]) for state, value in graph.updates)
        return Graph(tuple(self.new.nodes), graph.sizes, outputs, updates)

    def _identity(self, read: int, of: int, name: str) -> int:
        """A use node, named so, of the value of node `of`, which is read at position `read` of the new graph."""
        node = self.graph.nodes[of]
        labels = factors(node)
        return self.new.add(
            Einsum(
                name=name,
                operands=(Operand(read, labels),),
                dims=node.dims,
                join=operand(0),
                agg="sum",
                dtype=node.dtype,
                source=node.source,
            ),
            named=of,
        )


def _after_forward(graph: Graph) -> frozenset[int]:
    """Nodes that no output needs: gradients and what they make of the state."""
    needed = {at for _, at in graph.outputs}
    for at in reversed(range(len(graph.nodes))):
        if at in needed:
            needed.update(operand.node for operand in graph.nodes[at].operands)
    return frozenset(range(len(graph.nodes))) - needed
