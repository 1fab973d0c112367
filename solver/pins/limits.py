"""Pins -> the choices that they leave to each node on each mesh axis; pins that leave none contradict each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from einsplit.errors import PlanError
from einsplit.solver.pins.asks import Ask, asks_of, every_choice
from einsplit.solver.pins.text import Pin
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Limits
from einsplit.solver.sharding import Choice

Asks = dict[tuple[int, int], list[Ask]]  # by node and mesh axis
COUNTED = {1: "a pin contradicts itself", 2: "two pins contradict each other"}


def limits_of(memo: Memo, pins: Sequence[Pin]) -> Limits:
    """By node, what each mesh axis may choose; nodes of which nothing is pinned are left out.

    Raises PlanError for a pin that matches nothing, for a choice that a node cannot have, and for pins that contradict
    each other at a node.
    """
    asks = grouped(memo, pins)
    axes = range(len(memo.machine.axes))
    return {
        node: tuple(permitted(memo, node, asks.get((node, axis), ())) for axis in axes)
        for node in sorted({node for node, _ in asks})
    }


def grouped(memo: Memo, pins: Sequence[Pin]) -> Asks:
    """What the pins ask, by node and axis; each leaves some choice. Raises PlanError likewise."""
    found: Asks = {}
    for ask in asks_of(memo, pins):
        found.setdefault((ask.node, ask.axis), []).append(ask)
    for (node, axis), rows in found.items():
        if not permitted(memo, node, rows):
            raise _contradiction(memo, node, axis, rows)
    return found


def permitted(memo: Memo, node: int, asks: Iterable[Ask]) -> tuple[Choice, ...]:
    """The choices of a node that all of these permit."""
    found = every_choice(memo, node)
    for ask in asks:
        found = tuple(choice for choice in found if choice in ask.permitted)
    return found


def _contradiction(memo: Memo, node: int, axis: int, asks: Sequence[Ask]) -> PlanError:
    """Names the fewest of the pins that leave no choice together."""
    fewest = next(
        some
        for count in (2, 3, len(asks))
        for some in (combinations(asks, count) if count < len(asks) else [tuple(asks)])
        if not permitted(memo, node, some)
    )
    pins = list(dict.fromkeys(ask.pin.text for ask in fewest))
    what = COUNTED.get(len(pins), f"{len(pins)} pins contradict each other")
    name, where = memo.graph.nodes[node].name, memo.machine.axes[axis].name
    rows = [f"{ask.pin.text!r} asks for {ask.said}" for ask in fewest]
    return PlanError(f"{what}: node {name!r} has one choice on mesh axis {where!r}.", *rows, "Leave one of them out.")
