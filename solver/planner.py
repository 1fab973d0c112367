"""Graph + Machine -> Plan, by any of the methods; whatever a search finds is priced anew before anyone sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import isfinite

from einsplit.errors import PlanError, advice
from einsplit.graph import Graph
from einsplit.solver.contraction.tropical import TooWide
from einsplit.solver.layers.deep import deep
from einsplit.solver.machine import Machine
from einsplit.solver.pins import Pin, apart, limits_of, pinned_tables
from einsplit.solver.plan import Plan, Status
from einsplit.solver.plan.write import written
from einsplit.solver.planning.case import Case, peak
from einsplit.solver.planning.exact import integer_program
from einsplit.solver.planning.fit import fit, refuse_hopeless, try_all
from einsplit.solver.prepare import computed, prepare_computed
from einsplit.solver.problem import fold
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Folded, Solution, as_it_is, refolded
from einsplit.solver.published.eindecomp import VARIANTS, eindecomp
from einsplit.solver.published.experts import EXPERTS, Suited, all_whole, data_parallel, expert_plans
from einsplit.solver.search.brute import MAX_PLANS, brute
from einsplit.solver.search.certify import CLOSED, certify, improve_pairs
from einsplit.solver.search.coarse import coarse_groups, coarse_machine, refined
from einsplit.solver.search.starts import AxesOf, digit_tables, sweep_orders, tables_apart
from einsplit.solver.search.sweep import joint, settled, start, sweep
from einsplit.solver.search.watch import OutOfTime, Progress, Watch
from einsplit.solver.units import bytes_text

MAX_EDGE_ENTRIES = 100_000  # of a joint contraction: each is priced on its own
MANY_STARTS = 100  # classes of nodes: fewer are swept from every start, and have a program where memory binds
FEW_CLASSES = 250  # fewer have experts asked whatever the gap: these have digit tables of their own
NEARLY = 1e-4  # gap below which no expert is asked otherwise
WANTED_GAP = 0.01  # where messages leave more, the integer program is asked
PROGRAM_SECONDS = 20.0  # of the integer program, for all digit tables; `ilp` has three times as many for each
_USE_SEARCH = "Use method='search'."

Method = Callable[[Case, Watch], Status]


def _search(case: Case, watch: Watch) -> Status:
    """The cheapest plan that fits in memory, with a bound where the mesh has few axes."""
    status, binds = _messages(case, watch)
    if watch.bound is not None and _leaves(watch, WANTED_GAP):
        try_all(case, watch)
    # Where memory binds, a program of a large graph is not solved in time.
    is_asked = not binds or len(case.memo.folding.members) <= MANY_STARTS
    if is_asked and watch.bound is not None and _leaves(watch, WANTED_GAP):
        integer_program(case, watch, "highs", PROGRAM_SECONDS)
    return status


def _tables(memo: Memo) -> list[AxesOf]:
    """Digit tables to try. Of the smallest graphs, all that experts have are tried anyway."""
    found = digit_tables(memo.graph, memo.machine, memo.classes)
    if len(memo.folding.members) > MANY_STARTS:
        found += [table for table in tables_apart(memo.graph, memo.machine, memo.classes) if table not in found]
    return found


def _may_be_dearer(case: Case, watch: Watch) -> bool:
    """Whether experts are worth a look: not where a bound says that nothing is cheaper, unless that is done at once."""
    return not case.limits and (_leaves(watch, NEARLY) or len(case.memo.folding.members) <= FEW_CLASSES)


def _leaves(watch: Watch, gap: float) -> bool:
    """Whether a plan may be cheaper by more than that share."""
    return watch.bound is None or watch.found.seconds > watch.bound * (1 + gap)


def _offer_experts(case: Case, watch: Watch) -> None:
    """Offer the plans of experts that fit and are cheaper; their digit tables may be others than those tried."""
    before = watch.found
    for rival in expert_plans(case.memo).values():
        if isinstance(rival, Suited) and rival.plan.seconds < watch.found.seconds:
            better = settled(rival.plan)[0]
            for plan in (better, rival.plan):
                if plan.seconds < watch.found.seconds and peak(plan) <= case.memory_bytes:
                    watch.offer(plan)
    if watch.found is not before and watch.bound is not None:
        within = watch.child()
        within.offer(watch.found)
        watch.bound = min(watch.bound, certify(within, ()))
        if peak(within.found) <= case.memory_bytes:
            watch.offer(within.found)


def _offer_eindecomp(case: Case, watch: Watch) -> None:
    """Offer the plans of EinDecomp that fit, where memory binds; these need not cut alike what the search does."""
    for variant in VARIANTS:
        found = as_it_is(eindecomp(case.memo, variant))
        if found.seconds < watch.found.seconds and peak(found) <= case.memory_bytes:
            watch.offer(found)


def _ilp(case: Case, watch: Watch, solver: str = "highs") -> Status:
    """Likewise, and the integer program wherever messages leave a gap."""
    if not case.is_certified:
        raise TooWide(f"the mesh has {len(case.memo.machine.axes)} axes, and tables over more than 2 are too large")
    status, _ = _messages(case, watch)
    if _leaves(watch, CLOSED):
        integer_program(case, watch, solver, 3 * PROGRAM_SECONDS * len(case.tables))
    return status


def _messages(case: Case, watch: Watch) -> tuple[Status, bool]:
    """Messages over two axes at a time or, where there are no more, over all: then there is a bound. Whether memory
    binds is told as well."""
    free = watch.child()
    try:
        refuse_hopeless(case)
        free.offer(start(case.memo, case.tables[0], case.limits))
        if case.is_certified:
            free.bound = _certified(case, free)
        else:
            _refine(case, free)
        status = _settle(free)
    except (OutOfTime, KeyboardInterrupt):
        if free.best is not None and peak(free.best) <= case.memory_bytes:
            watch.best = free.best
        raise
    fit(case, watch, free.found, free.bound)
    binds = watch.found.seconds > free.found.seconds * (1 + CLOSED)
    if _may_be_dearer(case, watch):
        _offer_experts(case, watch)
        if binds:
            _offer_eindecomp(case, watch)
    return "searched" if binds else status, binds


def _certified(case: Case, watch: Watch) -> float:
    """Offer plans over both axes, and return a bound on all of them."""
    bound = certify(watch, case.tables, case.limits)
    if watch.found.seconds > bound * (1 + NEARLY):
        # One order of axes under one table: where messages leave something, sweeps may find what they do not.
        sweep(case.memo, watch, case.tables[:1], case.limits, sweep_orders(case.memo.machine)[:1])
    return min(bound, watch.found.seconds)


def _refine(case: Case, watch: Watch) -> None:
    """Offer the plan of the coarse mesh, those of sweeps, and what two axes at a time make of the best."""
    memo, groups = case.memo, coarse_groups(case.memo.machine)
    if groups is None or case.limits:  # what is pinned is pinned to the fine axes
        sweep(memo, watch, case.tables, case.limits)
    else:
        coarse = Memo(memo.graph, coarse_machine(memo.machine, groups), memo.folding, memo.deep)
        tables = _tables(coarse)
        within = watch.child()
        within.offer(start(coarse, tables[0]))
        _certified(Case(coarse, tables, {}, case.memory_bytes), within)
        watch.offer(settled(refined(within.found, memo, groups))[0])
        if len(memo.folding.members) <= MANY_STARTS:
            sweep(memo, watch, case.tables)
    improve_pairs(watch)


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
    numbers = case.num_choices()
    widest = max((numbers[edge.writer] * numbers[edge.reader] for edge in case.memo.edges), default=0)
    if widest > MAX_EDGE_ENTRIES:
        raise TooWide(f"an edge has {widest:,} pairs of choices over all mesh axes; the limit is {MAX_EDGE_ENTRIES:,}")
    _sweep(case, watch)
    watch.offer(joint(case.memo, case.tables, [watch.found], case.limits))
    watch.bound = watch.found.seconds
    return "exact"


def _brute(case: Case, watch: Watch) -> Status:
    """Brute force, where even the choices of one node can be enumerated."""
    if max(case.num_choices(), default=0) > MAX_PLANS:
        raise PlanError(f"brute force over more than {MAX_PLANS:,} plans.", _USE_SEARCH)
    watch.offer(refolded(brute(case.memo)))
    watch.bound = watch.found.seconds
    return "exact"


def _given(expert: Callable[[Memo], Folded | Solution]) -> Method:
    """An expert's plan as it is."""

    def method(case: Case, watch: Watch) -> Status:
        found = expert(case.memo)
        watch.best = found if isinstance(found, Folded) else as_it_is(found)
        return "given"

    return method


