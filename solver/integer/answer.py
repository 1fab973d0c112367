"""The cheapest choices of a network of tables under side rows, and a bound, by an integer program.

No word of the solver is passed on that was not checked. Its values are choices only where each is within 1e-6 of 0 or 1
and one of each class is 1; their price and rows are computed anew from the tables. A dual bound must be a number, and
not above a price that was computed so. The outcome follows from these, never from the solver's status alone: optimal
is what has choices, and a bound within the gap of them; infeasible is believed only where nothing contradicts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from math import fsum, inf, isfinite
from time import monotonic

import numpy as np

from einsplit.errors import PlanError, ShapeError, advice
from einsplit.solver.contraction.tropical import PriceTable
from einsplit.solver.integer.model import SCALE, Model, model
from einsplit.solver.integer.process import Bound, Done, Failed, Incumbent, Said, conversation
from einsplit.solver.integer.reduce import Mask, NothingLeft, Row, check_question, greedy, reduce

SOLVERS = ("highs", "cbc")
WHOLE = 1e-6  # how far from 0 or 1 a value may be that is taken for it
ROUNDING = 1e-6  # of a price: what a gap may be for the solvers' tolerances alone


class Outcome(Enum):
    """What is known, and checked, when `solve` returns."""

    OPTIMAL = "optimal"  # choices, and a bound within the gap asked for
    FEASIBLE = "feasible"  # choices that nothing proves to be the cheapest; a bound, where the solver found one
    INFEASIBLE = "infeasible"  # every choice is forbidden or breaks a row, says a solver that had the time to know
    UNKNOWN = "unknown"  # no choices found in time
    FAILED = "failed"  # the solver died or contradicted itself (`reason`); choices and bound are those until then


@dataclass(frozen=True, slots=True)
class Answer:
    """Option by class, their price, and a price below which no choices are; None where nothing is known."""

    outcome: Outcome
    choices: tuple[int, ...] | None = None
    price: float | None = None
    bound: float | None = None
    reason: str = ""


def chosen_sum(tables: Iterable[PriceTable], choices: Sequence[int]) -> float:
    """The sum of the tables' entries at the choices: exact for whole numbers, else rounded once."""
    entries = [table.prices[tuple(choices[v] for v in table.variables)].item() for table in tables]
    try:
        return sum(entries) if all(isinstance(entry, int) for entry in entries) else fsum(entries)
    except OverflowError:  # a sum beyond float64 is as good as forbidden
        return inf


def checked_price(choices: Sequence[int], tables: Sequence[PriceTable], rows: Sequence[Row]) -> float:
    """The price of the choices; inf where one is forbidden or a row is broken."""
    if any(chosen_sum(row.tables, choices) > row.limit for row in rows):
        return inf
    return chosen_sum(tables, choices)


def solve(
    num_options: Sequence[int],
    tables: Sequence[PriceTable],
    standing: Sequence[int] | None = None,
    rows: Sequence[Row] = (),
    *,
    keep: Sequence[Mask] | None = None,
    solver: str = "highs",
    limit_seconds: float = 60.0,
    gap: float = 1e-4,
    tell: Callable[[Answer], None] | None = None,
) -> Answer:
    """The best choices found in time; never dearer than `standing`, where that is allowed and keeps the rows.

    `keep[v]` masks the options of class v that are worth a look: choices and bound are then those among them and
    `standing`. `tell` hears of every better choice and bound while the solver works; on Ctrl-C the solver is ended and
    KeyboardInterrupt passes on, so what `tell` heard last is the best there is. Ends at most a second after
    `limit_seconds`. The same question has the same answer wherever the time does not run out.

    Raises PlanError or ShapeError for tables that do not fit or hold NaN or -inf, and for a solver that is not known.
    """
    if solver not in SOLVERS:
        raise PlanError(f"there is no solver {solver!r}.", advice(solver, SOLVERS))
    check_question(num_options, tables, rows)
    end = monotonic() + limit_seconds
    judge = _Judge(tables, rows, gap)
    if standing is not None:
        if len(standing) != len(num_options) or any(not 0 <= c < n for c, n in zip(standing, num_options, strict=True)):
            raise ShapeError(f"standing is no option for each of {len(num_options)} classes.")
        judge.take(tuple(standing))
    elif keep is None:
        judge.take(greedy(num_options, tables))  # a first price: what is dearer alone need not be looked at
    try:
        reduced = reduce(num_options, tables, rows, judge.choices, judge.price, keep)
        if reduced.start is not None:
            judge.take(tuple(int(row[c]) for row, c in zip(reduced.options, reduced.start, strict=True)))
        if all(len(options) == 1 for options in reduced.options):
            return judge.of_one(tuple(int(options[0]) for options in reduced.options))
        with conversation(solver) as talk:
            program = model(reduced)
            with closing(talk.ask(program, end - monotonic(), gap)) as words:
                for said in words:
                    if judge.hear(said, program) and tell is not None:
                        tell(judge.answer(Done("stopped"), in_time=False))
        return judge.answer(said, in_time=monotonic() < end)
    except NothingLeft:
        return Answer(Outcome.INFEASIBLE) if judge.choices is None else judge.answer(Done("stopped"), in_time=False)


