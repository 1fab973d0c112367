"""What is held at once, and how tensors lie: the two things that every kind of Compute is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod

from einsplit.solver.program.instructions import Compute

INDEX_BYTES = 8  # of an int64

Dim = tuple[int, int]  # (size, stride) of a dimension, in elements


class Heap:
    """Bytes taken and given back; `most` is the most that was taken at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    def take(self, nbytes: int) -> int:
        self.now += nbytes
        self.most = max(self.most, self.now)
        return nbytes

    def give(self, nbytes: int) -> None:
        self.now -= nbytes


@dataclass(slots=True)
class Site:
    """One Compute on one device while it runs."""

    node: Compute
    dtypes: Sequence[str]  # of its operands
    heap: Heap = field(default_factory=Heap)
    indexed: set[int] = field(default_factory=set)

    def local(self, label: int) -> int:
        return self.node.extents[label].local

    def elements(self, labels: Iterable[int]) -> int:
        return prod(self.local(label) for label in labels)

    def index(self, label: int) -> None:
        """Its indices are made when they are first asked for, and stay until the end."""
        if label not in self.indexed:
            self.indexed.add(label)
            self.heap.take(INDEX_BYTES * self.local(label))

    def lies(self, labels: Sequence[int], order: Sequence[int]) -> list[Dim]:
        """A contiguous tensor's dimensions, turned into another order."""
        strides = [self.elements(labels[k + 1 :]) for k in range(len(labels))]
        return [(self.local(label), strides[labels.index(label)]) for label in order]

    def is_ordered(self, labels: Sequence[int], order: Sequence[int]) -> bool:
        """Whether the labels that are longer than 1 stand as in `order`."""
        places = [order.index(label) for label in labels if self.local(label) > 1]
        return places == sorted(places)


def is_joint(groups: Sequence[Sequence[Dim]]) -> bool:
    """Whether each group of dimensions may be seen as one without a copy."""
    for group in groups:
        long = [dim for dim in group if dim[0] != 1]
        if any(outer[1] != inner[0] * inner[1] for outer, inner in pairwise(long)):
            return False
    return True


def is_contiguous(dims: Sequence[Dim]) -> bool:
    """Whether the dimensions lie one after the other without a gap."""
    step = 1
    for size, stride in reversed([dim for dim in dims if dim[0] != 1]):
        if stride != step:
            return False
        step *= size
    return True
