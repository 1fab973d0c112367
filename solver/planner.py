"""Graph + Machine -> Plan, by any of the methods; whatever a search finds is priced anew before anyone sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, prod

from einsplit.errors import PlanError, advice
from einsplit.graph import Graph
from einsplit.solver.machine import Machine
from einsplit.solver.plan import Plan, Status
from einsplit.solver.plan.write import written
from einsplit.solver.prepare import computed, prepare_computed
from einsplit.solver.program.lower import lower
from einsplit.solver.program.memory import peak_bytes
from einsplit.solver.published.experts import all_whole, data_parallel
from einsplit.solver.search.brute import MAX_PLANS, brute
from einsplit.solver.search.certify import CLOSED, certify, improve_pairs
from einsplit.solver.search.least import every_plan, least, num_plans
from einsplit.solver.search.memo import Memo
from einsplit.solver.search.problem import Folded, Limits, Problem, Solution, refolded
from einsplit.solver.search.starts import AxesOf, digit_tables, sweep_orders
from einsplit.solver.search.sweep import descend, joint, settled, start, sweep
from einsplit.solver.search.tropical import TooWide
from einsplit.solver.search.watch import OutOfTime, Progress, Watch
from einsplit.solver.search.within import Fitting
from einsplit.solver.units import bytes_text

MAX_CERTIFIED_AXES = 2  # of a mesh whose axes are all searched at once: tables over more are too large
MAX_EDGE_ENTRIES = 100_000  # of a joint contraction: each is priced on its own
MAX_TRIED = 5_000  # plans: so few are all tried where none was found that fits
_USE_SEARCH = "Use method='search'."


@dataclass(frozen=True, slots=True)
class Case:
    """What is planned: digit tables to try, what nodes may choose where not all, and the bytes a device may hold."""

    memo: Memo
    tables: Sequence[AxesOf]
    limits: Limits
    memory_bytes: int

    @property
    def is_certified(self) -> bool:
        """Whether all mesh axes can be searched at once."""
        return len(self.memo.machine.axes) <= MAX_CERTIFIED_AXES


Method = Callable[[Case, Watch], Status]


def _search(case: Case, watch: Watch) -> Status:
    """The cheapest plan that fits in memory, with a bound where the mesh has few axes."""
    free = watch.child()
    free.offer(start(case.memo, case.tables[0], case.limits))
    if case.is_certified:
        sweep(case.memo, free, case.tables[:1], case.limits, sweep_orders(case.memo.machine)[:1])
        free.bound = certify(free, case.tables, case.limits)
    else:
        sweep(case.memo, free, case.tables, case.limits)
        improve_pairs(free)
    status = _settle(free)
    fitting = Fitting(watch, case.memory_bytes, lambda *given: _near(case, *given), _peak)
    fitting.run(free.found, free.bound)
    watch.bound = fitting.bound
    if watch.best is None:
        _try_all(case, watch)
    if watch.best is None:
        assert fitting.smallest is not None
        raise _infeasible(case, fitting.smallest)
    return status if watch.found.seconds <= free.found.seconds * (1 + CLOSED) else "searched"


def _near(case: Case, watch: Watch, found: Folded, every: bool) -> None:
    """Plans near one, at the prices of its Problem; with a bound if `every` digit table is to be tried."""
    orders = sweep_orders(case.memo.machine)
    watch.offer(descend(found, orders[0], watch))
    if case.is_certified:
        bound = certify(watch, case.tables if every else (), case.limits)
        watch.bound = bound if every else None


def _peak(found: Folded) -> int:
    return peak_bytes(lower(found.spread()))


def _try_all(case: Case, watch: Watch) -> None:
    """Offer every plan that fits, where there are few plans."""
    problems = _problems(case)
    if sum(map(num_plans, problems)) > MAX_TRIED:
        return
    for problem in problems:
        for shardings in every_plan(problem):
            found = Solution(problem, shardings, problem.price(shardings).seconds)
            cheaper = watch.best is None or found.seconds < watch.best.seconds
            if cheaper and peak_bytes(lower(found)) <= case.memory_bytes:
                watch.offer(refolded(found))


def _problems(case: Case) -> list[Problem]:
    memo = case.memo
    return [Problem(memo.graph, memo.machine, memo.tables(axes_of), memo, case.limits) for axes_of in case.tables]


def _infeasible(case: Case, smallest: Folded) -> PlanError:
    """Says whether anything can fit, the smallest memory that is known to do, and what binds."""
    found, held = least(smallest, _problems(case)), _peak(smallest)
    proven = found.bound > case.memory_bytes or sum(map(num_plans, _problems(case))) <= MAX_TRIED
    limit = f"{bytes_text(case.memory_bytes)} on each device"
    parts = ", ".join(f"{bytes_text(nbytes)} of {kind}" for kind, nbytes in found.held.items())
    return PlanError(
        f"no plan {'fits in' if proven else 'was found that fits in'} {limit}.",
        f"{bytes_text(held)} would do; while {found.node!r} runs that is {parts or 'what it works on'},"
        f" and no plan holds less than {bytes_text(found.bound)} then.",
        "Allow more memory, use more devices, or make the batch smaller.",
    )


def _sweep(case: Case, watch: Watch) -> Status:
    """Sweeps over single axes."""
    sweep(case.memo, watch, case.tables, case.limits)
    return _settle(watch)


def _settle(watch: Watch) -> Status:
    """Whether single axes could still make it cheaper: they are tried, unless a bound says already that nothing can."""
    if watch.bound is None or watch.bound < watch.found.seconds * (1 - CLOSED):
        found, proven = settled(watch.found)
        watch.offer(found)
        if not proven or found.seconds > watch.found.seconds:
            return "searched"
    return "settled" if watch.found.problem.memo.folding.is_trivial else "folded"


def _joint(case: Case, watch: Watch) -> Status:
    """The joint contraction, where the table of every edge can be filled in a moment; never dearer than the sweeps."""
    numbers = _num_choices(case)
    widest = max((numbers[edge.writer] * numbers[edge.reader] for edge in case.memo.edges), default=0)
    if widest > MAX_EDGE_ENTRIES:
        raise TooWide(f"an edge has {widest:,} pairs of choices over all mesh axes; the limit is {MAX_EDGE_ENTRIES:,}")
    _sweep(case, watch)
    watch.offer(joint(case.memo, case.tables, [watch.found], case.limits))
    watch.bound = watch.found.seconds
    return "exact"


def _brute(case: Case, watch: Watch) -> Status:
    """Brute force, where even the choices of one node can be enumerated."""
    if max(_num_choices(case), default=0) > MAX_PLANS:
        raise PlanError(f"brute force over more than {MAX_PLANS:,} plans.", _USE_SEARCH)
    watch.offer(refolded(brute(case.memo)))
    watch.bound = watch.found.seconds
    return "exact"


def _num_choices(case: Case) -> list[int]:
    """By node, how many choices it has over all mesh axes, under the digit tables that leave it most."""
    memo = case.memo
    found = [0] * len(memo.graph.nodes)
    for problem in _problems(case):
        for at in range(len(found)):
            number = prod(len(problem.choices(at, axis)) for axis in range(len(memo.machine.axes)))
            found[at] = max(found[at], number)
    return found


def _given(expert: Callable[[Memo], Solution]) -> Method:
    """An expert's plan as it is."""

    def method(case: Case, watch: Watch) -> Status:
        watch.best = refolded(expert(case.memo))
        return "given"

    return method


