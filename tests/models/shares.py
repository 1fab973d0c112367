"""How much of a Graph can be cut, found from the price's own count of operations.

A further result of one kernel's call adds what it does not share, and is written.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod

import torch
from torch.utils.flop_counter import FlopCounterMode

from einsplit.dtypes import ITEMSIZE
from einsplit.graph import Graph, Input, Kernel, Node
from einsplit.solver.pricing.forms import form, operations
from einsplit.solver.sharding import Digits, cuttable_labels
from tests.models.plain import Example


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
    calls: set[object] = set()
    for at, node in enumerate(graph.nodes):
        dtypes = [graph.nodes[operand.node].dtype for operand in node.operands]
        number = operations(node, form(node, dtypes, graph.sizes), graph.sizes, tables)
        if isinstance(node, Kernel):
            call = (node.kernel, node.attributes, tuple(operand.node for operand in node.operands))
            number = prod(graph.shape(at)) + node.operations - node.shared if call in calls else number
            calls.add(call)
        counts[0] += number
        counts[1] += number * is_cuttable(graph, node)
        for operand in node.operands:
            readers[operand.node].append(is_cuttable(graph, node))
    weights = [at for at, node in enumerate(graph.nodes) if isinstance(node, Input) and node.role == "parameter"]
    nbytes = {at: prod(graph.shape(at)) * ITEMSIZE[graph.nodes[at].dtype] for at in weights}
    return Share(*counts, sum(nbytes.values()), sum(size for at, size in nbytes.items() if all(readers[at])))


def counted_by_torch(example: Example) -> int:
    """Operations of all products of matrices, and of convolutions, by torch's own count."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # in which nothing is counted
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            example.module(*example.args, **example.kwargs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops()


def is_cuttable(graph: Graph, node: Node) -> bool:
    return sum(graph.sizes[label] > 1 for label in cuttable_labels(node)) >= 2