METHODS: dict[str, Method] = {
    "search": _search,
    "sweep": _sweep,
    "joint": _joint,
    "ilp": _ilp,
    "ilp-cbc": partial(_ilp, solver="cbc"),
    "brute": _brute,
    "data-parallel": _given(data_parallel),
    "whole": _given(all_whole),
    **{name: _given(expert) for name, expert in EXPERTS.items() if name != "data-parallel"},
    **{f"eindecomp-{variant}": _given(partial(eindecomp, variant=variant)) for variant in VARIANTS},
}

PINNED = ("search", "sweep", "joint", "ilp", "ilp-cbc")  # methods that keep what a user has pinned


def make_plan(
    graph: Graph,
    machine: Machine,
    method: str = "search",
    progress: Progress | None = None,
    limit_seconds: float | None = None,
    memory_bytes: int | None = None,
    keep_on_interrupt: bool = False,
    pins: Sequence[Pin] = (),
) -> Plan:
    """A Plan for the Graph, exactly as pinned. `progress` is told how the search stands.

    A device holds at most `memory_bytes`, those of the machine unless given. After `limit_seconds`, and on Ctrl-C if
    `keep_on_interrupt`, the best plan so far is returned. Raises PlanError for an unknown method, where a method cannot
    plan the graph, and where no plan fits.
    """
    if method not in METHODS:
        raise PlanError(f"unknown method {method!r}.", advice(method, METHODS))
    own = computed(graph)
    if pins and method not in PINNED:
        raise PlanError(f"method {method!r} keeps no pins.", _USE_SEARCH)
    limit = int(machine.memory_bytes) if memory_bytes is None else memory_bytes
    watch = Watch(progress, limit_seconds)
    memo = memo_of(own, machine) if method == "search" and not pins else Memo(prepare_computed(own), machine)
    status = _planned(memo, pins, limit, method, watch, keep_on_interrupt)
    if memory_bytes is not None and peak(watch.found) > memory_bytes:
        holds = f"method {method!r} does not keep to memory: its plan holds {bytes_text(peak(watch.found))}"
        raise PlanError(f"{holds}, and {bytes_text(memory_bytes)} are allowed.", _USE_SEARCH)
    if progress is not None:
        progress(watch.standing)
    return written(own.hash, method, status, watch.found.spread(), watch.bound)


