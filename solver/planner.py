"""Graph + Machine -> Plan, by any of the methods; whatever a search finds is priced anew before anyone sees it."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, prod

from einsplit.errors import PlanError, advice
from einsplit.graph import Graph
from einsplit.solver.machine import Machine
from einsplit.solver.plan import Plan, Status
from einsplit.solver.plan.write import written
from einsplit.solver.prepare import computed, prepare_computed
from einsplit.solver.published.experts import all_whole, data_parallel
from einsplit.solver.search.brute import MAX_PLANS, brute
from einsplit.solver.search.certify import CLOSED, certify, improve_pairs
from einsplit.solver.search.memo import Memo
from einsplit.solver.search.problem import Problem, Solution, refolded
from einsplit.solver.search.starts import digit_tables
from einsplit.solver.search.sweep import joint, settled, sweep
from einsplit.solver.search.tropical import TooWide
from einsplit.solver.search.watch import OutOfTime, Progress, Watch

MAX_CERTIFIED_AXES = 2  # of a mesh whose axes are all searched at once: tables over more are too large
MAX_EDGE_ENTRIES = 100_000  # of a joint contraction: each is priced on its own
_USE_SEARCH = "Use method='search'."

Method = Callable[[Memo, Watch], Status]


def _search(memo: Memo, watch: Watch) -> Status:
    """Sweeps, then two axes at a time or, where the mesh has no more, all of them with a bound."""
    tables = digit_tables(memo.graph, memo.machine, memo.classes)
    certified = len(memo.machine.axes) <= MAX_CERTIFIED_AXES
    sweep(memo, watch, tables[:1] if certified else tables)
    if certified:
        watch.bound = certify(watch, tables)
    else:
        improve_pairs(watch)
    return _settle(watch)


def _sweep(memo: Memo, watch: Watch) -> Status:
    """Sweeps over single axes."""
    sweep(memo, watch, digit_tables(memo.graph, memo.machine, memo.classes))
    return _settle(watch)


def _settle(watch: Watch) -> Status:
    """Whether single axes could still make it cheaper: they are tried, unless a bound says already that nothing can."""
    if watch.bound is None or watch.bound < watch.found.seconds * (1 - CLOSED):
        found, proven = settled(watch.found)
        watch.offer(found)
        if not proven or found.seconds > watch.found.seconds:
            return "searched"
    return "settled" if watch.found.problem.memo.folding.is_trivial else "folded"


def _joint(memo: Memo, watch: Watch) -> Status:
    """The joint contraction, where the table of every edge can be filled in a moment; never dearer than the sweeps."""
    numbers = _num_choices(memo)
    widest = max((numbers[edge.writer] * numbers[edge.reader] for edge in memo.edges), default=0)
    if widest > MAX_EDGE_ENTRIES:
        raise TooWide(f"an edge has {widest:,} pairs of choices over all mesh axes; the limit is {MAX_EDGE_ENTRIES:,}")
    _sweep(memo, watch)
    watch.offer(joint(memo, [watch.found]))
    watch.bound = watch.found.seconds
    return "exact"


def _brute(memo: Memo, watch: Watch) -> Status:
    """Brute force, where even the choices of one node can be enumerated."""
    if max(_num_choices(memo), default=0) > MAX_PLANS:
        raise PlanError(f"brute force over more than {MAX_PLANS:,} plans.", _USE_SEARCH)
    watch.offer(refolded(brute(memo)))
    watch.bound = watch.found.seconds
    return "exact"


def _num_choices(memo: Memo) -> list[int]:
    """By node, how many choices it has over all mesh axes, under the digit tables that leave it most."""
    found = [0] * len(memo.graph.nodes)
    for axes_of in digit_tables(memo.graph, memo.machine, memo.classes):
        problem = Problem(memo.graph, memo.machine, memo.tables(axes_of), memo)
        for at in range(len(found)):
            number = prod(len(problem.choices(at, axis)) for axis in range(len(memo.machine.axes)))
            found[at] = max(found[at], number)
    return found


def _given(expert: Callable[[Memo], Solution]) -> Method:
    """An expert's plan as it is."""

    def method(memo: Memo, watch: Watch) -> Status:
        watch.best = refolded(expert(memo))
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
    keep_on_interrupt: bool = False,
) -> Plan:
    """A Plan for the Graph. `progress` is told how the search stands.

    After `limit_seconds`, and on Ctrl-C if `keep_on_interrupt`, the best plan so far is returned. Raises PlanError for
    an unknown method, and where a method cannot plan the graph.
    """
    if method not in METHODS:
        raise PlanError(f"unknown method {method!r}.", advice(method, METHODS))
    own = computed(graph)
    memo = Memo(prepare_computed(own), machine)
    watch = Watch(progress, limit_seconds)
    for expert in (all_whole, data_parallel):
        watch.best = min((f for f in (watch.best, refolded(expert(memo))) if f is not None), key=lambda f: f.seconds)
    if not isfinite(watch.found.seconds):
        raise PlanError(f"no finite price on machine {machine.name!r}: its rates are beyond what numbers hold")
    try:
        status = METHODS[method](memo, watch)
    except TooWide as error:
        mistake = f"method {method!r} cannot plan this graph: {error.mistake.rstrip('.')}."
        raise PlanError(mistake, *error.remarks, _USE_SEARCH) from error
    except OutOfTime:
        status = "stopped"
    except KeyboardInterrupt:
        if not keep_on_interrupt:
            raise
        status = "stopped"
    return written(own.hash, method, status, watch.found.spread(), watch.bound)
