"""A captured loss -> the Graph of one train step: loss, gradients, updates, in the fewest nodes."""

from __future__ import annotations

from collections.abc import Sequence

from einsplit.autodiff import grad
from einsplit.errors import EinsplitError
from einsplit.graph import Graph
from einsplit.optim import Group, with_updates
from einsplit.passes import drop_stops, tidy

LOSS = "loss"


def train_graph(forward: Graph, groups: Sequence[Group], clip_norm: float | None = None) -> Graph:
    """The Graph whose output is the loss and whose updates are one step of every group's optimizer.

    `forward` has one output, the loss. Raises GradientError where the loss is not one real number, or has an operator
    without a gradient; EinsplitError where there is nothing to train.
    """
    names = [name for group in groups for name in group.parameters]
    if not names:
        raise EinsplitError(
            "there is nothing to train: the loss reads no parameter that requires gradients",
            "Call model.requires_grad_(), or give the optimizer the parameters of this model.",
        )
    (_, at), *more = forward.outputs
    if more:
        raise EinsplitError(f"the loss returns {1 + len(more)} tensors", "Return one number.")
    graph = Graph(forward.nodes, forward.sizes, ((LOSS, at),), forward.updates)
    return tidy(drop_stops(with_updates(tidy(grad(tidy(graph), LOSS, names)), LOSS, groups, clip_norm)))
