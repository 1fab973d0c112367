"""Graph + Machine -> Plan, by any of the methods; whatever a search finds is priced anew before anyone sees it."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, prod

from einsplit.errors import PlanError, advice
from einsplit.graph import Graph, node_text
from einsplit.solver.machine import Machine
from einsplit.solver.plan import NodePlan, Plan, Status, realise
from einsplit.solver.plan.rows import row_price, runner_up
from einsplit.solver.prepare import computed, prepare_computed
from einsplit.solver.published.experts import all_whole, data_parallel
from einsplit.solver.search.brute import MAX_PLANS, brute
from einsplit.solver.search.problem import Problem, Solution
from einsplit.solver.search.relaxation import lower_bound
from einsplit.solver.search.starts import digit_tables
from einsplit.solver.search.sweep import Progress, joint, settled, sweep
from einsplit.solver.search.tropical import TooWide
from einsplit.solver.sharding import Sharding, extent_classes, make_tables

MAX_BOUND_AXES = 2  # of a mesh whose plans are certified: over more, linear programs are too large
LEAST_GAP = 1e-12
BOUND_SECONDS = 20.0  # for one of them
MAX_EDGE_ENTRIES = 100_000  # of a joint contraction: each is priced on its own
_USE_SWEEP = "Use method='sweep'."

Found = tuple[Solution, Status]
Method = Callable[[Graph, Machine, Progress | None], Found]


def _sweep(graph: Graph, machine: Machine, progress: Progress | None) -> Found:
    """Sweeps; never dearer than the experts' plans."""
    rivals = [sweep(graph, machine, progress), all_whole(graph, machine), data_parallel(graph, machine)]
    found, proven = settled(min(rivals, key=lambda f: f.seconds))
    if not proven:
        return found, "searched"
    return found, "settled" if found.problem.memo.folding.is_trivial else "folded"


def _joint(graph: Graph, machine: Machine, progress: Progress | None) -> Found:
    """The joint contraction, where the table of every edge can be filled in a moment; never dearer than the sweeps."""
    numbers = _num_choices(graph, machine)
    widest = max(
        (numbers[o.node] * numbers[at] for at, node in enumerate(graph.nodes) for o in node.operands), default=0
    )
    if widest > MAX_EDGE_ENTRIES:
        raise TooWide(f"an edge has {widest:,} pairs of choices over all mesh axes; the limit is {MAX_EDGE_ENTRIES:,}")
    return joint(graph, machine, [_sweep(graph, machine, progress)[0]]), "exact"


def _brute(graph: Graph, machine: Machine, progress: Progress | None) -> Found:
    """Brute force, where even the choices of one node can be enumerated."""
    if max(_num_choices(graph, machine), default=0) > MAX_PLANS:
        raise PlanError(f"brute force over more than {MAX_PLANS:,} plans.", _USE_SWEEP)
    return brute(graph, machine), "exact"


def _num_choices(graph: Graph, machine: Machine) -> list[int]:
    """By node, how many choices it has over all mesh axes, under the digit tables that leave it most."""
    found = [0] * len(graph.nodes)
    for axes_of in digit_tables(graph, machine):
        problem = Problem(graph, machine, make_tables(graph, machine.sizes, axes_of))
        for at in range(len(found)):
            number = prod(len(problem.choices(at, axis)) for axis in range(len(machine.axes)))
            found[at] = max(found[at], number)
    return found


METHODS: dict[str, Method] = {
    "sweep": _sweep,
    "joint": _joint,
    "brute": _brute,
    "data-parallel": lambda graph, machine, progress: (data_parallel(graph, machine), "given"),
    "whole": lambda graph, machine, progress: (all_whole(graph, machine), "given"),
}


def make_plan(
    graph: Graph, machine: Machine, method: str = "sweep", progress: Progress | None = None, certify: bool = False
) -> Plan:
    """A Plan for the Graph. `progress(best seconds, sweeps)` is called while searching.

    `certify`: with a bound, where the mesh has at most two axes and one is found in a moment. Raises PlanError for an
    unknown method, and where a method cannot plan the graph.
    """
    if method not in METHODS:
        raise PlanError(f"unknown method {method!r}.", advice(method, METHODS))
    own = computed(graph)
    prepared = prepare_computed(own)
    if not isfinite(all_whole(prepared, machine).seconds):
        raise PlanError(f"no finite price on machine {machine.name!r}: its rates are beyond what numbers hold")
    try:
        found, status = METHODS[method](prepared, machine, progress)
    except TooWide as error:
        mistake = f"method {method!r} cannot plan this graph: {error.mistake.rstrip('.')}."
        raise PlanError(mistake, *error.remarks, _USE_SWEEP) from error
    bound = found.seconds if status == "exact" else _bound(found) if certify else None
    plan = _written(own, machine, method, status, found, bound)
    checked = realise(plan, own)  # a solver's word is never trusted
    if abs(checked.seconds - found.seconds) > 1e-9 * max(checked.seconds, 1e-12):
        raise AssertionError(f"method {method} claims {found.seconds} s for a plan of {checked.seconds} s")
    return plan


def _bound(found: Solution) -> float | None:
    """Seconds below which no plan is under the digit tables that were tried, those of the plan itself among them."""
    problem, machine = found.problem, found.problem.machine
    if len(machine.axes) > MAX_BOUND_AXES:
        return None
    tables = [problem.tables]
    for axes_of in digit_tables(problem.graph, machine, problem.memo.classes):
        every = make_tables(problem.graph, machine.sizes, axes_of, problem.memo.classes)
        if every not in tables:
            tables.append(every)
    bounds: list[float] = []
    for each in tables:
        start = Solution(Problem(problem.graph, machine, each, problem.memo), found.shardings, found.seconds)
        bound = lower_bound(start, BOUND_SECONDS)
        if bound is None or bound <= 0:
            return None
        bounds.append(bound)
    return min(*bounds, found.seconds)


def _written(graph: Graph, machine: Machine, method: str, status: Status, found: Solution, bound: float | None) -> Plan:
    problem, shardings = found.problem, found.shardings
    classes = extent_classes(problem.graph)
    digits = {
        label: problem.tables[label].axes for label in sorted(set(classes.values())) if problem.tables[label].axes
    }
    price = problem.price(shardings)
    return Plan(
        graph=graph.hash,
        machine=machine,
        method=method,
        status=status,
        bound=bound,
        gap=None if bound is None else _gap(price.seconds, bound),
        seconds=price.seconds,
        bytes=price.bytes_sent,
        digits=digits,
        nodes=tuple(_row(problem, shardings, at) for at in range(len(problem.graph.nodes))),
    )


def _gap(seconds: float, bound: float) -> float:
    """By how much the plan may be dearer than the cheapest, as a share of it; what is less than rounding is 0."""
    found = seconds / bound - 1.0 if bound else 0.0
    return found if found > LEAST_GAP else 0.0


def _row(problem: Problem, shardings: tuple[Sharding, ...], at: int) -> NodePlan:
    node = problem.graph.nodes[at]
    price = row_price(problem, shardings, at)
    next_best = runner_up(problem, shardings, at)
    return NodePlan(
        name=node.name,
        does=node_text(node),
        cut=shardings[at],
        seconds=price.seconds,
        bytes=price.bytes_sent,
        runner_up=next_best[0] if next_best else None,
        runner_up_seconds=next_best[1] if next_best else 0.0,
        source=node.source,
    )
