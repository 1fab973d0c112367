"""A deep Graph by its short form, prepared: what each node of it stands for, and which are alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from einsplit.graph import Graph
from einsplit.solver.layers.runs import Ints
from einsplit.solver.layers.short import Short, shorten
from einsplit.solver.prepare import Prepared, prepared


@dataclass(frozen=True, eq=False)
class Deep:
    """`short` and what it is prepared to. Layer T of it stands for `short.repeats` layers more."""

    short: Short
    prepared: Prepared

    @property
    def graph(self) -> Graph:
        """The short graph, prepared."""
        return self.prepared.graph

    @cached_property
    def times(self) -> tuple[int, ...]:
        """By node, for how many of the deep graph it stands."""
        times = np.where(self.layer == self.short.layer, self.short.repeats + 1, 1)
        return tuple(times.tolist())

    @cached_property
    def origins(self) -> Ints:
        """By node, the node of the short graph at which it was made; of what is made behind all, their number."""
        return np.array(self.prepared.origins, dtype=np.int64)

    @cached_property
    def layer(self) -> Ints:
        """By node, its layer in the short graph's numbers; -1 outside."""
        return np.append(self.short.layers_of(), -1)[self.origins]

    @cached_property
    def run(self) -> Ints:
        """By node, the number of the run that its layer's block is in; -1 outside."""
        return np.append(self.short.places.run[self.short.kept], -1)[self.origins]

    def alike(self) -> Iterator[tuple[int, int]]:
        """Nodes of layer T and of those next to it that stand in one place."""
        for run in range(len(self.short.places.runs)):
            before, own, after = (self._block(run, self.short.layer + k) for k in (-1, 0, 1))
            yield from zip(own, before, strict=True)
            yield from zip(own, after, strict=True)

    def _block(self, run: int, layer: int) -> list[int]:
        return np.flatnonzero((self.run == run) & (self.layer == layer)).tolist()

    @property
    def is_even(self) -> bool:
        """Whether layer T, and those next to it, were prepared alike."""
        blocks = (
            [self._made(run, self.short.layer + k) for k in (-1, 0, 1)] for run in range(len(self.short.places.runs))
        )
        return all(before == own == after for before, own, after in blocks)

    def _made(self, run: int, layer: int) -> list[tuple[int, str]]:
        """What was made in a block: at which of its nodes, and what the name has besides that it is named after."""
        nodes, named, slots = self.short.graph.nodes, self.prepared.named, self.short.places.slot[self.short.kept]
        return [
            (int(slots[self.origins[at]]), self.graph.nodes[at].name.removeprefix(nodes[named[at]].name))
            for at in self._block(run, layer)
        ]


def deep(graph: Graph) -> Deep | None:
    """A deep graph by its short form, where it has one."""
    short = shorten(graph)
    if short is None:
        return None
    found = Deep(short, prepared(short.graph))
    return found if found.is_even else None
