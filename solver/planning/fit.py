"""Plans that fit in memory, or the error that says why none does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from math import prod

from einsplit.dtypes import ITEMSIZE
from einsplit.errors import PlanError
from einsplit.graph import Input
from einsplit.solver.planning.case import Case, peak
from einsplit.solver.problem.problem import Folded, Solution, refolded
from einsplit.solver.program.lower import lower
from einsplit.solver.program.memory import peak_bytes
from einsplit.solver.search.certify import certify
from einsplit.solver.search.least import Least, every_plan, least, num_plans
from einsplit.solver.search.starts import sweep_orders
from einsplit.solver.search.sweep import descend, start
from einsplit.solver.search.watch import OutOfTime, Watch
from einsplit.solver.search.within import Fitting
from einsplit.solver.units import bytes_text

SMALLEST_SECONDS = 1.0  # for the search of the smallest memory that would do
SMALLEST_STEP = 0.02  # it is known to that share
NEARLY = 1e-3  # share by which messages may leave a plan dearer than need be before sweeps are tried
MAX_TRIED = 5_000  # plans: so few are all tried where none was found that fits


def fit(case: Case, watch: Watch, cheapest: Folded, bound: float | None) -> None:
    """Offer plans that fit, given the cheapest of all and a bound on it. Raises PlanError where none is found."""
    fitting = Fitting(watch, case.memory_bytes, lambda *given: _near(case, *given), peak)
    fitting.run(cheapest, bound)
    watch.bound = fitting.bound
    if watch.best is None:
        try_all(case, watch)
    if watch.best is None:
        assert fitting.smallest is not None
        binding = _least(case, fitting.smallest)
        proven = binding.bound > case.memory_bytes or _are_few(case)
        raise _infeasible(case, binding, (fitting.smallest, *binding.plans), proven)


def refuse_hopeless(case: Case) -> None:
    """Raise PlanError at once where parameters and state alone, cut over all devices, are too much."""
    graph, devices = case.memo.graph, case.memo.machine.num_devices
    resting = sum(
        case.memo.times[at] * prod(graph.shape(at)) * ITEMSIZE[node.dtype]
        for at, node in enumerate(graph.nodes)
        if isinstance(node, Input) and node.role != "data"
    )
    if resting > case.memory_bytes * devices:
        share = bytes_text(resting / devices)
        raise PlanError(
            f"no plan fits in {bytes_text(case.memory_bytes)} on each device.",
            f"Parameters and state alone are {bytes_text(resting)}: {share} on each of {devices:,} devices.",
            "Allow more memory, use more devices, or keep parameters in a smaller dtype.",
        )


def _near(case: Case, watch: Watch, found: Folded, every: bool) -> None:
    """Plans near one, at the prices of its Problem; with a bound if `every` digit table is to be tried."""
    # Digits that nobody used have gone from the plan's own tables, and what it holds whole could be cut by them.
    if case.is_certified:
        bound = certify(watch, case.tables if every else case.tables[:1], case.limits)
        watch.bound = bound if every else None
        if watch.found.seconds <= bound * (1 + NEARLY):
            return
    order = sweep_orders(case.memo.machine)[0]
    watch.offer(descend(found, order, watch))
    watch.offer(descend(start(case.memo, case.tables[0], case.limits, found.problem.tolls), order, watch))


def try_all(case: Case, watch: Watch) -> None:
    """Offer every plan that fits, where there are few plans: the cheapest is then a bound."""
    if not _are_few(case):
        return
    for problem in case.problems():
        for shardings in every_plan(problem):
            found = Solution(problem, shardings, problem.price(shardings).seconds)
            cheaper = watch.best is None or found.seconds < watch.best.seconds
            if cheaper and peak_bytes(lower(found)) <= case.memory_bytes:
                watch.offer(refolded(found))
    if watch.best is not None:
        watch.bound = watch.best.seconds


def _are_few(case: Case) -> bool:
    """Whether all plans can be tried: of a graph as it is, for a Program of a short form is not the deep one's."""
    return case.memo.deep is None and sum(map(num_plans, case.problems())) <= MAX_TRIED


def _least(case: Case, found: Folded) -> Least:
    return least(found, case.problems() if case.is_certified else ())


def _infeasible(case: Case, binding: Least, met: Sequence[Folded], proven: bool) -> PlanError:
    """Says whether anything can fit, the smallest memory that is known to do, and what binds."""
    limit = f"{bytes_text(case.memory_bytes)} on each device"
    enough = _enough(case, binding, met)
    parts = ", ".join(f"{bytes_text(nbytes)} of {kind}" for kind, nbytes in binding.held.items())
    below = f", and no plan holds less than {bytes_text(binding.bound)} then" if binding.bound else ""
    return PlanError(
        f"no plan {'fits in' if proven else 'was found that fits in'} {limit}.",
        f"{bytes_text(enough)} ({enough:,} bytes) would do.",
        f"Most is held while {binding.node!r} runs: {parts or 'what it works on'} in a plan met{below}.",
        "Allow more memory, use more devices, or make the batch smaller.",
    )


def _enough(case: Case, binding: Least, met: Sequence[Folded]) -> int:
    """The least bytes that a plan is known to do with: of those met, and of what a second's search finds below."""
    known, low = min(map(peak, met)), max(binding.bound, case.memory_bytes)
    watch = Watch(limit_seconds=SMALLEST_SECONDS)
    with suppress(OutOfTime):
        while known - low > SMALLEST_STEP * known:
            within = watch.child()
            target = (low + known) // 2
            Fitting(within, target, lambda *given: _near(case, *given), peak).run(met[0], None)
            if within.best is None:
                low = target
            else:
                known = peak(within.best)
    return known
