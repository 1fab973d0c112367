"""Words that each node of a plan moves, beside its communication lower bound and its best integer grid; as text too."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from math import isclose

import msgspec

from einsplit.errors import PlanError
from einsplit.solver.bounds import CAVEATS, NodeWords, plan_words
from einsplit.solver.plan.rows import folding_kept
from einsplit.solver.problem.fold import Folding
from einsplit.solver.problem.problem import Problem
from einsplit.solver.sharding import Sharding
from einsplit.solver.shown import shown
from einsplit.solver.units import rate_text

__all__ = [
    "NOTES",
    "Words",
    "are_equal",
    "check_words",
    "count_text",
    "ratio",
    "ratio_text",
    "summed_text",
    "total",
    "words_of",
    "words_text",
]

NOTES = (
    "A reduction counts at the node whose addends it combines; "
    "all else that moves, at the operation that reads it first.",
    *CAVEATS,
)
DIGITS = 9  # of a bound: those after depend on the linear algebra of the machine that found it
TOLERANCE = 1e-6  # between bounds found on two machines, relative


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Scalars that each device sends for a node; the fewest that some device must, and those of the best integer grid.

    The last two are None where the labels of the node do not describe its work, as of a kernel, and the last where
    there are too many grids. Over all nodes `moved` sums to the scalars that a plan sends: of one dtype, to its bytes
    divided by the bytes of one.
    """

    moved: int
    bound: float | None = None
    grid: float | None = None


def words_of(problem: Problem, shardings: Sequence[Sharding], folding: Folding) -> tuple[Words | None, ...]:
    """By node; None where there is nothing to say: it has no bound and moves nothing. `folding`: as of `plan_words`."""
    known: dict[NodeWords, Words | None] = {}
    found = []
    for row in plan_words(problem, shardings, folding):
        if row not in known:
            known[row] = _words(row)
        found.append(known[row])
    return tuple(found)


def _words(row: NodeWords) -> Words | None:
    if row.bound_words is None:
        return Words(row.moved_words) if row.moved_words else None
    return Words(row.moved_words, float(f"{row.bound_words:.{DIGITS}g}"), row.grid_words)


def check_words(claimed: Sequence[tuple[str, Words | None]], problem: Problem, shardings: Sequence[Sharding]) -> None:
    """Raises PlanError where the words of a plan's nodes, beside their names, are not true.

    A plan without any claims nothing; one with some has all of them.
    """
    if all(words is None for _, words in claimed):
        return
    true_words = words_of(problem, shardings, folding_kept(problem, shardings))
    for at, ((name, words), true) in enumerate(zip(claimed, true_words, strict=True)):
        if not are_equal(words, true):
            raise PlanError(
                f"$.nodes[{at}].words ({shown(name)}): the plan says {_figures(words)}, and it is {_figures(true)}",
                "Plan again, or restore the file from version control.",
            )


def _figures(words: Words | None) -> str:
    return msgspec.json.encode(words).decode()


def are_equal(one: Words | None, other: Words | None) -> bool:
    """Words moved to the last, bounds but for rounding."""
    if one is None or other is None:
        return one is other
    return one.moved == other.moved and all(
        a is b is None or (a is not None and b is not None and isclose(a, b, rel_tol=TOLERANCE))
        for a, b in ((one.bound, other.bound), (one.grid, other.grid))
    )


def total(found: Iterable[Words | None]) -> Words | None:
    """Of several nodes together; a bound, and a grid, only where all of them have one."""
    rows = [row for row in found if row is not None]
    if not rows:
        return None
    bounds = [row.bound for row in rows if row.bound is not None]
    grids = [row.grid for row in rows if row.grid is not None]
    return Words(
        moved=sum(row.moved for row in rows),
        bound=_sum(bounds) if len(bounds) == len(rows) else None,
        grid=_sum(grids) if len(grids) == len(rows) else None,
    )


def count_text(count: float) -> str:
    """With a prefix of 1000: `8.39M`."""
    return rate_text(count, "").removesuffix("/s").replace(" ", "")


def ratio(moved: int, least: float | None) -> float:
    """Finite: -1 where nothing is known to compare with, 1 where both are 0."""
    if least is None:
        return -1.0
    if not moved:
        return 0.0 if least else 1.0
    return min(moved / least, sys.float_info.max) if least else sys.float_info.max


def ratio_text(moved: int, least: float | None) -> str:
    """`1.28x`; empty where nothing is known to compare with, `over 0` where nothing need have moved."""
    if least is None:
        return ""
    if moved and not least:
        return "over 0"
    found = ratio(moved, least)
    return f"{found:.2f}x" if found < 99.995 else f"{found:,.0f}x" if found < 1e6 else f"{found:.0e}x"


def words_text(words: Words | None) -> str:
    """`8.39M, 1.28x bound, 1.00x grid`; empty where there is nothing to say."""
    if words is None:
        return ""
    figures = (("bound", words.bound), ("grid", words.grid))
    said = (f"{name} 0" if least == 0 else f"{ratio_text(words.moved, least)} {name}" for name, least in figures)
    known = (text for text, (_, least) in zip(said, figures, strict=True) if least is not None)
    return ", ".join([count_text(words.moved), *known])


def summed_text(found: Iterable[Words | None]) -> str:
    """What the words of all nodes of a plan come to, against operators on their own; empty where none are known."""
    rows = [row for row in found if row is not None]
    if not rows:
        return ""
    compared = (
        _compared("bounds", [(row.moved, row.bound) for row in rows if row.bound is not None]),
        _compared("best grids", [(row.moved, row.grid) for row in rows if row.grid is not None]),
    )
    said = f"each device sends {count_text(sum(row.moved for row in rows))} words"
    return f"{said}; vs isolated operators {', '.join(filter(None, compared)) or 'nothing is known'}"


def _compared(name: str, figures: Sequence[tuple[int, float]]) -> str:
    if not figures:
        return ""
    moved, least = sum(row[0] for row in figures), _sum(row[1] for row in figures)
    return f"{ratio_text(moved, least)} their {name} ({count_text(moved)} of {count_text(least)})"


def _sum(values: Iterable[float]) -> float:
    """Finite, for each is."""
    return min(sum(values), sys.float_info.max)