class _Judge:
    """The best choices and bound of which the tables, or nothing they say, speak against."""

    def __init__(self, tables: Sequence[PriceTable], rows: Sequence[Row], gap: float) -> None:
        self._tables, self._rows, self._gap = tables, rows, gap
        self._bound = -inf
        self._unit = 0.0  # what a plan costs, about
        self.choices: tuple[int, ...] | None = None
        self.price = inf

    def take(self, choices: tuple[int, ...]) -> bool:
        """Whether these are allowed, and cheaper than all before."""
        price = checked_price(choices, self._tables, self._rows)
        if not price < self.price:
            return False
        self.choices, self.price = choices, price
        return True

    def of_one(self, choices: tuple[int, ...]) -> Answer:
        """The answer where only these choices are left."""
        self.take(choices)
        if self.choices is None:
            return Answer(Outcome.INFEASIBLE)
        return Answer(Outcome.OPTIMAL, self.choices, self.price, self.price)

    def hear(self, said: Said, of: Model) -> bool:
        """Whether a word of the solver makes the answer better."""
        self._unit = SCALE / of.factor
        if isinstance(said, Incumbent):
            choices = whole(said, of)
            return choices is not None and self.take(choices)
        if isinstance(said, Bound):
            bound = said.bound / of.factor + of.constant - of.margin
            if isfinite(bound) and bound > self._bound:
                self._bound = bound
                return True
        return False

    def answer(self, last: Said, in_time: bool) -> Answer:
        """What is known after the solver's last word."""
        reason = self._contradiction(last) or (last.reason if isinstance(last, Failed) else "")
        if self.choices is None:
            if reason:
                return Answer(Outcome.FAILED, reason=reason)
            known = in_time and isinstance(last, Done) and last.status == "infeasible"
            bound = None if known or self._bound == -inf else self._bound
            return Answer(Outcome.INFEASIBLE if known else Outcome.UNKNOWN, bound=bound)
        if self._bound == -inf or self._contradiction(last):
            return Answer(Outcome.FAILED if reason else Outcome.FEASIBLE, self.choices, self.price, None, reason)
        bound = min(self._bound, self.price)
        if self.price - bound <= self._gap * abs(self.price) + ROUNDING * self._weight():
            return Answer(Outcome.OPTIMAL, self.choices, self.price, bound)
        return Answer(Outcome.FAILED if reason else Outcome.FEASIBLE, self.choices, self.price, bound, reason)

    def _weight(self) -> float:
        """The sum of what the choices' entries are without their signs: what a rounding error is a part of."""
        assert self.choices is not None
        return chosen_sum([PriceTable(table.variables, np.abs(table.prices)) for table in self._tables], self.choices)

    def _contradiction(self, last: Said) -> str:
        """What the solver says that cannot be; none of its bounds is believed then."""
        status = last.status if isinstance(last, Done) else "stopped"
        if self.choices is None:
            return "it calls a point optimal that is no choice of options." if status == "optimal" else ""
        if status == "infeasible":
            return "it calls a program infeasible that choices are known of."
        if self._bound > self.price + ROUNDING * max(self._unit, self._weight()):
            return f"it gives the bound {self._bound}, and there are choices at the price {self.price}."
        return ""


def whole(said: Incumbent, of: Model) -> tuple[int, ...] | None:
    """The options of the classes whose value is 1; None unless that is one of each, and all other values are 0."""
    num_classes = int(of.owner[-1]) + 1
    choices: dict[int, int] = {}
    for column, value in said.values:
        if not 0 <= column < len(of.owner) or min(abs(value), abs(value - 1)) > WHOLE:
            return None
        if abs(value - 1) <= WHOLE:
            v = int(of.owner[column])
            if v in choices:
                return None
            choices[v] = int(of.option[column])
    return tuple(choices[v] for v in range(num_classes)) if len(choices) == num_classes else None
