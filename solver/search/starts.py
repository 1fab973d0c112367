"""Where a search begins: which axes own a digit of which extent class, and in what order axes are swept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

from einsplit.graph import Graph, Input, Label
from einsplit.solver.machine import Machine
from einsplit.solver.sharding import extent_classes

MAX_PADDING = 1 / 8  # of a class
ORDERS = (1, -1)  # slow tiers first, fast tiers first
MAX_TORN = 6  # classes that are served otherwise than the rest, one at a time

AxesOf = dict[Label, tuple[int, ...]]  # digit tables, by class


def digit_tables(graph: Graph, machine: Machine, classes: Mapping[Label, Label] | None = None) -> list[AxesOf]:
    """For every class, the axes that may cut it: slow tiers served first, then fast ones first; padding, then without.

    `classes`: the representative of each label, of its extent class unless given. A class is padded for all its nodes,
    also for those that cut it by fewer axes: a table may ask for too much. Classes that not all axes fit, such as a
    small batch and a few heads, may want different ones: there are tables too in which one of them is served by slow
    tiers first and the others by fast ones, and the other way round.
    """
    classes = extent_classes(graph) if classes is None else classes
    labels = sorted(set(classes.values()))
    served = {
        (label, order, padding): _axes(graph.sizes[label], machine.sizes, order, padding)
        for label in labels
        for order in ORDERS
        for padding in (MAX_PADDING, 0.0)
    }
    torn = [label for label in labels if served[label, 1, MAX_PADDING] != served[label, -1, MAX_PADDING]]
    links = [(axis.size, axis.link) for axis in machine.axes]
    if links == links[::-1] and len(torn) < 2:
        torn = []  # fast tiers first is the mirror image of slow ones first: it would find the same plans again
    wishes: list[tuple[dict[Label, int], float]] = [
        (dict.fromkeys(labels, order), padding)
        for order in (ORDERS if torn else ORDERS[:1])
        for padding in (MAX_PADDING, 0.0)
    ]
    if 1 < len(torn) <= MAX_TORN:
        wishes += [
            (dict.fromkeys(labels, order) | {label: -order}, MAX_PADDING) for label in torn for order in ORDERS[::-1]
        ]
    tables: list[AxesOf] = []
    for order_of, padding in wishes:
        table = {label: served[label, order_of[label], padding] for label in labels}
        if table not in tables:
            tables.append(table)
    return tables


def tables_apart(graph: Graph, machine: Machine, classes: Mapping[Label, Label]) -> Iterator[AxesOf]:
    """As experts have them, who pad less: the batch alone; or, of two axes, it by one and all else by the other."""
    data = (node.dims for node in graph.nodes if isinstance(node, Input) and node.role == "data")
    batch = {classes[dims[0][0]] for dims in data if dims and dims[0]}
    yield {
        label: _axes(graph.sizes[label], machine.sizes, 1, MAX_PADDING) if label in batch else ()
        for label in sorted(set(classes.values()))
    }
    for own, other in ((0, 1), (1, 0)) if len(machine.axes) == 2 else ():
        yield {
            label: _axes(graph.sizes[label], machine.sizes, 1, MAX_PADDING, (own if label in batch else other,))
            for label in sorted(set(classes.values()))
        }


def _axes(
    size: int, mesh: Sequence[int], order: int, max_padding: float, among: Sequence[int] | None = None
) -> tuple[int, ...]:
    """The axes that fit a class, one after the other: from the slowest (order 1) or from the fastest (-1)."""
    chosen: list[int] = []
    for axis in (range(len(mesh)) if among is None else among)[::order]:
        if fits(size, [mesh[a] for a in (*chosen, axis)], max_padding):
            chosen.append(axis)
    return tuple(sorted(chosen))


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
