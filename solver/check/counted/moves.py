"""What brings a value from where it was made to where it is read: who holds what, who sends what to whom.

Each move changes what some axes do, and is simulated on the group of devices that differ in these axes alone:

- *slice* and *zero* send nothing: every device keeps a part of its own block, or all of it or zeros.
- An exchange (reduce-scatter, all-to-all, all-gather) sends from each device to each other what the first has before
  of the other's block after.
- An all-reduce is the cheaper of two: everybody sends all of its block to everybody; or everybody sends a piece, of as
  many pieces as there are devices, to the one that adds it, and that one sends the sum to everybody.

The order: slices; zeros, where partial values are addends; then, each tier by itself, reduce-scatters from the fastest
tier on, all-to-alls from the slowest on, all-reduces from the fastest on, all-gathers from the slowest on; zeros last.

    seconds(slice or zero) = pass(2 bytes after)
    seconds(others)        = pass(2 (bytes before + bytes after)) + rounds * latency + bytes sent / bytes per second
    pass(bytes)            = launch + bytes / memory bytes per second
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from einsplit.solver.check.extents import Extent
from einsplit.solver.check.layouts import PARTIAL, Entries, Entry
from einsplit.solver.machine import Machine

ALL = -1  # a device holds every value of a digit
MAX_SENDERS = 64  # of a group: of a larger one only the first and the last are looked at

Blocks = NDArray[np.int64]  # in its last dimension, for every digit of every factor, the value that is held, or ALL


@dataclass(frozen=True, slots=True)
class Value:
    """The extents of a value's factors, and the bytes of an element."""

    factors: tuple[Extent, ...]
    itemsize: int

    def blocks(self, entries: Entries, places: NDArray[np.int64]) -> Blocks:
        """What devices hold that stand at `places`, one row of coordinates each."""
        digits = [(number, axis) for number, extent in enumerate(self.factors) for axis in extent.axes]
        is_cut = [entries[axis] == number for number, axis in digits]
        found: Blocks = np.where(is_cut, places[:, [axis for _, axis in digits]], ALL)
        return found

    def common(self, one: Blocks, other: Blocks) -> NDArray[np.int64]:
        """Elements that blocks have in common, each with each that broadcasting joins it to."""
        radices = np.array([radix for extent in self.factors for radix in extent.radices], np.int64)
        apart = (one != other) & (one != ALL) & (other != ALL)
        free = np.where((one == ALL) & (other == ALL), radices, 1).prod(axis=-1, dtype=np.int64)
        found: NDArray[np.int64] = np.where(apart.any(axis=-1), 0, free * prod(extent.rest for extent in self.factors))
        return found

    def elements(self, entries: Entries) -> int:
        """Elements that each device holds."""
        return prod(
            extent.held([axis for axis in extent.axes if entries[axis] == number])
            for number, extent in enumerate(self.factors)
        )


@dataclass(frozen=True, slots=True)
class Moved:
    """Seconds, and the bytes that each device sends, by the axes of each collective."""

    seconds: float = 0.0
    sent: tuple[tuple[tuple[int, ...], int], ...] = ()

    @property
    def bytes(self) -> int:
        return sum(count for _, count in self.sent)


def moved(value: Value, left: Entries, wanted: Entries, agg: str, machine: Machine) -> Moved:
    """What it takes to bring a value, whose partial results combine by `agg`, from one layout to another."""
    # Only a sum has addends; where nothing is partial there is nothing yet that another aggregation would combine.
    adds = agg == "sum" or PARTIAL not in left
    every, tiers = [range(len(left))], machine.tiers
    seconds, sent, now = 0.0, [], left
    for kind, groups in (
        ("slice", every),
        ("zero", every if adds else []),
        ("reduce_scatter", tiers[::-1]),
        ("all_to_all", tiers),
        ("all_reduce", tiers[::-1]),
        ("all_gather", tiers),
        ("zero", every),
    ):
        for group in groups:
            axes = tuple(axis for axis in group if _next(now[axis], wanted[axis], adds) == kind)
            if axes:
                after = tuple(_becomes(kind, wanted[axis]) if axis in axes else entry for axis, entry in enumerate(now))
                count, rounds = SENDS[kind](value, now, after, axes, machine)
                seconds += _seconds(value, now, after, axes, count, rounds, machine)
                sent += [(axes, count * value.itemsize)] if rounds else []
                now = after
    assert now == wanted, f"{left} became {now}, not {wanted}"
    return Moved(seconds, tuple(sent))


def _next(now: Entry, to: Entry, adds: bool) -> str:
    """The move that an axis waits for."""
    if now == PARTIAL:
        waits = "reduce_scatter" if isinstance(to, int) else "all_reduce"
        return "" if to == PARTIAL and adds else waits
    if now == to:
        return ""
    if now is None:
        return "zero" if to == PARTIAL else "slice"
    return "all_to_all" if isinstance(to, int) else "all_gather"


def _becomes(kind: str, to: Entry) -> Entry:
    return None if kind in ("all_reduce", "all_gather") else to


def _seconds(
    value: Value, before: Entries, after: Entries, axes: Sequence[int], count: int, rounds: int, machine: Machine
) -> float:
    touched = value.elements(after) + (value.elements(before) if rounds else value.elements(after))
    packing = (2 if rounds else 1) * touched * value.itemsize / machine.memory_bytes_per_second
    link = machine.axes[axes[0]]
    wire = count * value.itemsize / link.bytes_per_second if rounds else 0.0
    return machine.launch_seconds + packing + rounds * link.latency_seconds + wire


# -------------------------------------------------------------------------------- elements sent, and rounds


def _keep(value: Value, before: Entries, after: Entries, axes: Sequence[int], machine: Machine) -> tuple[int, int]:
    return 0, 0


def _exchange(value: Value, before: Entries, after: Entries, axes: Sequence[int], machine: Machine) -> tuple[int, int]:
    """What a device sends: of its block before, what is in the blocks of the others after."""
    group = _places(axes, machine)
    have, need = value.blocks(before, group), value.blocks(after, group)
    arrives = value.common(have, need[0])
    adds = any(before[axis] == PARTIAL for axis in axes)
    whole = value.elements(after)
    assert (arrives == whole).all() if adds else arrives.sum() == whole, "an element comes from nowhere, or twice"
    senders = np.arange(len(group)) if len(group) <= MAX_SENDERS else np.array([0, len(group) - 1])
    sent = value.common(have[senders, None], need[None])
    sent[np.arange(len(senders)), senders] = 0  # what a device has already
    return int(sent.sum(axis=1).max()), 1


def _reduce(value: Value, before: Entries, after: Entries, axes: Sequence[int], machine: Machine) -> tuple[int, int]:
    elements, devices = value.elements(before), prod(machine.axes[axis].size for axis in axes)
    piece = -(-elements // devices)
    ways = (((devices - 1) * elements, 1), (2 * (devices - 1) * piece, 2))
    return min(ways)  # of equals the one of fewer rounds


def _places(axes: Sequence[int], machine: Machine) -> NDArray[np.int64]:
    """The coordinates of the devices that differ in these axes alone, a row for each."""
    ranges = (range(axis.size) if k in axes else (0,) for k, axis in enumerate(machine.axes))
    return np.array(list(product(*ranges)), np.int64)


Sends = Callable[[Value, Entries, Entries, Sequence[int], Machine], tuple[int, int]]
SENDS: dict[str, Sends] = {
    "slice": _keep,
    "zero": _keep,
    "reduce_scatter": _exchange,
    "all_to_all": _exchange,
    "all_reduce": _reduce,
    "all_gather": _exchange,
}
