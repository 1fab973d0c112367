"""Solution -> Plan: every node's row, priced anew node by node; a search's word for the price is not taken."""

from __future__ import annotations

from collections.abc import Sequence

from einsplit.errors import PlanError
from einsplit.graph import Label, node_text
from einsplit.solver.plan.format import NodePlan, Plan, Status
from einsplit.solver.plan.rows import bytes_by_axis, folding_kept, row_price, runner_up
from einsplit.solver.plan.unroll import unrolled_digits, unrolled_rows
from einsplit.solver.plan.words import words_of
from einsplit.solver.pricing.price import Price
from einsplit.solver.problem.problem import Problem, Solution
from einsplit.solver.program.lower import lowered
from einsplit.solver.program.unroll import held
from einsplit.solver.sharding import Sharding, choice_text, extent_classes

LEAST_GAP = 1e-12  # as a share of the plan's seconds: below it is rounding
ROUNDING = 1e-9  # likewise, between a sum over nodes and one over classes of nodes


def written(graph_hash: str, method: str, status: Status, found: Solution, bound: float | None) -> Plan:
    """The Plan of a Solution; `bound` are seconds below which no plan is."""
    problem, shardings = found.problem, found.shardings
    check_choices(problem, shardings)
    price = problem.price(shardings)
    if abs(price.seconds - found.seconds) > ROUNDING * max(price.seconds, 1e-12):
        raise AssertionError(f"method {method} claims {found.seconds} s for a plan of {price.seconds} s")
    deep = problem.memo.deep
    bytes_held = held(lowered(found), len(shardings), deep)
    rows = _rows(problem, shardings, bytes_held.live)
    bound = None if bound is None else min(bound, price.seconds)
    return Plan(
        graph=graph_hash,
        machine=problem.machine,
        method=method,
        status=status,
        bound=bound,
        gap=None if bound is None else _gap(price.seconds, bound),
        seconds=price.seconds,
        bytes=price.bytes_sent,
        bytes_by_axis=bytes_by_axis(problem, shardings),
        peak_bytes=bytes_held.peak,
        digits=_digits(problem) if deep is None else unrolled_digits(deep, _axes(problem)),
        nodes=rows if deep is None else unrolled_rows(deep, rows, bytes_held.growth),
    )


def _digits(problem: Problem) -> dict[Label, tuple[int, ...]]:
    """By extent class, the axes that cut it, if any do."""
    classes, axes = sorted(set(extent_classes(problem.graph).values())), _axes(problem)
    return {label: axes[label] for label in classes if axes[label]}


def _axes(problem: Problem) -> dict[Label, tuple[int, ...]]:
    return {label: digits.axes for label, digits in problem.tables.items()}


def check_choices(problem: Problem, shardings: Sequence[Sharding]) -> None:
    """Raises PlanError for a choice that a node does not have."""
    for at, sharding in enumerate(shardings):
        for axis, choice in enumerate(sharding):
            allowed = problem.choices(at, axis)
            if choice not in allowed:
                name, node = problem.machine.axes[axis].name, problem.graph.nodes[at].name
                raise PlanError(
                    f"node {node!r}: axis {name!r} cannot be {choice_text(choice)}",
                    f"It can be {', '.join(choice_text(c) for c in allowed)}.",
                )


def _gap(seconds: float, bound: float) -> float:
    """By how much the plan may be dearer than the cheapest, as a share of it; what is less than rounding is 0."""
    found = seconds / bound - 1.0 if bound else 0.0
    return found if found > LEAST_GAP else 0.0


def _rows(problem: Problem, shardings: Sequence[Sharding], live: Sequence[int]) -> tuple[NodePlan, ...]:
    """One for each node; nodes of one class with neighbours of the same classes cost the same, if cut alike."""
    memo, folding = problem.memo, folding_kept(problem, shardings)
    words = words_of(problem, shardings, folding)
    known: dict[object, tuple[int, Price, tuple[Sharding, float] | None]] = {}
    found = []
    for at, node in enumerate(problem.graph.nodes):
        edges = ((folding.variable[e.writer], folding.variable[e.reader], e.number) for e in memo.edges_of[at])
        key = (folding.variable[at], memo.sums[at], *edges)
        if key not in known:
            known[key] = (at, row_price(problem, shardings, at), runner_up(problem, shardings, at))
        first, price, next_best = known[key]
        found.append(
            NodePlan(
                name=node.name,
                does=node_text(node),
                cut=shardings[at],
                seconds=price.seconds,
                bytes=price.bytes_sent,
                runner_up=folding.as_of(next_best[0], first, at) if next_best else None,
                runner_up_seconds=next_best[1] if next_best else 0.0,
                reads=tuple(operand.node for operand in node.operands),
                live_bytes=live[at],
                words=words[at],
                source=node.source,
            )
        )
    return tuple(found)
