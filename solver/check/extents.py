"""How the elements along a label are numbered, and which of them a device holds.

The labels that ever name one dimension are a class. Where the plan's digit table gives a class mesh axes, its elements
are numbered by one digit for each of these axes and, below the digits, by what is left:

    rest = ceil(size / product of the axes' sizes)        padded = rest * product of the axes' sizes

A device that cuts the class by an axis holds the elements whose digit of that axis is the device's own coordinate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod

from einsplit.graph import Graph, Label, factors
from einsplit.solver.machine import Machine

MOST_PADDING = 8  # at most one element of padding for so many elements


@dataclass(frozen=True, slots=True)
class Extent:
    """`size` elements, numbered by a digit for each of `axes`, of so many values as `radices` say, and the rest."""

    size: int
    axes: tuple[int, ...] = ()
    radices: tuple[int, ...] = ()

    @property
    def rest(self) -> int:
        """Elements that agree in all digits."""
        return -(-self.size // prod(self.radices))

    @property
    def padded(self) -> int:
        """Elements with the padding."""
        return self.held(())

    def held(self, cut: Collection[int]) -> int:
        """Elements whose digits of the axes in `cut` are given."""
        return self.rest * prod(n for axis, n in zip(self.axes, self.radices, strict=True) if axis not in cut)


def class_of_labels(graph: Graph) -> dict[Label, int]:
    """A number for the class of every label: labels are one class if a chain of readings joins them."""
    beside: dict[Label, set[Label]] = defaultdict(set)
    for one, other in _same_dimension(graph):
        beside[one].add(other)
        beside[other].add(one)
    found: dict[Label, int] = {}
    for number, first in enumerate(graph.sizes):
        waiting = [] if first in found else [first]
        while waiting:
            label = waiting.pop()
            if label not in found:
                found[label] = number
                waiting.extend(beside[label])
    return found


def _same_dimension(graph: Graph) -> Iterator[tuple[Label, Label]]:
    for node in graph.nodes:
        for row in node.operands:
            yield from zip(factors(graph.nodes[row.node]), row.labels, strict=True)
    for state, value in graph.updates:
        yield from zip(factors(graph.nodes[state]), factors(graph.nodes[value]), strict=True)


def extents_of(graph: Graph, machine: Machine, digits: Mapping[Label, tuple[int, ...]]) -> dict[Label, Extent]:
    """The extent of every label, under digit tables that `table_faults` finds nothing wrong with."""
    classes = class_of_labels(graph)
    axes_of = {classes[label]: axes for label, axes in digits.items()}
    found = {}
    for label, size in graph.sizes.items():
        axes = axes_of.get(classes[label], ())
        found[label] = Extent(size, axes, tuple(machine.axes[axis].size for axis in axes))
    return found


def table_faults(
    graph: Graph, machine: Machine, digits: Mapping[Label, tuple[int, ...]]
) -> Iterator[tuple[Label, str]]:
    """What is wrong with a digit table, by its label."""
    classes = class_of_labels(graph)
    first: dict[int, Label] = {}
    for label, axes in digits.items():
        if label not in classes:
            yield label, "the graph has no such label"
            continue
        known = first.setdefault(classes[label], label)
        if known != label:
            yield label, f"names the same dimension as {known!r}, which has a table already"
        if not all(0 <= axis < len(machine.axes) for axis in axes):
            yield label, f"axes {list(axes)} of a machine that has {len(machine.axes)}"
            continue
        if len(set(axes)) != len(axes):
            yield label, f"an axis owns two digits: {list(axes)}"
        extent = Extent(graph.sizes[label], axes, tuple(machine.axes[axis].size for axis in axes))
        pieces, padding = prod(extent.radices), extent.padded - extent.size
        if axes and pieces > extent.size:
            yield label, f"{pieces} pieces of {extent.size} elements"
        elif padding * MOST_PADDING > extent.size:
            yield label, f"{padding} elements of padding for {extent.size}, and 1 for {MOST_PADDING} is the most"
