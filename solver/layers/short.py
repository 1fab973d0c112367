"""Graph -> a short Graph without most of its inner layers, where all of these are alike.

    layers of the deep graph    0 1 | T  T+1 ... T+R | T+R+1 ...
    layers of the short one     0 1 | T              | T+1   ...

Layer T stands for R + 1 layers. The layers T - 1 to T + R + 1 are alike, node by node, in what they compute, in what
they read, and in who reads them; nothing else reads one of them, and none is an output. So whatever holds of layer T
and what it reads in the short graph holds of each that it stands for. The layer T + R + 1 takes the labels of T + 1, in
whose place it stands there: what layers next to each other share, they still share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from einsplit.graph import Graph, Label, Node, Operand, node_labels
from einsplit.solver.layers.alike import Names, renamed
from einsplit.solver.layers.places import Edges, Places, edges_of, places_of, updates_follow
from einsplit.solver.layers.runs import Ints, aligned_runs

ENDS = (1, 2, 3)  # layers at either end that may be unlike the rest, tried in turn
LEAST_REPEATS = 4  # fewer are not worth the trouble


@dataclass(frozen=True, slots=True, eq=False)
class Short:
    """`graph` is the short one; `kept[k]` is the position of its node k in the deep one."""

    deep: Graph
    graph: Graph
    kept: Ints
    places: Places
    layer: int  # T, in the deep graph's numbers
    repeats: int  # R
    # By layer from T to T + R: labels of the short graph's layer T, and of those next to it -> those there.
    names: tuple[Mapping[Label, Label], ...]
    behind: Mapping[Label, Label]  # likewise for all that is of no layer, or of one behind T

    def layers_of(self) -> Ints:
        """By node of the short graph, its layer in the short graph's numbers; -1 outside."""
        found = self.places.layer[self.kept]
        return np.where(found > self.layer, found - self.repeats, found)


def shorten(graph: Graph) -> Short | None:
    """The short graph, where layers of it repeat often enough."""
    readers, read, number = edges_of(graph)
    runs = aligned_runs(graph, readers, read)
    if not runs:
        return None
    places = places_of(len(graph.nodes), runs)
    common = range(max(run.layers[0] for run in runs), min(run.layers[-1] for run in runs) + 1)
    for end in ENDS:
        first, last = common.start + end, common.stop - 1 - end  # T - 1 and T + R + 1
        if last - first - 2 < LEAST_REPEATS:
            return None
        layers = range(first, last + 1)
        edges = Edges(places, readers, read, number, layers)
        if edges.read_alike() and edges.are_read_alike() and updates_follow(graph, places, layers):
            outputs = places.layer[[at for _, at in graph.outputs]]
            names = None if np.isin(outputs, layers).any() else _names(graph, places, layers)
            found = None if names is None else _Shortening(graph, places, layers, names).short()
            if found is not None:
                return found
    return None


def _names(graph: Graph, places: Places, layers: range) -> list[dict[Label, Label]] | None:
    """By layer, its labels by those of the second; None where a node is not alike."""
    model, found = layers[1], []
    for layer in layers:
        names = Names(graph.sizes)
        for run in places.runs:
            mine, theirs = run.start(model), run.start(layer)
            of_mine, of_theirs = graph.nodes[mine : mine + run.period], graph.nodes[theirs : theirs + run.period]
            if not all(map(names.alike, of_mine, of_theirs)):
                return None
        found.append(names.of)
    return found


class _Shortening:
    """The short graph in the making, given the layers that are alike, and their labels by those of the second."""

    def __init__(self, graph: Graph, places: Places, layers: range, names: Sequence[Mapping[Label, Label]]) -> None:
        self.graph, self.places, self.names = graph, places, names
        self.layer, self.repeats = layers[1], len(layers) - 3
        self.gone = (places.layer > self.layer) & (places.layer <= self.layer + self.repeats)
        self.kept = np.flatnonzero(~self.gone)
        self.at = np.cumsum(~self.gone) - 1

    def short(self) -> Short | None:
        """None where a label is shared in a way that is no layer's, or one of a layer that is gone stands elsewhere."""
        # Of layers 0 to R behind T: the layer itself, and those before and behind it, each by the labels of T's.
        names = [self._joined(k) for k in range(self.repeats + 1)]
        known = [of for of in names if of is not None]
        if len(known) < len(names):
            return None
        behind = {mine: theirs for mine, theirs in known[-1].items() if mine != theirs}
        anew = {theirs: self.names[2][mine] for mine, theirs in self.names[-1].items() if theirs != self.names[2][mine]}
        far = {label for of in self.names[3:] for label in of.values()} - set(known[0].values())
        nodes: list[Node] = []
        for reader in self.kept.tolist():
            node = self.graph.nodes[reader]
            labels = set(node_labels(node))
            is_before = 0 <= self.places.layer[reader] <= self.layer
            if not labels.isdisjoint(anew if is_before else behind):
                return None
            if not is_before and not labels.isdisjoint(anew):
                node = renamed(node, {label: anew.get(label, label) for label in labels})
            if not far.isdisjoint(node_labels(node)):
                return None
            rows = tuple(Operand(self._moved(reader, row.node), row.labels) for row in node.operands)
            nodes.append(msgspec.structs.replace(node, operands=rows) if rows else node)
        return Short(
            self.graph, self._graph(nodes, far), self.kept, self.places, self.layer, self.repeats, tuple(known), behind
        )

    def _joined(self, k: int) -> dict[Label, Label] | None:
        """Labels of layer T and of its neighbours by those of layer T + k and its own; None where they contradict."""
        found: dict[Label, Label] = {}
        for here, there in zip(self.names[:3], self.names[k : k + 3], strict=True):
            for label in here:
                if found.setdefault(here[label], there[label]) != there[label]:
                    return None
        return found

    def _moved(self, reader: int, read: int) -> int:
        """What a node of the short graph reads there."""
        if self.gone[read]:  # by a neighbour: what is first behind those that are gone, or the last before them
            by = self.repeats if self.places.layer[reader] == self.layer else -self.repeats
            read = self.places.moved(read, by)
        return int(self.at[read])

    def _graph(self, nodes: Sequence[Node], far: set[Label]) -> Graph:
        sizes = {label: size for label, size in self.graph.sizes.items() if label not in far}
        outputs = tuple((name, int(self.at[output])) for name, output in self.graph.outputs)
        updates = ((state, value) for state, value in self.graph.updates if not self.gone[state])
        return Graph(tuple(nodes), sizes, outputs, tuple((int(self.at[s]), self._moved(s, v)) for s, v in updates))
