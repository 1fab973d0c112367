"""From when to when each node's value stands: a matter of the graph alone, but for use nodes that move nothing.

Time is the node whose instructions run; the end of the step comes after the last. A value stands

    from its own node, or from before the step if it is an input
    to its last reader, or to the end of the step if it is an output, a parameter or the next value of a state

A use node, and any other whose value is its operand as it stands, writes nothing unless its edge moves something: then
it is the operand's buffer that stands on, for the last of its readers. So of an alias two spans are told apart: where
its operand stands anyway (it holds bytes of its own only if they were moved), and beyond that (it holds them, or keeps
them; of several aliases that keep one buffer the longest does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from einsplit.graph import Input, Node
from einsplit.solver.pricing.forms import Form

Times = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Liveness:
    """By node, the first and the last time of its spans; a span whose last time is before its first is empty.

    `own`: bytes whatever is moved. `moved`: bytes if the node's edge moves something; of aliases only.
    """

    num_times: int
    own_first: Times
    own_last: Times
    moved_first: Times
    moved_last: Times

    def own_at(self, time: int) -> npt.NDArray[np.bool_]:
        """The nodes whose bytes are held at a time whatever is moved."""
        return (self.own_first <= time) & (time <= self.own_last)

    def moved_at(self, time: int) -> npt.NDArray[np.bool_]:
        """The aliases whose bytes are held at a time if they were moved."""
        return (self.moved_first <= time) & (time <= self.moved_last)


@dataclass(frozen=True, slots=True)
class Read:
    """By node, what it is, its form, and what it reads; outputs, and pairs of states and their next values."""

    nodes: Sequence[Node]
    forms: Sequence[Form]
    reads: Sequence[Sequence[int]]
    outputs: Sequence[int]
    updates: Sequence[tuple[int, int]]


def liveness(of: Read) -> Liveness:
    """The spans of every node's value."""
    end = len(of.nodes)
    first = np.arange(end, dtype=np.int64)
    last = np.full(end, -1, dtype=np.int64)
    for at, (node, read) in enumerate(zip(of.nodes, of.reads, strict=True)):
        if not isinstance(node, Input):  # one that nobody reads is gone before the first node
            last[at] = at
        for operand in read:
            last[operand] = max(last[operand], at)
    updated = {state for state, _ in of.updates}
    for at, node in enumerate(of.nodes):
        if isinstance(node, Input):
            first[at] = -1
            if node.role != "data" and at not in updated:
                last[at] = end
    for at in (*of.outputs, *(value for _, value in of.updates)):
        last[at] = end
    moved_first, moved_last = np.zeros(end, dtype=np.int64), np.full(end, -1, dtype=np.int64)
    reads = {at: of.reads[at][0] for at, form in enumerate(of.forms) if form.kind == "alias"}
    keepers = _keepers(reads, last)
    own_first = first.copy()
    kept = last.copy()  # to when an alias's buffer stands, or that of an operand it keeps
    for at, source in reads.items():
        kept[at] = max(last[at], kept[source])
        moved_first[at], moved_last[at] = at, last[at]
        if at in keepers and last[at] > kept[source]:
            moved_last[at] = kept[source]
            own_first[at] = kept[source] + 1
        else:
            own_first[at] = last[at] + 1
    return Liveness(end + 1, own_first, last, moved_first, moved_last)


def _keepers(reads: Mapping[int, int], last: Times) -> set[int]:
    """Of the aliases of each value, and of those, the one that stands longest, and those that it reads it through."""
    root: dict[int, int] = {}
    longest: dict[int, int] = {}
    for at, read in reads.items():
        root[at] = root.get(read, read)
        if root[at] not in longest or last[at] > last[longest[root[at]]]:
            longest[root[at]] = at
    found: set[int] = set()
    for at in longest.values():
        while at in reads:
            found.add(at)
            at = reads[at]
    return found
