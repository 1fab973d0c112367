"""Plans that fit in memory, or the error that says why none does."""

from __future__ import annotations

from einsplit.errors import PlanError
from einsplit.solver.planning.case import Case, peak
from einsplit.solver.problem.problem import Folded, Solution, refolded
from einsplit.solver.program.lower import lower
from einsplit.solver.program.memory import peak_bytes
from einsplit.solver.search.certify import certify
from einsplit.solver.search.least import every_plan, least, num_plans
from einsplit.solver.search.starts import sweep_orders
from einsplit.solver.search.sweep import descend
from einsplit.solver.search.watch import Watch
from einsplit.solver.search.within import Fitting
from einsplit.solver.units import bytes_text

MAX_TRIED = 5_000  # plans: so few are all tried where none was found that fits


def fit(case: Case, watch: Watch, cheapest: Folded, bound: float | None) -> Fitting:
    """Offer plans that fit, given the cheapest of all and a bound on it. Raises PlanError where none is found."""
    fitting = Fitting(watch, case.memory_bytes, lambda *given: _near(case, *given), peak)
    fitting.run(cheapest, bound)
    watch.bound = fitting.bound
    if watch.best is None:
        try_all(case, watch)
    if watch.best is None:
        assert fitting.smallest is not None
        raise _infeasible(case, fitting.smallest)
    return fitting


def _near(case: Case, watch: Watch, found: Folded, every: bool) -> None:
    """Plans near one, at the prices of its Problem; with a bound if `every` digit table is to be tried."""
    watch.offer(descend(found, sweep_orders(case.memo.machine)[0], watch))
    if case.is_certified:
        bound = certify(watch, case.tables if every else (), case.limits)
        watch.bound = bound if every else None


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
    return sum(map(num_plans, case.problems())) <= MAX_TRIED


def _infeasible(case: Case, smallest: Folded) -> PlanError:
    """Says whether anything can fit, the smallest memory that is known to do, and what binds."""
    found, held = least(smallest, case.problems()), peak(smallest)
    proven = found.bound > case.memory_bytes or _are_few(case)
    limit = f"{bytes_text(case.memory_bytes)} on each device"
    parts = ", ".join(f"{bytes_text(nbytes)} of {kind}" for kind, nbytes in found.held.items())
    return PlanError(
        f"no plan {'fits in' if proven else 'was found that fits in'} {limit}.",
        f"{bytes_text(held)} would do; while {found.node!r} runs that is {parts or 'what it works on'},"
        f" and no plan holds less than {bytes_text(found.bound)} then.",
        "Allow more memory, use more devices, or make the batch smaller.",
    )
