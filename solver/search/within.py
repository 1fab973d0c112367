"""Plans that fit in memory: a toll on bytes held at the moments where too much is held, raised until they fit.

    minimise over plans  seconds + sum over times t of toll[t] * live(t)            tolls >= 0

Where the plan of least price holds too much, the time t at which it holds most gets a toll. It is raised until the plan
fits there, and then brought down again as far as it goes (bisection): the cheapest plan met that fits everywhere is
kept. If another time is the fullest then, it gets a toll as well.

For any tolls at all and for every plan that fits in `limit` bytes

    seconds >= bound on (seconds + sum over t of toll[t] * live(t))  -  limit * sum over t of toll[t]

which is a bound on what is sought (Lagrangian relaxation).

Source: H. Everett, Generalized Lagrange multiplier method, Operations Research 11, 1963; M. Held and R. Karp, 1970.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from einsplit.solver.problem.live import live_bytes
from einsplit.solver.problem.problem import Folded, Problem, Tolls, folded
from einsplit.solver.search.watch import Watch

FIRST_TOLL = 0.05  # of the price of all memory, as a share of the seconds of the cheapest plan
GROWTH = 4.0
MAX_RAISES = 10  # then memory is all that counts
BISECTIONS = 5
MAX_TIMES = 6  # that have tolls

Search = Callable[[Watch, Folded, bool], None]  # offer plans near one; with a bound over all digit tables?
Peak = Callable[[Folded], int]  # the bytes that a plan's Program holds


@dataclass(slots=True)
class Fitting:
    """The search for plans that fit in `limit` bytes, and a bound on their seconds.

    `smallest` is the plan that holds least of all met.
    """

    watch: Watch
    limit: int
    search: Search
    peak: Peak
    smallest: Folded | None = None
    smallest_bytes: int = 0
    bound: float | None = None
    _beside: int = 0  # bytes that instructions take beside what stands, at most so far

    def run(self, found: Folded, bound: float | None) -> None:
        """Offer plans that fit, given the cheapest of all, free of tolls, and a bound on it."""
        self.bound = bound
        if self.peak(found) <= self.limit:  # spans of values need not be found
            self.watch.offer(found)
            return
        first = FIRST_TOLL * found.seconds / self.limit
        tolls: dict[int, float] = {}
        fits = self._offered(found)
        while not fits and len(tolls) < MAX_TIMES:
            time = int(np.argmax(live_bytes(found.problem, found.chosen)))
            if time in tolls:
                break
            found = self._at(time, tolls, found, first)
            if not self._fits_at(found, time):
                break
            fits = self._offered(found)
        if tolls:
            self._solved(tolls, found, every=True)

    def _at(self, time: int, tolls: dict[int, float], found: Folded, first: float) -> Folded:
        """Raise the toll of one time until the plan fits there, then lower it as far as it still does."""
        low, high = 0.0, first
        for _ in range(MAX_RAISES):
            tolls[time] = high
            found = self._solved(tolls, found)
            if self._fits_at(found, time):
                break
            low, high = high, GROWTH * high
        else:
            return found
        for _ in range(BISECTIONS):
            tolls[time] = (low * high) ** 0.5 if low else high / GROWTH
            other = self._solved(tolls, found)
            if self._fits_at(other, time):
                high, found = tolls[time], other
            else:
                low = tolls[time]
        tolls[time] = high
        return found

    def _solved(self, tolls: Tolls, near: Folded, every: bool = False) -> Folded:
        """The cheapest plan under these tolls; offered, at its own price, if it fits."""
        watch = self.watch.child()
        watch.offer(_under(near, dict(tolls)))
        self.search(watch, watch.found, every)
        if watch.bound is not None:
            bound = watch.bound - self.limit * sum(tolls.values())
            self.bound = bound if self.bound is None else max(bound, self.bound)
        self._offered(watch.found)
        return watch.found

    def _fits_at(self, found: Folded, time: int) -> bool:
        return int(live_bytes(found.problem, found.chosen)[time]) <= self.limit - self._beside

    def _offered(self, found: Folded) -> bool:
        """Whether the plan fits; it is offered then, at its own price."""
        plain = _under(found, {})
        standing = int(live_bytes(plain.problem, plain.chosen).max())
        if self.smallest is None or standing < self.smallest_bytes:
            self.smallest, self.smallest_bytes = plain, standing
        if standing > self.limit:
            return False
        peak = self.peak(plain)
        self._beside = max(self._beside, peak - standing)
        if peak > self.limit:
            return False
        self.watch.offer(plain)
        return True


def _under(found: Folded, tolls: Tolls) -> Folded:
    """The plan at a price with other tolls."""
    of = found.problem
    return folded(Problem(of.graph, of.machine, of.tables, of.memo, of.limits, tolls), found.chosen)
