"""Repeated layers folded into one: nodes that choose alike are one variable of the search.

    surroundings_0(v)   = what v is: its content, the sizes of its labels, its role
    surroundings_r+1(v) = surroundings_r of v, of its operands by number, and of its readers

Nodes of equal surroundings at radius RADIUS start in one class. Then classes grow by congruence: where two nodes are of
one class, so are their operands of the same number, and their only readers of one kind, if these are the same thing.
So the first and the last layer join the ones between them, which alone have equal surroundings.

Nodes of one class have equal prices under equal choices, label by label in order of appearance: a choice of the class
costs as often as its nodes count. The search is then over plans in which layers are cut alike, and says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from einsplit.graph import Graph, Input, Label, Node, node_labels
from einsplit.solver.sharding import Sharding, extent_classes, relabelled

RADIUS = 6  # at less, Llama's norms of one layer are of one class
MIN_NODES = 400  # smaller graphs are searched as they are


@dataclass(frozen=True, slots=True)
class Folding:
    """Which nodes choose alike: `variable[at]` numbers the class of node `at`, `members` are the nodes of each."""

    variable: tuple[int, ...]
    members: tuple[tuple[int, ...], ...]
    rows: tuple[tuple[Label, ...], ...]  # the labels of every node, in order of appearance
    counts: tuple[int, ...]  # of each class: how many nodes its members are, or stand for in a deep graph

    @property
    def is_trivial(self) -> bool:
        """Whether every node chooses on its own."""
        return len(self.members) == len(self.variable)

    def as_of(self, sharding: Sharding, source: int, target: int) -> Sharding:
        """The sharding of one node of a class as another one of it has it."""
        if source == target:
            return sharding
        return relabelled(sharding, dict(zip(self.rows[source], self.rows[target], strict=True)))

    def spread(self, shardings: Sequence[Sharding]) -> tuple[Sharding, ...]:
        """By node, given what the first node of every class chooses."""
        return tuple(
            self.as_of(shardings[number], self.members[number][0], at) for at, number in enumerate(self.variable)
        )


def unfolded(graph: Graph, times: Sequence[int] | None = None) -> Folding:
    """Every node on its own, which stands for so many."""
    every = range(len(graph.nodes))
    return Folding(
        tuple(every),
        tuple((at,) for at in every),
        tuple(map(node_labels, graph.nodes)),
        tuple(times or (1,) * len(every)),
    )


def fold(
    graph: Graph,
    contents: Sequence[int],
    alike: Iterable[tuple[int, int]] = (),
    times: Sequence[int] | None = None,
) -> Folding:
    """The repeated layers of a large graph folded; of a small one where none are known to be alike, nothing.

    `contents`: by node, a number that is equal for nodes that compute the same. Nodes that are known to be `alike` are
    of one class. A node stands for so many `times` one.
    """
    alike = tuple(alike)
    if len(graph.nodes) < MIN_NODES and not alike:
        return unfolded(graph)
    classes = _Classes(graph, _kinds(graph, contents))
    for at, surroundings in enumerate(classes.surroundings()):
        classes.join(surroundings, at)
    for pair in alike:
        classes.unite(*pair)
    classes.close()
    roots = [classes.root(at) for at in range(len(graph.nodes))]
    number = {root: k for k, root in enumerate(dict.fromkeys(roots))}
    members: list[list[int]] = [[] for _ in number]
    for at, root in enumerate(roots):
        members[number[root]].append(at)
    rows = tuple(map(node_labels, graph.nodes))
    counts = tuple(len(of) if times is None else sum(times[at] for at in of) for of in members)
    return Folding(tuple(number[root] for root in roots), tuple(map(tuple, members)), rows, counts)


def folded_classes(graph: Graph, folding: Folding) -> dict[Label, Label]:
    """The representative of every label's extent class, where those of nodes that choose alike are one."""
    classes = extent_classes(graph)
    parent = {label: label for label in classes.values()}

    def root(label: Label) -> Label:
        while parent[label] != label:
            label = parent[label]
        return label

    for members in folding.members:
        for at in members[1:]:
            for mine, other in zip(folding.rows[members[0]], folding.rows[at], strict=True):
                low, high = sorted((root(classes[mine]), root(classes[other])))
                parent[high] = low
    return {label: root(found) for label, found in classes.items()}


