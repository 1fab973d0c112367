"""The one description of what is computed: `Graph`, its nodes, and their laws."""

from einsplit.graph.graph import Graph
from einsplit.graph.laws import check
from einsplit.graph.nodes import (
    Einsum,
    Input,
    Kernel,
    Node,
    Operand,
    Role,
    aggregated_labels,
    factors,
    node_labels,
    node_text,
    zeroed_labels,
)
from einsplit.notation.dims import Dims, Label, dims_shape, dims_text

__all__ = [
    "Dims",
    "Einsum",
    "Graph",
    "Input",
    "Kernel",
    "Label",
    "Node",
    "Operand",
    "Role",
    "aggregated_labels",
    "check",
    "dims_shape",
    "dims_text",
    "factors",
    "node_labels",
    "node_text",
    "zeroed_labels",
]
