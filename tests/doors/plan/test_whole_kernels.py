"""A kernel that runs whole is priced by what it reads, writes and computes, and leaves its neighbours' plans alone."""

import pytest
import torch
from torch import nn

import einsplit
from einsplit.graph import Kernel


class BesideRecurrence(nn.Module):
    """A long recurrence, which runs whole, and then a matrix multiplication that is worth cutting."""

    def __init__(self, layers: int):
        super().__init__()
        self.recurrence = nn.LSTM(16, 16, layers)
        self.head = nn.Linear(16, 8192)

    def forward(self, x):
        return self.head(self.recurrence(x)[0])


@pytest.mark.parametrize("layers", [1, 12])
def test_a_recurrence_does_not_hide_what_its_neighbour_costs(layers):
    graph = einsplit.trace(BesideRecurrence(layers), torch.zeros(32, 8, 16))
    plan = einsplit.plan(graph, 2)
    cut = {node.name: node.cut for node in plan.nodes}
    assert cut["head.linear.product"] != (None,)


@pytest.mark.parametrize(
    "module, shape, operations",
    [
        # a multiplication and an addition for each weight at each place of each output
        (nn.Conv2d(3, 16, 5), (2, 3, 12, 12), 2 * (2 * 16 * 8 * 8) * (3 * 5 * 5)),
        (nn.Conv1d(4, 6, 3, groups=2), (1, 4, 10), 2 * (1 * 6 * 8) * (2 * 3)),
        # moving elements is no operation of its own
        (nn.ZeroPad2d(1), (2, 3, 4, 4), 0),
    ],
)
def test_the_operations_of_a_whole_kernel_are_those_that_are_counted_by_hand(module, shape, operations):
    graph = einsplit.trace(module, torch.zeros(shape))
    assert sum(node.operations for node in graph.nodes if isinstance(node, Kernel)) == operations
