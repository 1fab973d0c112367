"""Before planning: what is priced must be what is run. Graph -> Graph; outputs, updates and their values are unchanged.

- A sum of products over three or more operands becomes binary nodes along opt_einsum's path, so that intermediates
  can be cut and kept.
- stop_gradient goes: nothing is differentiated any more.
- A mean becomes a sum and a division: partial sums combine, partial means do not.
- Attention becomes the logsumexp of its scores and, given that, a sum over keys: partial results of both combine, and
  where both are cut alike one call makes them (`einsplit.kernels.attention`).
- A value that several read is read through a *use node*, an identity with a sharding of its own: a repartition that the
  readers share is then one edge, paid once. So is every output: addends never leave the devices uncombined.
"""

from __future__ import annotations

from collections import Counter
from math import prod

import msgspec
import opt_einsum
from opt_einsum import get_symbol

from einsplit.draft import Rewriting
from einsplit.graph import Einsum, Graph, Input, Kernel, Node, Operand, aggregated_labels, factors, node_labels
from einsplit.kernels.attention import logsum_of
from einsplit.passes import drop_dead, drop_stops, merge_equal, read_through
from einsplit.scalar import const, is_product, operand
from einsplit.solver.pricing.calls import pairs


def prepare(graph: Graph) -> Graph:
    """The graph that is planned and run."""
    return prepare_computed(computed(graph))


def prepare_computed(graph: Graph) -> Graph:
    """Likewise, of what `computed` gives."""
    return insert_uses(split_attention(split_means(split_products(graph))))


def computed(graph: Graph) -> Graph:
    """What the graph computes, and nothing of what its gradient would be: a plan is for this graph, by its hash.

    What gradients would flow is left out, so that a change of that alone needs no new plan; what is computed twice is
    computed once.
    """
    return drop_dead(merge_equal(read_through(drop_stops(graph))))


def split_products(graph: Graph) -> Graph:
    """Sums of products of three or more operands as binary nodes."""
    new = Rewriting(graph)
    for at, node in enumerate(graph.nodes):
        moved = new.moved(node)
        new.at[at] = _split_product(new, moved) if _is_wide_product(moved) else new.add(moved)
    return new.finish()


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


def split_means(graph: Graph) -> Graph:
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
    return new.finish()


def split_attention(graph: Graph) -> Graph:
    """Attention as the logsumexp of its scores, and as the values weighted by it."""
    new = Rewriting(graph)
    logsums: dict[Kernel, int] = {}
    for at, node in enumerate(graph.nodes):
        moved = new.moved(node)
        if not isinstance(moved, Kernel) or moved.agg not in ("softmax", "logsumexp"):
            new.at[at] = new.add(moved)
            continue
        logsum = logsum_of(moved, new.sizes) if moved.agg == "softmax" else moved
        content = msgspec.structs.replace(logsum, name="", source="")
        if content not in logsums:
            logsums[content] = new.add(logsum)
        new.at[at] = logsums[content]
        if moved.agg == "softmax":
            given = Operand(logsums[content], factors(logsum))
            of_all = msgspec.structs.replace(
                moved,
                kernel="attention_values",
                operands=(*moved.operands, given),
                reads=(*moved.reads, logsum.dims),
                agg="sum",
                shared=logsum.operations,
            )
            new.at[at] = new.add(of_all)
    return new.finish()


def insert_uses(graph: Graph) -> Graph:
    """An identity before the readers of every value that has several, before results of one call, before outputs."""
    first = {pair.further: pair.first for pair in pairs(graph)}
    calls = {at: first.get(at, at) for at in (*first, *first.values())}
    # Results of one call are one reader: cut alike, they read once.
    readers = {
        (o.node, (calls[at],) if at in calls else (at, k))
        for at, n in enumerate(graph.nodes)
        for k, o in enumerate(n.operands)
    }
    readings = Counter(node for node, _ in readers)
    readings.update(at for _, at in graph.outputs)
    readings.update(value for _, value in graph.updates)
    new = Rewriting(graph)
    read_by: dict[tuple[int, int], int] = {}  # (call, value) -> its use node
    for at, node in enumerate(graph.nodes):
        moved = new.moved(node)
        if at in calls:
            for o in node.operands:
                if calls[at] == at and (at, o.node) not in read_by:
                    value = graph.nodes[o.node]
                    read_by[at, o.node] = new.add(_identity(new.at[o.node], value, f"{value.name}.read"))
            rows = (Operand(read_by.get((calls[at], o.node), new.at[o.node]), o.labels) for o in node.operands)
            moved = msgspec.structs.replace(node, operands=tuple(rows))
        own = new.add(moved)
        new.at[at] = new.add(_identity(own, node, f"{node.name}.use")) if readings[at] > 1 else own
    outputs = []
    for name, at in graph.outputs:
        outputs.append((name, new.add(_identity(new.at[at], graph.nodes[at], f"{name}.out"))))
    # An update rests in its state's own layout: the state is the input itself, not a reading of it.
    states = {node.name: at for at, node in enumerate(new.nodes) if isinstance(node, Input)}
    updates = tuple((states[graph.nodes[state].name], new.at[value]) for state, value in graph.updates)
    return Graph(tuple(new.nodes), graph.sizes, tuple(outputs), updates)


def _identity(at: int, node: Node, name: str) -> Einsum:
    """A use node of the value of `node`, which stands at position `at`."""
    labels = factors(node)
    read = (Operand(at, labels),)
    return Einsum(
        name=name, operands=read, dims=node.dims, join=operand(0), agg="sum", dtype=node.dtype, source=node.source
    )
