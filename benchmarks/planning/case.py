"""One model on one machine: our plan, its bound, and the price of every rival's plan under the same memory limit."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from functools import partial

import msgspec

from benchmarks.planning.machines import MACHINES
from benchmarks.planning.models import state_bytes
from einsplit.errors import EinsplitError, PlanError
from einsplit.graph import Graph
from einsplit.solver.machine import Machine
from einsplit.solver.plan import Plan
from einsplit.solver.planner import make_plan, memo_of
from einsplit.solver.prepare import computed, prepare_computed
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Solution
from einsplit.solver.program.lower import lowered
from einsplit.solver.program.unroll import held
from einsplit.solver.published.eindecomp import VARIANTS, eindecomp
from einsplit.solver.published.experts import EXPERTS, Expert

PLAN_SECONDS = 120.0  # after which a search ends with the best it has
MAX_RAISES = 6  # of the memory limit, each to twice as much, where no plan fits
LEAST_LEAD = 1e-9  # share of our seconds by which a rival is cheaper: less is rounding

Subject = tuple[str, str, str]  # model, shape, mode


class Rival(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody else's plan costs; or why there is none."""

    name: str
    seconds: float | None = None
    peak_bytes: int = 0
    why_not: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what was found; with `error` instead of figures where there is no plan."""

    commit: str
    model: str
    shape: str
    mode: str  # train, infer
    machine: str
    error: str = ""
    mesh: tuple[int, ...] = ()
    nodes: int = 0
    capture_cpu_seconds: float = 0.0
    wall_seconds: float = 0.0  # of planning, as are the next
    cpu_seconds: float = 0.0
    rivals_cpu_seconds: float = 0.0
    seconds: float = 0.0  # of a step by our plan
    bound: float | None = None
    gap: float | None = None
    status: str = ""
    peak_bytes: int = 0
    limit_bytes: int = 0
    limit_raised: int = 1  # times the memory that the machine has
    unlimited_seconds: float = 0.0  # by our plan where memory does not count: less than `seconds` where it binds
    rivals: tuple[Rival, ...] = ()

    @property
    def subject(self) -> Subject:
        return self.model, self.shape, self.mode

    @property
    def is_bound_by_memory(self) -> bool:
        return self.unlimited_seconds < self.seconds * (1 - LEAST_LEAD)

    def fits(self, rival: Rival) -> bool:
        return rival.peak_bytes <= self.limit_bytes

    def cheaper(self) -> list[Rival]:
        """Rivals whose plans fit and are cheaper than ours: there should be none."""
        found = (r for r in self.rivals if r.seconds is not None and r.seconds < self.seconds * (1 - LEAST_LEAD))
        return [rival for rival in found if self.fits(rival)]

    def advantage(self) -> float | None:
        """The seconds of the best expert's plan that fits, as a multiple of ours; None where no expert has one."""
        found = [r.seconds for r in self.rivals if r.name in EXPERTS and r.seconds is not None and self.fits(r)]
        return min(found) / self.seconds if found else None


def cpu_seconds() -> float:
    """Of this process and of those it has waited for: the integer program has one of its own."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(row.ru_utime + row.ru_stime for row in used)


def case_of(known: Case, graph: Graph) -> Case:
    """What is found for a graph on a machine; `known` says which."""
    machine = MACHINES[known.machine]()
    shown = msgspec.structs.replace(known, mesh=machine.sizes, nodes=len(graph.nodes))
    try:
        return _with_rivals(_planned(shown, graph, machine), graph, machine)
    except EinsplitError as error:
        return msgspec.structs.replace(shown, error=str(error))


def _planned(known: Case, graph: Graph, machine: Machine) -> Case:
    """Our plan within the machine's memory, or within twice as much, and so on, until one fits."""
    raised = 1
    while state_bytes(graph) > raised * machine.memory_bytes * machine.num_devices:
        raised *= 2
    for _ in range(MAX_RAISES):
        limit, wall, cpu = int(raised * machine.memory_bytes), time.perf_counter(), cpu_seconds()
        try:
            plan = make_plan(graph, machine, memory_bytes=limit, limit_seconds=PLAN_SECONDS)
        except PlanError as error:
            refusal, raised = error, 2 * raised
            continue
        taken, used = time.perf_counter() - wall, cpu_seconds() - cpu
        return msgspec.structs.replace(
            known,
            wall_seconds=taken,
            cpu_seconds=used,
            seconds=plan.seconds,
            bound=plan.bound,
            gap=plan.gap,
            status=plan.status,
            peak_bytes=plan.peak_bytes,
            limit_bytes=limit,
            limit_raised=raised,
            unlimited_seconds=_unlimited(plan, graph),
        )
    raise refusal


def _unlimited(plan: Plan, graph: Graph) -> float:
    """Seconds of our plan where memory does not count; only a plan that is just `searched` can be dearer."""
    if plan.status not in ("searched", "stopped"):
        return plan.seconds
    free = make_plan(graph, plan.machine, memory_bytes=2**62, limit_seconds=PLAN_SECONDS)
    return min(plan.seconds, free.seconds)


def _with_rivals(found: Case, graph: Graph, machine: Machine) -> Case:
    before = cpu_seconds()
    own = computed(graph)
    short, whole = memo_of(own, machine), Memo(prepare_computed(own), machine)
    # Experts choose by classes, of which a short form has the same; EinDecomp takes node by node, and so the whole.
    rivals = [_rival(name, partial(_of_expert, expert), short) for name, expert in EXPERTS.items()]
    rivals += [_rival(f"eindecomp-{v}", partial(eindecomp, variant=v), whole) for v in VARIANTS]
    return msgspec.structs.replace(found, rivals=tuple(rivals), rivals_cpu_seconds=cpu_seconds() - before)


def _of_expert(expert: Expert, memo: Memo) -> Solution:
    return expert(memo).spread()


def _rival(name: str, plan: Callable[[Memo], Solution], memo: Memo) -> Rival:
    try:
        found = plan(memo)
    except EinsplitError as error:
        return Rival(name=name, why_not=error.mistake)
    held_bytes = held(lowered(found), len(memo.graph.nodes), memo.deep).peak
    return Rival(name=name, seconds=found.seconds, peak_bytes=held_bytes)
