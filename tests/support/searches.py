"""Searches as tests start them: whole graphs in, one Solution out."""

from __future__ import annotations

from einsplit.graph import Graph
from einsplit.solver.machine import Machine
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Folded, Problem, Solution
from einsplit.solver.search.certify import certify
from einsplit.solver.search.starts import AxesOf, digit_tables
from einsplit.solver.search.sweep import start, sweep
from einsplit.solver.search.watch import Watch


def swept(graph: Graph, machine: Machine) -> Solution:
    """The cheapest plan that sweeps from all starts find."""
    return swept_folded(graph, machine).spread()


def swept_folded(graph: Graph, machine: Machine) -> Folded:
    """Likewise, as choices of classes."""
    memo, watch = Memo(graph, machine), Watch()
    sweep(memo, watch, digit_tables(graph, machine, memo.classes))
    return watch.found


def whole(graph: Graph, machine: Machine, axes_of: AxesOf) -> Folded:
    """Every node whole, under these digit tables."""
    return start(Memo(graph, machine), axes_of)


def certified(problem: Problem) -> tuple[Folded, float]:
    """What messages find under the tables of a Problem alone, and the bound."""
    memo, watch = problem.memo, Watch()
    axes_of = {memo.classes[label]: digits.axes for label, digits in problem.tables.items()}
    watch.offer(start(memo, axes_of))
    bound = certify(watch, [axes_of])
    return watch.found, bound
