"""Where a search begins: which axes own a digit of which extent class, and in what order axes are swept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod

from einsplit.graph import Graph, Label
from einsplit.solver.machine import Machine
from einsplit.solver.sharding import extent_classes

MAX_PADDING = 1 / 8  # of a class

AxesOf = dict[Label, tuple[int, ...]]  # digit tables, by class


def digit_tables(graph: Graph, machine: Machine, classes: Mapping[Label, Label] | None = None) -> list[AxesOf]:
    """For every class, the axes that may cut it: slow tiers served first, then fast ones first; padding, then without.

    `classes`: the representative of each label, of its extent class unless given. A class is padded for all its nodes,
    also for those that cut it by fewer axes: a table may ask for too much.
    """
    classes = extent_classes(graph) if classes is None else classes
    mesh = machine.sizes
    tables: list[AxesOf] = []
    orders = [range(len(mesh)), range(len(mesh) - 1, -1, -1)]
    links = [(axis.size, axis.link) for axis in machine.axes]
    if links == links[::-1]:
        del orders[1]  # the mirror image of the first: it would find the same plans again
    for order, max_padding in product(orders, (MAX_PADDING, 0.0)):
        axes_of: AxesOf = {}
        for label in sorted(set(classes.values())):
            chosen: list[int] = []
            for axis in order:
                if fits(graph.sizes[label], [mesh[a] for a in (*chosen, axis)], max_padding):
                    chosen.append(axis)
            axes_of[label] = tuple(sorted(chosen))
        if axes_of not in tables:
            tables.append(axes_of)
    return tables


def fits(size: int, radices: Sequence[int], max_padding: float = MAX_PADDING) -> bool:
    """Whether a class may be cut so: every device has an element, and no more than that share of it is padding."""
    pieces = prod(radices)
    padded = -(-size // pieces) * pieces
    return pieces <= size and padded - size <= max_padding * size


def sweep_orders(machine: Machine) -> list[list[tuple[int, ...]]]:
    """In what order groups of axes are swept: slow axes first, fast ones first, tiers as one axis first."""
    singles: list[tuple[int, ...]] = [(axis,) for axis in range(len(machine.axes))]
    coarse = [tier for tier in machine.tiers if len(tier) > 1]
    return [singles, singles[::-1], [*coarse, *singles]] if len(singles) > 1 else [singles]
