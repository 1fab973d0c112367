"""The nodes of a deep Graph, prepared, by those of its short form: which stands for each, and what each reads."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from einsplit.solver.layers.deep import Deep
from einsplit.solver.layers.runs import Ints


class Unrolled:
    """Positions are those of the deep graph, prepared: it is never made."""

    def __init__(self, deep: Deep) -> None:
        self.deep, self.short = deep, deep.short
        made = np.bincount(deep.origins, minlength=len(deep.short.kept) + 1)
        self._first = (np.cumsum(made) - made).tolist()  # by node of the short graph, the first that was made of it
        self._layers = [*deep.short.layers_of().tolist(), -1]
        self._kept = deep.short.kept.tolist()
        of_short = self._of_short()
        counts = made[of_short]
        self._position = (np.cumsum(counts) - counts).tolist()  # by node of the deep graph, likewise
        behind = range(self._first[-1], len(deep.graph.nodes))
        starts = np.array(self._first)[of_short]
        inner = np.arange(counts.sum()) - np.repeat(self._position, counts)
        self.stands: list[int] = [*(np.repeat(starts, counts) + inner).tolist(), *behind]
        layers, places = np.array(self._layers), deep.short.places
        copies = np.where(layers[of_short] == deep.short.layer, places.layer - deep.short.layer, 0)
        # How many layers behind T a node is that layer T stands for.
        self.copies: list[int] = [*np.repeat(copies, counts).tolist(), *(0 for _ in behind)]

    def _of_short(self) -> Ints:
        """By node of the deep graph, before it is prepared, the node of the short one that stands for it."""
        places, layer = self.short.places, self.short.layer
        back = np.where((places.layer > layer) & (places.layer <= layer + self.short.repeats), layer - places.layer, 0)
        strides = np.array([*(run.stride for run in places.runs), 0], dtype=np.int64)
        at = np.full(len(places.layer), -1, dtype=np.int64)
        at[self.short.kept] = np.arange(len(self.short.kept))
        found: Ints = at[np.arange(len(places.layer)) + back * strides[places.run]]
        return found

    @cached_property
    def reads(self) -> list[tuple[int, ...]]:
        """By node, what it reads."""
        rows = [
            tuple([self._reading(origin, row.node) for row in node.operands])
            for node, origin in zip(self.deep.graph.nodes, self.deep.prepared.origins, strict=True)
        ]
        position = self._position
        return [
            tuple([position[first + copy * stride] + inner for first, stride, inner in rows[stands]])
            for stands, copy in zip(self.stands, self.copies, strict=True)
        ]

    def _reading(self, origin: int, read: int) -> tuple[int, int, int]:
        """The place of the node at which what is read was made, and which of those made there it is."""
        of = self.deep.prepared.origins[read]
        return (*self.place(origin, of), read - self._first[of])

    def place(self, reader: int, of: int) -> tuple[int, int]:
        """What `reader` knows as `of`, in the deep graph before it is prepared; how far on the next layer's is."""
        at, places = self._kept[of], self.short.places
        if self._layers[of] < 0 or abs(self._layers[reader] - self.short.layer) > 1 or self._layers[reader] < 0:
            return at, 0
        layer = int(places.layer[self._kept[reader]]) + self._layers[of] - self._layers[reader]
        return places.moved(at, layer - int(places.layer[at])), places.runs[int(places.run[at])].stride

    @property
    def outputs(self) -> list[int]:
        """The nodes that are outputs: these are made behind all others."""
        more = len(self.stands) - len(self.deep.graph.nodes)
        return [at + more for _, at in self.deep.graph.outputs]

    @property
    def updates(self) -> list[tuple[int, int]]:
        """States and their next values, in no particular order."""
        found, origins = [], self.deep.prepared.origins
        for state, value in self.deep.graph.updates:
            own, read = (self._reading(origins[state], at) for at in (state, value))
            for copy in range(self.deep.times[state]):
                pair = (self._position[first + copy * stride] + inner for first, stride, inner in (own, read))
                found.append((next(pair), next(pair)))
        return found
