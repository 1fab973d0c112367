"""Digit tables under which the pinned cuts are possible.

A pin needs its mesh axes to own digits of the extent classes that it cuts. Where no axis may do otherwise, that is

    for every node and axis pinned to labels alone:   some class of these labels has a digit for the axis

Where a table of the search does not have it, the axes that are needed come first, and of its own those that still fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from einsplit.errors import PlanError
from einsplit.graph import Label
from einsplit.solver.pins.asks import Ask
from einsplit.solver.pins.limits import grouped, permitted
from einsplit.solver.pins.text import Pin
from einsplit.solver.problem.memo import Memo
from einsplit.solver.search.starts import MAX_PADDING, AxesOf, fits

MAX_TRIES = 10_000  # of ways to give every pin that leaves a choice of labels one of them

Needed = dict[Label, tuple[int, ...]]  # by extent class


@dataclass(frozen=True, slots=True)
class Need:
    """The axis needs a digit of one of the classes; `labels` are those asked for, by class, `pins` the texts."""

    axis: int
    labels: Mapping[Label, Label]
    pins: tuple[str, ...]


class _TooMany(Exception):
    """More ways to satisfy pins than are worth trying."""


def pinned_tables(memo: Memo, pins: Sequence[Pin], tables: Sequence[AxesOf]) -> list[AxesOf]:
    """Of each table, one under which every pinned node has a choice that its pins permit; equal ones once.

    A table that allows the pins is left as it is. Raises PlanError, with the figures, where the axes that cut a label
    are more than its size can be cut by, or pad it by more than an eighth; and whatever `limits_of` raises.
    """
    needs = _needs(memo, grouped(memo, pins))
    found: list[AxesOf] = []
    for table in tables:
        axes_of = _changed(memo, needs, table)
        if axes_of not in found:
            found.append(axes_of)
    return found


def _needs(memo: Memo, asks: Mapping[tuple[int, int], Sequence[Ask]]) -> list[Need]:
    """What the pins need, each once; those that leave no choice of classes first."""
    found: dict[tuple[int, frozenset[Label]], Need] = {}
    for (node, axis), rows in asks.items():
        left = permitted(memo, node, rows)
        labels = {memo.classes[choice]: choice for choice in left if isinstance(choice, str)}
        if len(labels) and all(isinstance(choice, str) for choice in left):
            key = (axis, frozenset(labels))
            before = found[key].pins if key in found else ()
            texts = (ask.pin.text for ask in rows)
            found[key] = Need(axis, labels, tuple(dict.fromkeys((*before, *texts))))
    return sorted(found.values(), key=lambda need: (len(need.labels), need.axis, sorted(need.labels)))


def _changed(memo: Memo, needs: Sequence[Need], table: AxesOf) -> AxesOf:
    """The table, with what is needed. Raises PlanError where that cannot be."""
    if all(any(need.axis in table.get(of, ()) for of in need.labels) for need in needs):
        return table
    counted = [0]
    try:
        needed = next(_ways(memo, needs, table, {}, counted), None)
    except _TooMany:
        texts = tuple(dict.fromkeys(text for need in needs for text in need.pins))
        raise PlanError(
            "the pins leave too many ways to give mesh axes to labels.",
            *(repr(text) for text in texts),
            "Name the label that an axis cuts, instead of a pattern.",
        ) from None
    if needed is None:
        raise _unfitting(memo, needs)
    every = dict.fromkeys((*table, *needed))
    return {of: _with(memo, of, needed.get(of, ()), table.get(of, ())) for of in every}


def _ways(memo: Memo, needs: Sequence[Need], table: AxesOf, given: Needed, counted: list[int]) -> Iterator[Needed]:
    """Which axes each class must have, so that all needs are met and all fits; of classes, those of the table first."""
    counted[0] += 1
    if counted[0] > MAX_TRIES:
        raise _TooMany
    if not needs:
        yield given
        return
    need, *others = needs
    if any(need.axis in given.get(of, ()) for of in need.labels):
        yield from _ways(memo, others, table, given, counted)
        return
    for of in sorted(need.labels, key=lambda of: (need.axis not in table.get(of, ()), of)):
        axes = tuple(sorted((*given.get(of, ()), need.axis)))
        if _fits(memo, of, axes):
            yield from _ways(memo, others, table, {**given, of: axes}, counted)


def _fits(memo: Memo, of: Label, axes: Sequence[int], max_padding: float = MAX_PADDING) -> bool:
    return fits(memo.graph.sizes[of], [memo.machine.sizes[axis] for axis in axes], max_padding)


def _with(memo: Memo, of: Label, needed: tuple[int, ...], own: tuple[int, ...]) -> tuple[int, ...]:
    """The axes needed, and those of a table's own that still fit; it stays unpadded where it was and can be."""
    padding = 0.0 if _fits(memo, of, own, 0.0) and _fits(memo, of, needed, 0.0) else MAX_PADDING
    found = list(needed)
    for axis in own:
        if axis not in found and _fits(memo, of, (*found, axis), padding):
            found.append(axis)
    return tuple(sorted(found))


def _unfitting(memo: Memo, needs: Sequence[Need]) -> PlanError:
    """Names the pins that ask for more digits than a label has, as few of them as show it."""
    given: dict[Label, list[Need]] = {}
    for need in needs:  # those without an alternative come first
        if any(need.axis == other.axis for of in need.labels for other in given.get(of, [])):
            continue
        fitting = [of for of in need.labels if _fits(memo, of, [need.axis, *(n.axis for n in given.get(of, []))])]
        if not fitting:
            of = min(need.labels)
            alone = not _fits(memo, of, [need.axis])
            return _too_small(memo, need.labels[of], [need] if alone else [*given.get(of, []), need])
        given.setdefault(fitting[0], []).append(need)
    raise AssertionError("needs that are met one by one are met together")


def _too_small(memo: Memo, label: Label, needs: Sequence[Need]) -> PlanError:
    size, axes = memo.graph.sizes[label], sorted({need.axis for need in needs})
    pieces = prod(memo.machine.sizes[axis] for axis in axes)
    names = " x ".join(f"{memo.machine.axes[axis].name}:{memo.machine.axes[axis].size}" for axis in axes)
    if pieces > size:
        why = f"its {size:,} elements cannot be cut into {pieces:,} pieces"
    else:
        padded = -(-size // pieces) * pieces
        why = (
            f"cut into {pieces:,} pieces its {size:,} elements are padded to {padded:,}, "
            f"{100 * (padded - size) / size:.3g} % more, and at most {100 * MAX_PADDING:.3g} % are"
        )
    texts = dict.fromkeys(text for need in needs for text in need.pins)
    pins = "a pin does not fit" if len(texts) == 1 else f"{len(texts)} pins do not fit together"
    return PlanError(
        f"{pins}: label {label!r} on mesh axes {names}: {why}.",
        *(repr(text) for text in texts),
        "An axis that cuts a label has its place in it at every node: pin fewer axes to it.",
    )
