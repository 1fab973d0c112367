"""Nothing heavy is whole: in models of real width, nearly everything is in nodes that can be cut by two labels.

The models are captured on torch's meta device, and nothing is run. That the count of operations, which is the price's
own, leaves nothing out is held against torch's count of the small models.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from einsplit.capture import capture
from einsplit.dtypes import ITEMSIZE
from einsplit.graph import Graph, Input, Node
from einsplit.passes import tidy
from einsplit.solver.pricing.forms import form, operations
from einsplit.solver.sharding import Digits, cuttable_labels
from tests.models.driver import differentiated
from tests.models.zoo import ZOO

LEAST = 0.99
NOT_YET = ("Mixtral", "recommender", "torch.nn.Transformer")


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
        number = operations(node, form(node, dtypes), graph.sizes, tables)
        counts[0] += number
        counts[1] += number * is_cuttable(graph, node)
        for operand in node.operands:
            readers[operand.node].append(is_cuttable(graph, node))
    weights = [at for at, node in enumerate(graph.nodes) if isinstance(node, Input) and node.role == "parameter"]
    nbytes = {at: prod(graph.shape(at)) * ITEMSIZE[graph.nodes[at].dtype] for at in weights}
    return Share(*counts, sum(nbytes.values()), sum(size for at, size in nbytes.items() if all(readers[at])))


def is_cuttable(graph: Graph, node: Node) -> bool:
    return sum(graph.sizes[label] > 1 for label in cuttable_labels(node)) >= 2


@pytest.mark.parametrize("name", ZOO)
def test_our_count_of_operations_misses_no_product(name: str) -> None:
    example = ZOO[name].build()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        example.module(*example.args, **example.kwargs)
    graph = tidy(capture(example.module, example.args, example.kwargs).graph)
    assert share(graph).operations >= counter.get_total_flops()


@pytest.mark.parametrize("name", [name for name in ZOO if name not in NOT_YET])
def test_nothing_heavy_in_a_model_and_in_its_gradient_is_whole(name: str) -> None:
    case = differentiated(ZOO[name].build_real())
    for graph in (tidy(case.captured.graph), case.graph):
        found = share(graph)
        assert found.cuttable_operations >= LEAST * found.operations
        assert found.cuttable_nbytes >= LEAST * found.nbytes
