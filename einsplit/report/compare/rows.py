"""Graph + our Plan -> the plan of every rival for the same machine, priced as ours is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import fsum
from types import MappingProxyType

from einsplit.errors import EinsplitError
from einsplit.graph import Graph
from einsplit.solver.plan import Plan
from einsplit.solver.plan.write import written
from einsplit.solver.prepare import computed, prepare_computed
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem, Solution
from einsplit.solver.published.eindecomp import VARIANTS, eindecomp
from einsplit.solver.published.experts import EXPERTS, Expert, all_whole
from einsplit.solver.sharding import make_tables

OURS = "einsplit"
LEAST_LEAD = 1e-9  # share of ours by which a rival is cheaper: less is rounding


@dataclass(frozen=True, slots=True)
class Found:
    """A rival's plan, and what its mesh axes do, where that is to be said."""

    solution: Solution
    how: str = ""


Rival = Callable[[Memo], Found]


@dataclass(frozen=True, slots=True)
class Row:
    """A plan; or of a rival who has none for this graph, why."""

    name: str
    plan: Plan | None
    compute_seconds: float = 0.0  # of the plan's seconds: the rest moves tensors
    how: str = ""
    why_not: str = ""

    def ratio(self, ours: Plan) -> float | None:
        """Its seconds as a multiple of ours."""
        if self.plan is None:
            return None
        return self.plan.seconds / ours.seconds if ours.seconds else 1.0

    def is_cheaper(self, ours: Plan) -> bool:
        """Whether it is cheaper than ours, and fits into a device where ours does: that would be a defect."""
        if self.plan is None or self.plan.seconds >= ours.seconds * (1 - LEAST_LEAD):
            return False
        return fits(self.plan) or not fits(ours)


def fits(plan: Plan) -> bool:
    """Whether a device holds what the plan says it must, as far as that is known."""
    return plan.peak_bytes <= plan.machine.memory_bytes


def compared(graph: Graph, ours: Plan, say: Callable[[str], None]) -> tuple[Row, ...]:
    """Ours and every rival's, the cheapest first, those that have no plan last; `say` is told whose turn it is."""
    own = computed(graph)
    memo = Memo(prepare_computed(own), ours.machine)
    rows = [_ours(memo, ours), *_rivals(memo, own.hash, say)]
    return tuple(sorted(rows, key=lambda row: _place(row, ours)))


def _place(row: Row, ours: Plan) -> tuple[bool, float]:
    """Of plans that cost the same, ours is first: a sort keeps what comes first."""
    if row.plan is None:
        return True, 0.0
    is_dearer = row.plan.seconds >= ours.seconds * (1 - LEAST_LEAD)
    return False, max(row.plan.seconds, ours.seconds) if is_dearer else row.plan.seconds


def _ours(memo: Memo, plan: Plan) -> Row:
    tables = make_tables(memo.graph, plan.machine.sizes, plan.digits)
    solution = Solution(Problem(memo.graph, plan.machine, tables, memo), tuple(n.cut for n in plan.nodes), plan.seconds)
    return Row(OURS, plan, _compute_seconds(solution))


def _rivals(memo: Memo, graph_hash: str, say: Callable[[str], None]) -> Iterator[Row]:
    for name, rival in RIVALS.items():
        say(name)
        try:
            found = rival(memo)
        except EinsplitError as error:
            yield Row(name, None, why_not=error.mistake.removeprefix(f"{name}: "))
            continue
        plan = written(graph_hash, name, "given", found.solution, None)
        yield Row(name, plan, _compute_seconds(found.solution), found.how)


def _compute_seconds(found: Solution) -> float:
    """Seconds of the nodes, and of what calls with several results save."""
    problem, shardings = found.problem, found.shardings
    nodes = (problem.node_price(at, sharding).seconds for at, sharding in enumerate(shardings))
    saved = (problem.pair_seconds(pair, shardings[pair.first], shardings[pair.further]) for pair in problem.pairs)
    return fsum((*nodes, *saved))


def _of_expert(memo: Memo, expert: Expert) -> Found:
    suited = expert.best(memo)
    return Found(suited.plan.spread(), suited.how)


def _of_eindecomp(memo: Memo, variant: str) -> Found:
    return Found(eindecomp(memo, variant))


def _of_nobody(memo: Memo) -> Found:
    return Found(all_whole(memo), "every device does everything")


RIVALS: Mapping[str, Rival] = MappingProxyType(
    {name: partial(_of_expert, expert=expert) for name, expert in EXPERTS.items()}
    | {f"eindecomp-{variant}": partial(_of_eindecomp, variant=variant) for variant in VARIANTS}
    | {"whole": _of_nobody}
)
