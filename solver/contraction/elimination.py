"""In what order variables are eliminated from a network of tables: weighted min-fill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import combinations


@dataclass(frozen=True, slots=True)
class Elimination:
    """The elimination of `variable`, whose bucket has `entries` entries over it and `others` (ascending)."""

    variable: int
    others: tuple[int, ...]
    entries: int


def elimination_order(num_choices: Sequence[int], scopes: Sequence[set[int]]) -> Iterator[Elimination]:
    """Every variable once, by weighted min-fill: next goes the one whose elimination adds the lightest edges.

    Two variables are adjacent if they share a scope; eliminating v makes its neighbours adjacent to each
    other; an edge {a, b} weighs num_choices[a] * num_choices[b]. Ties: the bucket with fewest entries,
    then the smaller variable, so the order is a function of the network alone.

    Weights are kept up to date edge by edge, never recomputed: an order costs a few set operations for each
    edge it adds. Source: U. Kjaerulff, Triangulation of graphs, Aalborg University R-90-09, 1990.
    """
    graph = _Interaction(num_choices)
    for scope in scopes:
        for a, b in combinations(sorted(scope), 2):
            graph.join(a, b)
    live = [True] * len(num_choices)
    heap = [graph.rank(v) for v in range(len(num_choices))]
    heapify(heap)
    while heap:
        rank = heappop(heap)
        v = rank[2]
        if not live[v] or rank != graph.rank(v):
            continue  # a leftover from before the rank changed; the right one is in the heap as well
        live[v] = False
        others = tuple(sorted(graph.near[v]))
        yield Elimination(v, others, graph.entries[v])
        changed = set(others)
        for a, b in combinations(others, 2):
            changed |= graph.join(a, b)
        graph.drop(v)
        for u in changed - {v}:
            heappush(heap, graph.rank(u))


class _Interaction:
    """The graph of variables that share a table; the bucket and the fill of each are kept while it changes.

    entries[v] = num_choices[v] * product over u in near[v] of num_choices[u]
    fill[v]    = sum over pairs {a, b} of near[v] that are not adjacent, of num_choices[a] * num_choices[b]
    """

    __slots__ = ("entries", "fill", "near", "num_choices")

    def __init__(self, num_choices: Sequence[int]) -> None:
        self.num_choices = num_choices
        self.near: list[set[int]] = [set() for _ in num_choices]
        self.entries = list(num_choices)
        self.fill = [0] * len(num_choices)

    def rank(self, v: int) -> tuple[int, int, int]:
        return self.fill[v], self.entries[v], v

    def join(self, a: int, b: int) -> set[int]:
        """Make a and b adjacent; returns the other variables whose fill has changed."""
        num_choices, near, fill = self.num_choices, self.near, self.fill
        if b in near[a]:
            return set()
        common = near[a] & near[b]
        for c in common:  # they have one pair less to fill
            fill[c] -= num_choices[a] * num_choices[b]
        # The new neighbour makes a pair with every old one that it is not adjacent to.
        fill[a] += num_choices[b] * sum(num_choices[u] for u in near[a] - near[b])
        fill[b] += num_choices[a] * sum(num_choices[u] for u in near[b] - near[a])
        near[a].add(b)
        near[b].add(a)
        self.entries[a] *= num_choices[b]
        self.entries[b] *= num_choices[a]
        return common

    def drop(self, v: int) -> None:
        """Take v out of the graph."""
        num_choices, near = self.num_choices, self.near
        for u in near[v]:
            near[u].remove(v)
            self.fill[u] -= num_choices[v] * sum(num_choices[w] for w in near[u] - near[v])
            self.entries[u] //= num_choices[v]
        near[v] = set()
