"""How much of a Graph can be cut, found from the price's own count of operations."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod

from einsplit.dtypes import ITEMSIZE
from einsplit.graph import Graph, Input, Node
from einsplit.solver.pricing.forms import form, operations
from einsplit.solver.sharding import Digits, cuttable_labels


@dataclass(frozen=True, slots=True)
class Share:
    """Operations, and bytes of parameters, in all and in nodes that can be cut by two labels or more."""

    operations: int
    cuttable_operations: int
    nbytes: int
    cuttable_nbytes: int


def share(graph: Graph) -> Share:
    """A parameter's bytes are in the nodes that read it: all of them must be cuttable."""
    tables = {label: Digits(size) for label, size in graph.sizes.items()}
    counts = [0, 0]
    readers: dict[int, list[bool]] = defaultdict(list)
    for node in graph.nodes:
        dtypes = [graph.nodes[operand.node].dtype for operand in node.operands]
        number = operations(node, form(node, dtypes, graph.sizes), graph.sizes, tables)
        counts[0] += number
        counts[1] += number * is_cuttable(graph, node)
        for operand in node.operands:
            readers[operand.node].append(is_cuttable(graph, node))
    weights = [at for at, node in enumerate(graph.nodes) if isinstance(node, Input) and node.role == "parameter"]
    nbytes = {at: prod(graph.shape(at)) * ITEMSIZE[graph.nodes[at].dtype] for at in weights}
    return Share(*counts, sum(nbytes.values()), sum(size for at, size in nbytes.items() if all(readers[at])))


def is_cuttable(graph: Graph, node: Node) -> bool:
    return sum(graph.sizes[label] > 1 for label in cuttable_labels(node)) >= 2
