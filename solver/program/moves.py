"""One edge as instructions: the moves of its repartition, with every digit in its place.

A local tensor has one dimension per factor, and each dimension is, from slow to fast, the digits nobody cuts and then
the rest. Cutting, gathering or moving a digit is therefore: view the dimension as its digits, take or put one, and
view it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

from einsplit.solver.machine import Machine
from einsplit.solver.pricing.repartition import Move, repartition
from einsplit.solver.program.instructions import Buffer, Collective, Digit, Extent, Instruction, Slice, Zero
from einsplit.solver.sharding import PARTIAL, Digits, Layout

Place = tuple[int, int]  # (factor, axis) of a digit; axis -1: the rest of the factor


@lru_cache(maxsize=2**14)
def extent(digits: Digits, cut: tuple[int, ...]) -> Extent:
    """What a device holds of a class when the axes in `cut` cut it."""
    pairs = zip(digits.axes, digits.radices, strict=True)
    return Extent(digits.size, tuple(Digit(axis, radix, axis in cut) for axis, radix in pairs), digits.rest)


def extents(digits: Sequence[Digits], layout: Layout) -> tuple[Extent, ...]:
    """The same for every factor of a value."""
    return tuple(
        extent(d, tuple(axis for axis, entry in enumerate(layout) if entry == position))
        for position, d in enumerate(digits)
    )


class Mover:
    """Appends the buffers and instructions of edges."""

    def __init__(self, machine: Machine, buffers: list[Buffer], instructions: list[Instruction]) -> None:
        self._machine = machine
        self._buffers = buffers
        self._instructions = instructions

    def move(self, buffer: int, source: Layout, target: Layout, agg: str) -> int:
        """The buffer of the same value in the target layout."""
        for move in repartition(source, target, agg, self._machine.tiers):
            buffer = self._carry_out(buffer, move, agg)
        return buffer

    def _carry_out(self, buffer: int, move: Move, agg: str) -> int:
        """The buffer of the value after one move."""
        before = self._buffers[buffer]
        partial = tuple(axis for axis, entry in enumerate(move.after) if entry == PARTIAL)
        after = Buffer(before.dtype, tuple(_cut(e, move.after, k) for k, e in enumerate(before.extents)), partial)
        self._buffers.append(after)
        output = len(self._buffers) - 1
        if move.kind == "slice":
            places = _places(before)
            dims = tuple(places.index((move.after[axis], axis)) for axis in move.axes)
            self._instructions.append(Slice(buffer, output, move.axes, _sizes(before, places), dims))
        elif move.kind == "zero":
            self._instructions.append(Zero(buffer, output, move.axes))
        else:
            self._instructions.append(self._collective(buffer, output, move, agg))
        return output

    def _collective(self, source: int, output: int, move: Move, agg: str) -> Collective:
        """Pieces are numbered by the digits the group's axes take (`taken`) and lie by those they give (`given`)."""
        before, after = self._buffers[source], self._buffers[output]
        sent, got = _places(before), _places(after)
        axes = move.axes
        assert move.kind != "slice" and move.kind != "zero"
        taken = [(move.after[axis], axis) for axis in axes] if move.kind in ("reduce_scatter", "all_to_all") else []
        given = [(move.before[axis], axis) for axis in axes] if move.kind in ("all_gather", "all_to_all") else []
        kept = [place for place in sent if place not in taken]
        # Stacked in group order, the pieces received vary slowest over the axes' coordinates, then as they were sent.
        arrived = [*given, *kept]
        sizes = dict(zip(sent, _sizes(before, sent), strict=True))
        sizes |= {place: self._machine.axes[place[1]].size for place in given}
        return Collective(
            kind=move.kind,
            source=source,
            output=output,
            axes=axes,
            agg=agg,
            before_shape=_sizes(before, sent),
            before_order=tuple(sent.index(place) for place in (*taken, *kept)),
            after_shape=tuple(sizes[place] for place in arrived),
            after_order=tuple(arrived.index(place) for place in got),
        )


def _cut(extent_: Extent, layout: Layout, position: int) -> Extent:
    digits = tuple(Digit(d.axis, d.radix, layout[d.axis] == position) for d in extent_.digits)
    return Extent(extent_.size, digits, extent_.rest)


def _places(buffer: Buffer) -> list[Place]:
    """The digits a device holds of every factor, in memory order."""
    return [
        (factor, axis)
        for factor, e in enumerate(buffer.extents)
        for axis in (*(d.axis for d in e.digits if not d.cut), -1)
    ]


def _sizes(buffer: Buffer, places: Sequence[Place]) -> tuple[int, ...]:
    found = []
    for factor, axis in places:
        e = buffer.extents[factor]
        found.append(e.rest if axis == -1 else next(d.radix for d in e.digits if d.axis == axis))
    assert prod(found) == prod(buffer.shape)
    return tuple(found)
