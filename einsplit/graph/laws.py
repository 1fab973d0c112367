"""The laws of a well-formed graph, checked where one is built; `einsplit.graph.graph` says what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from einsplit.errors import GraphError, advice
from einsplit.graph.nodes import Einsum, Input, Kernel, Node, aggregated_labels, factors, node_labels, node_text
from einsplit.monoid import KERNEL_AGGREGATIONS, MONOIDS
from einsplit.notation.dims import Label, dims_text
from einsplit.scalar import labels_of, operands_of, to_text

if TYPE_CHECKING:
    from einsplit.graph.graph import Graph


def check(graph: Graph) -> None:
    """The laws of a well-formed graph. Raises GraphError, naming the node, where one is broken."""
    for at, node in enumerate(graph.nodes):
        for mistake, remark in _faults(graph, at, node):
            raise GraphError(f"node {at} ({node.name}): {mistake}", node_text(node), remark)
    for name, number in Counter(node.name for node in graph.nodes if isinstance(node, Input)).items():
        if number > 1:
            raise GraphError(f"input {name!r} is defined twice", "Inputs are fed by name: rename one of them.")
    for name, at in graph.outputs:
        if not _is_node(graph, at):
            mistake = f"output {name!r} is node {at}, and there are {len(graph.nodes)} nodes"
            raise GraphError(mistake, _positions(len(graph.nodes)))
    for state, value in graph.updates:
        for mistake, remark in _update_faults(graph, state, value):
            raise GraphError(f"update of node {state} by node {value}: {mistake}", remark)


Fault = tuple[str, str]  # the mistake, and advice


def _is_node(graph: Graph, at: int) -> bool:
    return 0 <= at < len(graph.nodes)


def _positions(num_nodes: int) -> str:
    return f"Nodes are numbered 0 to {num_nodes - 1}." if num_nodes else "There are no nodes before it."


def _faults(graph: Graph, at: int, node: Node) -> Iterator[Fault]:
    """What is wrong with node `at`. Later faults take it that the earlier ones are mended."""
    out, labels = factors(node), node_labels(node)
    for label in labels:
        if label not in graph.sizes:
            yield f"label {label!r} has no size", advice(label, graph.sizes, "Labels with a size")
    if len(set(out)) != len(out):
        yield f"a label stands twice in the output {dims_text(node.dims)}", "Only an operand may repeat a label."
    for operand in node.operands:
        if not 0 <= operand.node < at:
            yield f"operand {operand.node} is not an earlier node", _positions(at)
        written = factors(graph.nodes[operand.node])
        sizes, read = _sizes(graph, written), _sizes(graph, operand.labels)
        if sizes != read:
            mistake = f"reads {written} of node {operand.node} as {operand.labels}: not the same sizes"
            yield mistake, f"Sizes {sizes} are read as {read}: one label for each factor, of its size."
    if isinstance(node, Einsum):
        yield from _einsum_faults(node)
    if isinstance(node, Kernel):
        yield from _kernel_faults(node)


def _einsum_faults(node: Einsum) -> Iterator[Fault]:
    labels = node_labels(node)
    if node.agg not in MONOIDS:
        yield f"unknown aggregation {node.agg!r}", advice(node.agg, MONOIDS)
    if any(k >= len(node.operands) for k in operands_of(node.join)):
        yield f"the join {to_text(node.join)} has more operands than the node", f"The node has {len(node.operands)}."
    for label in sorted(labels_of(node.join) - set(labels)):
        mistake = f"the join {to_text(node.join)} has an index that is no label of the node"
        yield mistake, advice(label, labels, "Labels here")


def _kernel_faults(node: Kernel) -> Iterator[Fault]:
    labels = node_labels(node)
    if node.agg not in KERNEL_AGGREGATIONS:
        yield f"unknown aggregation {node.agg!r}", advice(node.agg, KERNEL_AGGREGATIONS)
    known = {*factors(node), *node.brackets, *aggregated_labels(node)}
    for label in labels:
        if label not in known:
            mistake = f"label {label!r} is read, not written, not whole, and not summed"
            yield mistake, "Name it among `brackets`, or among `summed`."
    for label in node.zeroed:
        if label not in labels:
            yield f"label {label!r} is zeroed, and is no label of the node", advice(label, labels, "Labels here")
    if not 0 <= node.shared <= node.operations:
        mistake = f"{node.shared} of its {node.operations} operations are shared"
        yield mistake, f"Between 0 and {node.operations} of them: those that the call has done for another result."


def _update_faults(graph: Graph, state: int, value: int) -> Iterator[Fault]:
    """What is wrong with the update of one state."""
    for at in (state, value):
        if not _is_node(graph, at):
            yield f"there are {len(graph.nodes)} nodes", _positions(len(graph.nodes))
    if not isinstance(graph.nodes[state], Input):
        yield f"node {state} is no input", f"Inputs: {', '.join(f'{name}={at}' for name, at in graph.inputs.items())}."
    before, after = (_sizes(graph, factors(graph.nodes[at])) for at in (state, value))
    if before != after:
        yield f"factors of sizes {before} and {after}", "The next value has the factors of the state that it becomes."


def _sizes(graph: Graph, labels: tuple[Label, ...]) -> tuple[int, ...]:
    return tuple(graph.sizes[label] for label in labels)
