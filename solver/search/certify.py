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
from einsplit.solver.search.network import Network, network
from einsplit.solver.search.problem import Folded, Limits
from einsplit.solver.search.starts import AxesOf
from einsplit.solver.search.sweep import settled, start, without_idle_digits
from einsplit.solver.search.watch import Watch

CLOSED = 1e-9  # share of a plan's seconds that bound and price may be apart by rounding
STALLED = 1e-3  # of the gap: a bound that rises by less in PATIENCE turns is not going to close it
PATIENCE = 20
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
    bounds: list[float] = []
    passing: Passing | None = None
    for each in starts:
        better, passing = _under(network(each, axes, alike=False), watch, min(bounds, default=None), passing)
        bounds.append(passing.bound())
        if better is not None:
            watch.offer(better)
            watch.offer(without_idle_digits(settled(better)[0]))
    return min(*bounds, watch.found.seconds)


def improve_pairs(watch: Watch) -> None:
    """Sweep two axes at a time, the others as they stand, round and round until no two improve the plan much."""
    pairs = list(combinations(range(len(watch.found.problem.machine.axes)), 2))
    idle = 0
    for pair in cycle(pairs):
        if idle >= len(pairs):
            break
        before = watch.found.seconds
        better, _ = _under(network(watch.found, pair, alike=False), watch)
        if better is not None:
            watch.offer(settled(better)[0])
        idle = 0 if watch.found.seconds < before * (1 - WORTH) else idle + 1


def _under(
    of: Network, watch: Watch, others: float | None = None, before: Passing | None = None
) -> tuple[Folded | None, Passing]:
    """A plan cheaper than the best so far, if one is met, and the messages, under one network's tables.

    `others`: the bound under tables done before; `before`: the messages there.
    """
    core = core_of(of.num_options, of.tables)
    passing = Passing(core)
    if before is not None:
        passing.resume(before)
    best, last = watch.found.seconds, 0.0
    chosen: Sequence[int] | None = None
    for turn in range(MAX_TURNS):
        bound, choices = passing.turn()
        price = core.price(choices)
        if price < best * (1 - CLOSED):
            best, chosen = price, choices
        if bound >= best * (1 - CLOSED):
            break
        if turn % PATIENCE == 0:
            watch.tell(None if others is None else min(bound, others), best)
            if turn and bound - last < STALLED * (best - bound):
                break
            last = bound
    return None if chosen is None else of.plan(core.expanded(chosen)), passing
