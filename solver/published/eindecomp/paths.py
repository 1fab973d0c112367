"""The graph linearised: the longest path of operations not yet planned is planned exactly, until none is left.

    best(v_k, d) = own(v_k, d) + sum over planned neighbours of their repartitions with v_k under d
                               + min over e of best(v_k-1, e) + repartitions(v_k-1, e, v_k, d)

Operations not yet planned that a path only touches cost it nothing; they pay when their own path is planned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from einsplit.solver.published.eindecomp.costs import Scalars
from einsplit.solver.published.eindecomp.network import Choices, Network


def plan_paths(network: Network) -> Choices:
    """A vector for every operation."""
    choices = Choices()
    for path in network.readings.paths:
        _plan(network, path, choices)
        network.settle_inputs(path, choices)
    return choices


def _plan(network: Network, path: Sequence[int], choices: Choices) -> None:
    """The cheapest vectors along the path, given those that neighbours have."""
    best: list[Scalars] = []
    came_from: list[Scalars] = []
    for k, at in enumerate(path):
        costs = _beside(network, at, choices)
        if k:
            steps = best[-1][:, None] + _between(network, path[k - 1], at)
            came_from.append(steps.argmin(axis=0))
            costs = costs + steps.min(axis=0)
        best.append(costs)
    row = int(best[-1].argmin())
    for k in range(len(path) - 1, -1, -1):
        choices.row[path[k]] = row
        row = int(came_from[k - 1][row]) if k else row


def _beside(network: Network, at: int, choices: Choices) -> Scalars:
    """By vector, own costs and repartitions with all neighbours that are planned."""
    own = network.candidates[at]
    costs = own.costs
    for reading in network.readings.of[at]:
        if network.readings.is_input[reading.maker] or reading.maker in choices.row:
            costs = costs + network.from_planned(reading, choices)
    for reading in network.readings.by[at]:
        if reading.reader in choices.row:
            wanted = network.candidates[reading.reader].wanted[reading.number].row[choices.row[reading.reader]]
            costs = costs + network.matrix(reading)[:, wanted][own.left.row]
    return costs


def _between(network: Network, maker: int, reader: int) -> Scalars:
    """Repartitions by vectors of two neighbours on a path, over all readings of one by the other."""
    rows = network.candidates[maker].left.row
    total = np.zeros((len(rows), len(network.candidates[reader].vectors)))
    for reading in (reading for reading in network.readings.of[reader] if reading.maker == maker):
        columns = network.candidates[reader].wanted[reading.number].row
        total += network.matrix(reading)[rows][:, columns]
    return total
