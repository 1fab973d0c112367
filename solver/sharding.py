"""What a node's choice means for what it reads and writes.

For each mesh axis a node chooses one of its labels (the axis cuts it), None (*whole*: the axis's devices repeat the
work), or Sum (its devices hold addends). A *layout* says the same of a tensor, without label names: for each axis the
position of the finest factor it cuts, or WHOLE, or PARTIAL.

All labels that ever name the same dimension form an extent class. A class that several axes may cut is a mixed-radix
number: each of them owns one digit, in the order of the class's digit table, for the whole graph; what is left over is
the rest. A class is padded once, to a multiple of its table, and is padded everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import prod

import msgspec

from einsplit.graph import Einsum, Graph, Input, Kernel, Label, Node, aggregated_labels, factors, node_labels
from einsplit.monoid import MONOIDS
from einsplit.scalar import is_linear

WHOLE = -1
PARTIAL = -2
# The first operands of a node that may carry addends. Each set of them is a reading of the join and may become a choice
# at every axis, and there are 2^n sets; a join of more operands loses choices by this, never correctness.
MAX_CARRIERS = 4
Layout = tuple[int, ...]


class Sum(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"carriers": "sum"}):
    """The axis's devices hold addends of the operands `carriers`, and so of the result."""

    carriers: tuple[int, ...]


Choice = Label | None | Sum
Sharding = tuple[Choice, ...]


def relabelled(sharding: Sharding, names: Mapping[Label, Label]) -> Sharding:
    """The same of a node whose labels have these names; others keep theirs."""
    return tuple([names.get(choice, choice) if isinstance(choice, str) else choice for choice in sharding])


def choice_text(choice: Choice) -> str:
    """`b`, `whole`, or `sum` of named operands."""
    if choice is None:
        return "whole"
    if isinstance(choice, Sum):
        return "sum(" + ",".join(f"x{k}" for k in choice.carriers) + ")"
    return choice


def operand_layout(node: Node, number: int, sharding: Sharding) -> Layout:
    """How the node wants operand `number` laid out. A label that stands twice is cut at its first position."""
    labels = node.operands[number].labels
    return tuple(_operand_entry(labels, number, choice) for choice in sharding)


def _operand_entry(labels: Sequence[Label], number: int, choice: Choice) -> int:
    if isinstance(choice, Sum):
        return PARTIAL if number in choice.carriers else WHOLE
    return labels.index(choice) if choice in labels else WHOLE


def output_layout(node: Node, sharding: Sharding) -> Layout:
    """How the node leaves its value: an axis that cuts an aggregated label leaves partial results."""
    written = factors(node)
    return tuple(_output_entry(written, choice) for choice in sharding)


def _output_entry(written: Sequence[Label], choice: Choice) -> int:
    if choice is None:
        return WHOLE
    return PARTIAL if isinstance(choice, Sum) or choice not in written else written.index(choice)


def aggregation(node: Node) -> str:
    """How partial results of the node combine."""
    found = "sum" if isinstance(node, Input) or not aggregated_labels(node) else node.agg
    assert found in MONOIDS, f"{node.name}: {found} is split before planning"
    return found


def cuttable_labels(node: Node) -> tuple[Label, ...]:
    """The labels an axis may cut at this node."""
    whole = set(node.brackets) if isinstance(node, Kernel) else set()
    return tuple(label for label in node_labels(node) if label not in whole)


def sum_choices(node: Node) -> tuple[Sum, ...]:
    """The least sets of operands in which the node is jointly linear: those may carry addends."""
    if not isinstance(node, Einsum) or aggregation(node) != "sum" or node.dtype == "bool":
        return ()
    numbers = range(min(len(node.operands), MAX_CARRIERS))
    found: list[frozenset[int]] = []
    for count in range(1, len(numbers) + 1):
        for subset in map(frozenset, combinations(numbers, count)):
            if not any(smaller <= subset for smaller in found) and is_linear(node.join, subset):
                found.append(subset)
    return tuple(Sum(tuple(sorted(subset))) for subset in found)


def extent_classes(graph: Graph) -> dict[Label, Label]:
    """The representative of every label's extent class: labels that ever name the same dimension."""
    parent = {label: label for label in graph.sizes}

    def root(label: Label) -> Label:
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = parent[label]
        return label

    for node in graph.nodes:
        for operand in node.operands:
            for written, read in zip(factors(graph.nodes[operand.node]), operand.labels, strict=True):
                if written != read:
                    parent[root(read)] = root(written)
    for state, value in graph.updates:
        for written, read in zip(factors(graph.nodes[value]), factors(graph.nodes[state]), strict=True):
            parent[root(read)] = root(written)
    return {label: root(label) for label in graph.sizes}


@dataclass(frozen=True, slots=True)
class Digits:
    """One extent class: its true size, and the axes (with their sizes) that own a digit of it, slowest digit first."""

    size: int
    axes: tuple[int, ...] = ()
    radices: tuple[int, ...] = ()
    rest: int = field(init=False, compare=False)  # elements below the last digit
    padded: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        pieces = prod(self.radices)
        rest = -(-self.size // pieces)
        object.__setattr__(self, "rest", rest)
        object.__setattr__(self, "padded", rest * pieces)

    @property
    def is_padded(self) -> bool:
        return self.padded != self.size

    def local(self, cut: Sequence[int]) -> int:
        """Elements a device holds when the axes in `cut` cut the class."""
        if not cut:
            return self.padded
        return self.padded // prod(radix for axis, radix in zip(self.axes, self.radices, strict=True) if axis in cut)


DigitTables = Mapping[Label, Digits]  # by label: the labels of a class share one


def make_tables(
    graph: Graph,
    mesh: Sequence[int],
    axes_of: Mapping[Label, Sequence[int]],
    classes: Mapping[Label, Label] | None = None,
) -> dict[Label, Digits]:
    """Digit tables from the axes of each class, given by its representative; a class left out is not cut.

    `classes`: the representative of each label, of its extent class unless given.
    """
    classes = extent_classes(graph) if classes is None else classes
    tables = {}
    for label, size in graph.sizes.items():
        axes = tuple(axes_of.get(classes[label], ()))
        tables[label] = Digits(size, axes, tuple(mesh[axis] for axis in axes))
    return tables


@dataclass(frozen=True, slots=True)
class Shape:
    """A value's factors as digits, and the bytes of an element: all that moving it depends on."""

    factors: tuple[Digits, ...]
    itemsize: int

    def local(self, layout: Layout) -> tuple[int, ...]:
        """Elements a device holds along each factor."""
        return tuple(
            digits.local([axis for axis, at in enumerate(layout) if at == position])
            for position, digits in enumerate(self.factors)
        )

    def elements(self, layout: Layout) -> int:
        """Elements a device holds: the padded ones, divided among the axes that cut a factor."""
        cut = 1
        for axis, at in enumerate(layout):
            if at >= 0:
                digits = self.factors[at]
                if axis in digits.axes:
                    cut *= digits.radices[digits.axes.index(axis)]
        return prod([digits.padded for digits in self.factors]) // cut
