"""A captured loss -> the Graph of one train step: loss, gradients, updates, in the fewest nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from einsplit.autodiff import grad
from einsplit.errors import EinsplitError
from einsplit.graph import Graph
from einsplit.optim import Group, with_updates
from einsplit.passes import drop_stops, tidy
from einsplit.training.reached import reached

LOSS = "loss"


def train_graph(forward: Graph, groups: Sequence[Group], clip_norm: float | None = None) -> Graph:
    """The Graph whose output is the loss and whose updates are one step of every group's optimizer.

    `forward` has one output, the loss, and is as it was captured. What no gradient reaches is not updated. Raises
    GradientError where the loss is not one real number, or has an operator without a gradient; EinsplitError where
    there is nothing to train.
    """
    ((_, at),) = forward.outputs
    with_gradient = reached(forward)
    groups = [
        replace(group, parameters=tuple(filter(with_gradient.__contains__, group.parameters))) for group in groups
    ]
    names = [name for group in groups for name in group.parameters]
    if not names:
        raise EinsplitError(
            "there is nothing to train: no gradient reaches a parameter",
            "Call model.requires_grad_(), or give the optimizer the parameters of this model.",
        )
    graph = Graph(forward.nodes, forward.sizes, ((LOSS, at),), forward.updates)
    return tidy(drop_stops(with_updates(tidy(grad(tidy(graph), LOSS, names)), LOSS, groups, clip_norm)))
