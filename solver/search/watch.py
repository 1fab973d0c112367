"""A search as somebody who waits for it sees it: the cheapest plan so far, the bound so far, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from einsplit.solver.problem.problem import Folded

LEAST_LEAD = 1e-12  # share by which a plan is cheaper: prices of plans that are worth the same differ by rounding


@dataclass(frozen=True, slots=True)
class Standing:
    """The cheapest plan so far, in seconds a step, the bound so far, if any, and the seconds the search has taken."""

    best: float
    bound: float | None
    elapsed: float

    @property
    def gap(self) -> float | None:
        """By how much the best plan may be dearer than the cheapest, as a share of it."""
        return self.best / self.bound - 1.0 if self.bound else None


Progress = Callable[[Standing], None]


class OutOfTime(Exception):
    """The time limit of a search has passed; it ends with the best plan so far."""


class Watch:
    """Holds what a search has found. `progress` is told of it; past `limit_seconds` the search is ended."""

    def __init__(self, progress: Progress | None = None, limit_seconds: float | None = None) -> None:
        self._progress = progress
        self._start = time.monotonic()
        self._end = None if limit_seconds is None else self._start + limit_seconds
        self._parent: Watch | None = None
        self.best: Folded | None = None
        self.bound: float | None = None

    def child(self) -> Watch:
        """Of a search within this one: it keeps plans of its own, and ends when this one does."""
        found = Watch()
        found._parent, found._start, found._end = self, self._start, self._end
        return found

    def offer(self, found: Folded) -> None:
        """A plan; of equal ones the first is kept."""
        if self.best is None or found.seconds < self.best.seconds * (1 - LEAST_LEAD):
            self.best = found
        self.tell(self.bound)

    def tell(self, bound: float | None, best: float | None = None) -> None:
        """Report, with the bound so far, and with a better price that no plan has been made of yet.

        Raises OutOfTime.
        """
        now = time.monotonic()
        if self.best is not None:
            best = self.best.seconds if best is None else min(best, self.best.seconds)
        if self._parent is not None and self._parent.best is None:
            self._parent.tell(bound, best)  # all that there is to tell
        elif self._parent is not None:
            self._parent.tell(self._parent.bound)
        if self._progress is not None and best is not None:
            self._progress(Standing(best, bound, now - self._start))
        if self._end is not None and now > self._end:
            raise OutOfTime

    @property
    def standing(self) -> Standing:
        """How the search stands now."""
        return Standing(self.found.seconds, self.bound, time.monotonic() - self._start)

    @property
    def found(self) -> Folded:
        assert self.best is not None, "a search begins by offering a plan"
        return self.best
