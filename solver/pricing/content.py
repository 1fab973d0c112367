"""All that a node's price depends on besides digits and sharding: equal contents cost the same."""

from __future__ import annotations

from einsplit.graph import Einsum, Graph, Kernel, Node, factors, node_labels
from einsplit.scalar import index, labels_of, substitute, to_text
from einsplit.solver.pricing.forms import Form


def node_content(graph: Graph, node: Node, found: Form) -> tuple[object, ...]:
    """The node with its labels numbered by order of appearance."""
    row = node_labels(node)
    number = {label: k for k, label in enumerate(row)}
    reads = tuple(tuple(number[label] for label in operand.labels) for operand in node.operands)
    dtypes = tuple(graph.nodes[operand.node].dtype for operand in node.operands)
    common = (found.kind, reads, len(factors(node)), dtypes, node.dtype)
    if isinstance(node, Einsum):
        numbered = {label: index(f"#{number[label]}") for label in labels_of(node.join)}
        return (*common, to_text(substitute(node.join, {}, numbered)), node.agg)
    if isinstance(node, Kernel):
        whole, zeroed = (tuple(number[label] for label in labels) for labels in (node.brackets, node.zeroed))
        return (*common, node.kernel, node.operations, node.shared, whole, zeroed)
    return common
