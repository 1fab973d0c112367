"""Over several axes of a mesh at once: a better plan where there is one, and a bound below which none is.

    for each digit table: messages on the core of its network, until the bound is
        as high as the cheapest plan known    nothing under this table is cheaper
        no longer rising                      what is left between them is the gap
    choices met on the way are plans: the cheapest of all tables is kept

Where all axes choose, every plan under these tables is a choice in one of the networks: the least of their bounds is a
bound on all. Where some stand, messages are no more than a sweep over two axes at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, cycle

from einsplit.solver.messages import Passing, core_of
from einsplit.solver.problem.network import Network, network
from einsplit.solver.problem.problem import Limits
from einsplit.solver.search.starts import AxesOf
from einsplit.solver.search.sweep import settled, start, without_idle_digits
from einsplit.solver.search.watch import Watch

CLOSED = 1e-9  # share of a plan's seconds that bound and price may be apart by rounding
NEAR = 1e-6  # likewise, where it would take many turns to show that they are not apart at all
STALLED = 1e-2  # of the gap: a bound that rises by less in PATIENCE turns is not going to close it
PATIENCE = 20
FIRST_TURNS = 60  # under every digit table, before any gets more: a cheaper plan under one settles others
MAX_TURNS = 2000
WORTH = 1e-4  # share by which a round over all pairs of axes has to improve a plan for another round


def certify(watch: Watch, tables: Iterable[AxesOf], limits: Limits | None = None) -> float:
    """Offer cheaper plans than the best so far, and return a bound over the digit tables given and those of that."""
    memo = watch.found.problem.memo
    axes = range(len(memo.machine.axes))
    tolls = watch.found.problem.tolls
    starts = [start(memo, axes_of, limits, tolls) for axes_of in tables]
    if all(each.problem.tables != watch.found.problem.tables for each in starts):
        starts.append(watch.found)
    every: list[_Messages] = []
    for each in starts:
        every.append(_Messages(network(each, axes, alike=False), every[-1] if every else None))
        every[-1].run(watch, FIRST_TURNS)
    for messages in sorted(every, key=lambda messages: messages.bound):
        messages.run(watch, MAX_TURNS)
    return min(*(messages.passing.bound() for messages in every), watch.found.seconds)


def improve_pairs(watch: Watch) -> None:
    """Sweep two axes at a time, the others as they stand, round and round until no two improve the plan much."""
    pairs = list(combinations(range(len(watch.found.problem.machine.axes)), 2))
    idle = 0
    for pair in cycle(pairs):
        if idle >= len(pairs):
            break
        before = watch.found.seconds
        _Messages(network(watch.found, pair, alike=False)).run(watch, MAX_TURNS, is_bound=False)
        idle = 0 if watch.found.seconds < before * (1 - WORTH) else idle + 1


class _Messages:
    """Messages under one network's tables, `bound` as they stand; they begin with those of another, where given."""

    def __init__(self, of: Network, before: _Messages | None = None) -> None:
        self.of = of
        self.core = core_of(of.num_options, of.tables)
        self.passing = Passing(self.core)
        self.bound = 0.0
        if before is not None:
            self.passing.resume(before.passing)

    def run(self, watch: Watch, turns: int, is_bound: bool = True) -> None:
        """Pass messages until no plan under these tables is cheaper than the best so far, or the bound stalls.

        The cheapest plan met is offered and, unless the bound says that nothing is cheaper, what sweeps make of it.
        `is_bound`: of all plans, under these tables.
        """
        best, last = watch.found.seconds, self.bound
        chosen: Sequence[int] | None = None
        for turn in range(1, turns + 1):
            if self.bound >= best * (1 - (CLOSED if turn <= PATIENCE else NEAR)):
                break
            self.bound, choices = self.passing.turn()
            price = self.core.price(choices)
            if price < best * (1 - CLOSED):
                best, chosen = price, choices
            if turn % PATIENCE == 0:
                watch.tell(self.bound if is_bound else None, best)
                if self.bound - last < STALLED * (best - self.bound):
                    break
                last = self.bound
        if chosen is not None:
            better = self.of.plan(self.core.expanded(chosen))
            if self.bound < best * (1 - CLOSED):  # else nothing under these tables is cheaper
                better = settled(better)[0]
            watch.offer(without_idle_digits(better))
