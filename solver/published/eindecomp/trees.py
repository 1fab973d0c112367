"""The graph cut into trees: a value with several readers ends one. Trees are planned exactly, one after the other.

    best(v, d) = own(v, d) + sum over operands u in the tree of  min over e of best(u, e) + repartition(u, e, v, d)
                           + sum over operands planned before of        repartition(u, planned e, v, d)

A value with several readers, and one with none, is the root of the tree that makes it: its vector is the cheapest
there, whatever its readers will want; they pay the repartition from it.
"""

from __future__ import annotations

import numpy as np

from einsplit.solver.published.eindecomp.costs import Scalars
from einsplit.solver.published.eindecomp.network import Choices, Network, Reading


def plan_trees(network: Network) -> Choices:
    """A vector for every operation."""
    choices = Choices()
    best: dict[int, Scalars] = {}
    for at in network.readings.operations:
        costs = network.candidates[at].costs
        for reading in network.readings.of[at]:
            if _is_inner(network, reading):
                costs = costs + _cheapest(network, reading, best)
            else:
                costs = costs + network.from_planned(reading, choices)
        best[at] = costs
        if len(network.readings.by[at]) != 1:
            network.settle_inputs(_traced_back(network, at, best, choices), choices)
    return choices


def _is_inner(network: Network, reading: Reading) -> bool:
    """Whether the value read is an operation's of the reader's own tree."""
    return not network.readings.is_input[reading.maker] and len(network.readings.by[reading.maker]) == 1


def _cheapest(network: Network, reading: Reading, best: dict[int, Scalars]) -> Scalars:
    """By vector of the reader, the least that its operand and the way to it cost."""
    left = network.candidates[reading.maker].left
    made = np.full(len(left.distinct), np.inf)
    np.minimum.at(made, left.row, best[reading.maker])
    wanted = network.candidates[reading.reader].wanted[reading.number]
    cheapest: Scalars = (made[:, None] + network.matrix(reading)).min(axis=0)
    return cheapest[wanted.row]


def _traced_back(network: Network, root: int, best: dict[int, Scalars], choices: Choices) -> list[int]:
    """The operations of a tree, in order, after each was given its vector."""
    choices.row[root] = int(best[root].argmin())
    tree = [root]
    for at in tree:
        for reading in network.readings.of[at]:
            if _is_inner(network, reading):
                maker = network.candidates[reading.maker]
                wanted = network.candidates[at].wanted[reading.number].row[choices.row[at]]
                costs = best[reading.maker] + network.matrix(reading)[:, wanted][maker.left.row]
                choices.row[reading.maker] = int(costs.argmin())
                tree.append(reading.maker)
    return sorted(tree)
