"""Where the nodes of repeated layers stand, and whether they read, and are read, in each layer as in the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from einsplit.graph import Graph
from einsplit.solver.layers.runs import Ints, Run


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """By node of the deep graph: its run, its slot in its block, and the layer that its block is of; -1 outside."""

    runs: tuple[Run, ...]
    run: Ints
    slot: Ints
    layer: Ints

    def moved(self, at: int, by: int) -> int:
        """The node that stands in a layer `by` layers on as this one does in its own."""
        return at + by * self.runs[int(self.run[at])].stride


def edges_of(graph: Graph) -> tuple[Ints, Ints, Ints]:
    """Readers, what they read, and as which operand; -1: a state reads its next value."""
    found = [(at, row.node, number) for at, node in enumerate(graph.nodes) for number, row in enumerate(node.operands)]
    found += [(state, value, -1) for state, value in graph.updates]
    readers, read, number = np.array(found, dtype=np.int64).reshape(-1, 3).T
    return readers, read, number


def places_of(num_nodes: int, runs: Sequence[Run]) -> Places:
    run, slot, layer = (np.full(num_nodes, -1, dtype=np.int64) for _ in range(3))
    for number, each in enumerate(runs):
        own = np.arange(each.period * each.blocks)
        run[each.first : each.end] = number
        slot[each.first : each.end] = own % each.period
        layer[each.first : each.end] = each.offset + each.step * (own // each.period)
    return Places(tuple(runs), run, slot, layer)


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """The edges of layers, to be compared: `readers[k]` reads node `read[k]` as operand `number[k]`; -1: as a state."""

    places: Places
    readers: Ints
    read: Ints
    number: Ints
    layers: range

    def read_alike(self) -> bool:
        """Whether nodes of all these layers read alike: of this layer and its neighbours, or what all of them read."""
        return self._same(self.readers, self.read)

    def are_read_alike(self) -> bool:
        """Whether their values are read by nodes of this layer and its neighbours alone, and alike.

        What reads the values of all layers reads each as another operand.
        """
        return self._same(self.read, self.readers)

    def _same(self, own: Ints, other: Ints) -> bool:
        places = self.places
        within = np.isin(places.layer[own], self.layers)
        own, other, number = own[within], other[within], self.number[within]
        is_in = places.run[other] >= 0
        apart = np.where(is_in, places.layer[other] - places.layer[own], 0)
        if len(own) % len(self.layers) or (np.abs(apart) > 1).any():
            return False
        of_other = np.where(is_in, places.slot[other], other)
        columns = (places.run[own], places.slot[own], number, places.run[other], of_other, apart)
        order = np.lexsort((*columns[::-1], places.layer[own]))
        rows = np.stack([places.layer[own], *columns])[:, order].reshape(len(columns) + 1, len(self.layers), -1)
        return bool((rows[0] == np.array(self.layers)[:, None]).all() and (rows[1:] == rows[1:, :1]).all())


def updates_follow(graph: Graph, places: Places, layers: range) -> bool:
    """Whether the updates of each layer stand together, in one order, next to those of its neighbours."""
    states = np.array([state for state, _ in graph.updates], dtype=np.int64)
    layer = places.layer[states] if len(states) else states
    at = np.flatnonzero(np.isin(layer, layers))
    if not len(at):
        return True
    if len(at) % len(layers) or at[-1] - at[0] + 1 != len(at):
        return False
    of = states[at].reshape(len(layers), -1)
    found = places.layer[of]
    follow = (found == found[:, :1]).all() and abs(int(found[1, 0] - found[0, 0])) == 1
    rising = (np.diff(found[:, 0]) == found[1, 0] - found[0, 0]).all()
    same = all((row[of] == row[of][:1]).all() for row in (places.run, places.slot))
    return bool(follow and rising and same)