def _kinds(graph: Graph, contents: Sequence[int]) -> list[int]:
    """A number for what each node is by itself: equal for equal prices, and for equal places among the outputs."""
    outputs = {at for _, at in graph.outputs}
    numbers: dict[Hashable, int] = {}
    found = []
    for at, (node, content) in enumerate(zip(graph.nodes, contents, strict=True)):
        sizes = tuple(graph.sizes[label] for label in node_labels(node))
        role = node.role if isinstance(node, Input) else ""
        key = (content, sizes, tuple(map(len, node.dims)), role, at in outputs)
        found.append(numbers.setdefault(key, len(numbers)))
    return found


class _Classes:
    """Union-find over nodes, with what still has to be made congruent."""

    def __init__(self, graph: Graph, kinds: Sequence[int]) -> None:
        self._nodes: Sequence[Node] = graph.nodes
        self._kinds = kinds
        self._next = dict(graph.updates)
        self._readers: list[list[tuple[int, int]]] = [[] for _ in graph.nodes]  # (reader, number of the operand)
        for at, node in enumerate(graph.nodes):
            for number, operand in enumerate(node.operands):
                self._readers[operand.node].append((at, number))
        for state, value in graph.updates:
            self._readers[value].append((state, -1))
        self._parent = list(range(len(graph.nodes)))
        self._first: dict[int, int] = {}
        self._unsettled: list[tuple[int, int]] = []

    def surroundings(self) -> list[int]:
        """A number for what each node and its neighbours up to RADIUS are."""
        now = list(self._kinds)
        for _ in range(RADIUS):
            numbers: dict[Hashable, int] = {}
            now = [numbers.setdefault(self._around(now, at), len(numbers)) for at in range(len(now))]
        return now

    def _around(self, now: Sequence[int], at: int) -> Hashable:
        operands = tuple(now[operand.node] for operand in self._nodes[at].operands)
        readers = Counter((now[reader], number) for reader, number in self._readers[at])
        following = now[self._next[at]] if at in self._next else -1
        return now[at], operands, tuple(sorted(readers.items())), following

    def root(self, at: int) -> int:
        while self._parent[at] != at:
            self._parent[at] = self._parent[self._parent[at]]
            at = self._parent[at]
        return at

    def join(self, surroundings: int, at: int) -> None:
        """Put a node into the class of the first one of these surroundings."""
        self.unite(self._first.setdefault(surroundings, at), at)

    def unite(self, a: int, b: int) -> None:
        """Put two nodes into one class."""
        low, high = sorted((self.root(a), self.root(b)))
        if low != high:
            self._parent[high] = low
            self._unsettled.append((a, b))

    def close(self) -> None:
        """Make classes congruent."""
        while self._unsettled:
            for a, b in self._matches(*self._unsettled.pop()):
                if self._kinds[a] == self._kinds[b]:
                    self.unite(a, b)

    def _matches(self, a: int, b: int) -> Iterator[tuple[int, int]]:
        """Neighbours of two nodes that stand in the same place to them."""
        for left, right in zip(self._nodes[a].operands, self._nodes[b].operands, strict=True):
            yield left.node, right.node
        if a in self._next and b in self._next:
            yield self._next[a], self._next[b]
        of_a, of_b = self._only_readers(a), self._only_readers(b)
        yield from ((of_a[key], of_b[key]) for key in of_a if key in of_b)

    def _only_readers(self, at: int) -> dict[tuple[int, int], int]:
        """The readers of a node that no other reader of it is like."""
        alike: dict[tuple[int, int], list[int]] = defaultdict(list)
        for reader, number in self._readers[at]:
            alike[self._kinds[reader], number].append(reader)
        return {key: readers[0] for key, readers in alike.items() if len(readers) == 1}
