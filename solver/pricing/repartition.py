"""From the layout a producer leaves to the layout a reader wants: the moves, in order, that both price and Program use.

Slicing comes first (it makes everything after it smaller), then reduce-scatter (partial -> cut), all-to-all (cut ->
other cut), and last all-reduce (partial -> whole) and all-gather (cut -> whole). Axes of one tier that do the same are
one collective; a faster tier reduces before a slower one, and gathers after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from einsplit.solver.pricing.collectives import CollectiveKind
from einsplit.solver.sharding import PARTIAL, WHOLE, Layout

MoveKind = Literal["slice", "zero"] | CollectiveKind


@dataclass(frozen=True, slots=True)
class Move:
    """`axes` all change from their entry in `before` to their entry in `after`; the others stay."""

    kind: MoveKind
    axes: tuple[int, ...]
    before: Layout
    after: Layout


@lru_cache(maxsize=2**18)  # a search asks for the same few thousand of every tensor
def repartition(source: Layout, target: Layout, agg: str, tiers: tuple[tuple[int, ...], ...]) -> tuple[Move, ...]:
    """Moves from `source` to `target`; partial entries of `source` combine by `agg`, those of `target` are addends."""
    moves: list[Move] = []
    now = list(source)
    if PARTIAL not in source:
        agg = "sum"  # nothing is left to combine: partial entries met from here on are addends

    def move(kind: MoveKind, axes: Sequence[int], to: Sequence[int]) -> None:
        if axes:
            before = tuple(now)
            for axis, entry in zip(axes, to, strict=True):
                now[axis] = entry
            moves.append(Move(kind, tuple(axes), before, tuple(now)))

    def changing(kind: MoveKind, group: Sequence[int]) -> list[int]:
        return [axis for axis in group if _change(now[axis], target[axis], agg) == kind]

    every = range(len(source))
    sliced = changing("slice", every)
    move("slice", sliced, [target[axis] for axis in sliced])
    # Zeros are the identity of a sum only: where other partial results have yet to combine, they come last.
    zeroed = changing("zero", every) if agg == "sum" else []
    move("zero", zeroed, [PARTIAL for _ in zeroed])
    for tier in reversed(tiers):
        scattered = changing("reduce_scatter", tier)
        move("reduce_scatter", scattered, [target[axis] for axis in scattered])
    for tier in tiers:
        swapped = changing("all_to_all", tier)
        move("all_to_all", swapped, [target[axis] for axis in swapped])
    for tier in reversed(tiers):
        reduced = changing("all_reduce", tier)
        move("all_reduce", reduced, [WHOLE for _ in reduced])
    for tier in tiers:
        gathered = changing("all_gather", tier)
        move("all_gather", gathered, [WHOLE for _ in gathered])
    # An axis whose cut, or whose partial results of another aggregation, become addends: whole first, zeros last.
    late = changing("zero", every)
    move("zero", late, [PARTIAL for _ in late])
    return tuple(moves)


def _change(now: int, to: int, agg: str) -> MoveKind | None:
    """What one axis needs next to get from one entry to another."""
    if now == to and (now != PARTIAL or agg == "sum"):
        return None
    if now == WHOLE:
        return "zero" if to == PARTIAL else "slice"
    if now == PARTIAL:
        return "all_reduce" if to in (WHOLE, PARTIAL) else "reduce_scatter"
    return "all_gather" if to in (WHOLE, PARTIAL) else "all_to_all"