def memo_of(own: Graph, machine: Machine) -> Memo:
    """What is searched, of a graph that `computed` gives: of a deep one its short form; small ones are as they are.

    Not where there are pins, which name nodes of any layer, or for rivals: these plan the whole graph.
    """
    found = deep(own)
    if found is None or sum(found.times) < fold.MIN_NODES:
        return Memo(prepare_computed(own), machine)
    return Memo(found.graph, machine, deep=found)


def _planned(memo: Memo, pins: Sequence[Pin], limit: int, method: str, watch: Watch, keep_on_interrupt: bool) -> Status:
    """How the search ended; its plans are offered. Raises PlanError where none fits, or the method has none."""
    pinned = limits_of(memo, pins)
    memo = apart(memo, pinned)
    case = Case(memo, pinned_tables(memo, pins, _tables(memo)), pinned, limit)
    if not isfinite(start(memo, {}).seconds):
        raise PlanError(f"no finite price on machine {memo.machine.name!r}: its rates are beyond what numbers hold")
    try:
        return METHODS[method](case, watch)
    except TooWide as error:
        mistake = f"method {method!r} cannot plan this graph: {error.mistake.rstrip('.')}."
        raise PlanError(mistake, *error.remarks, _USE_SEARCH) from error
    except (OutOfTime, KeyboardInterrupt) as stop:
        if isinstance(stop, KeyboardInterrupt) and (not keep_on_interrupt or watch.best is None):
            raise
        if watch.best is None:
            raise PlanError(
                "the search was stopped before it had found a plan that fits.", "Give it more time."
            ) from stop
        return "stopped"