METHODS: dict[str, Method] = {
    "search": _search,
    "sweep": _sweep,
    "joint": _joint,
    "brute": _brute,
    "data-parallel": _given(data_parallel),
    "whole": _given(all_whole),
}


def make_plan(
    graph: Graph,
    machine: Machine,
    method: str = "search",
    progress: Progress | None = None,
    limit_seconds: float | None = None,
    memory_bytes: int | None = None,
    keep_on_interrupt: bool = False,
) -> Plan:
    """A Plan for the Graph. `progress` is told how the search stands.

    A device holds at most `memory_bytes`, those of the machine unless given. After `limit_seconds`, and on Ctrl-C if
    `keep_on_interrupt`, the best plan so far is returned. Raises PlanError for an unknown method, where a method cannot
    plan the graph, and where no plan fits.
    """
    if method not in METHODS:
        raise PlanError(f"unknown method {method!r}.", advice(method, METHODS))
    own = computed(graph)
    memo = Memo(prepare_computed(own), machine)
    limit = int(machine.memory_bytes) if memory_bytes is None else memory_bytes
    case = Case(memo, digit_tables(memo.graph, machine, memo.classes), {}, limit)
    watch = Watch(progress, limit_seconds)
    if not isfinite(start(memo, {}).seconds):
        raise PlanError(f"no finite price on machine {machine.name!r}: its rates are beyond what numbers hold")
    try:
        status = METHODS[method](case, watch)
    except TooWide as error:
        mistake = f"method {method!r} cannot plan this graph: {error.mistake.rstrip('.')}."
        raise PlanError(mistake, *error.remarks, _USE_SEARCH) from error
    except (OutOfTime, KeyboardInterrupt) as stop:
        if isinstance(stop, KeyboardInterrupt) and not keep_on_interrupt:
            raise
        if watch.best is None:
            raise PlanError(
                "the search was stopped before it had found a plan that fits.", "Give it more time."
            ) from stop
        status = "stopped"
    return written(own.hash, method, status, watch.found.spread(), watch.bound)
