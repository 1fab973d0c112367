"""A directed acyclic graph as paths: the longest of what is left is taken, again and again.

What is left falls apart into components that share no edge; each is divided on its own, and the longest path of all
components comes first.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping


def longest_paths(before: Mapping[int, Collection[int]]) -> tuple[tuple[int, ...], ...]:
    """Every node in one path; `before` gives the nodes with an edge to each, and lists nodes in topological order."""
    beside: dict[int, set[int]] = {at: set(earlier) for at, earlier in before.items()}
    for at, earlier in before.items():
        for other in earlier:
            beside[other].add(at)
    waiting: list[tuple[int, list[int], list[int]]] = []  # (minus its length, path, its component)

    def wait(nodes: Collection[int]) -> None:
        for component in _components(nodes, beside):
            path = _longest(component, before)
            heapq.heappush(waiting, (-len(path), path, component))

    wait(before)
    found = []
    while waiting:
        _, path, component = heapq.heappop(waiting)
        found.append(tuple(path))
        wait(set(component).difference(path))
    return tuple(found)


def _longest(component: Collection[int], before: Mapping[int, Collection[int]]) -> list[int]:
    """The path of most nodes; among equals, the one whose nodes come first, from its end on."""
    longest: dict[int, tuple[int, int]] = {}  # (minus its length, the node before): the least is the longest
    for at in component:
        ends = [(longest[other][0] - 1, other) for other in before[at] if other in longest]
        longest[at] = min(ends, default=(-1, at))
    at = min(component, key=lambda node: (longest[node][0], node))
    path = [at]
    while longest[at][1] != at:
        at = longest[at][1]
        path.append(at)
    return path[::-1]


def _components(nodes: Collection[int], beside: Mapping[int, set[int]]) -> Iterator[list[int]]:
    """The nodes, in order, as far as edges join them."""
    left = set(nodes)
    for first in sorted(nodes):
        if first not in left:
            continue
        left.remove(first)
        found = [first]
        for at in found:
            met = beside[at] & left
            left -= met
            found.extend(met)
        yield sorted(found)
