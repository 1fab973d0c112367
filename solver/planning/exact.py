"""The integer program where messages leave a gap: the cheapest plan under each digit table, and its bound.

Where memory is short it has a row for each moment at which too much was held so far: solve, find the fullest moment of
the plan, add its row, repeat. What stands between instructions is what a row counts, so every plan that fits keeps all
rows, and the program's bound is one on plans that fit.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from einsplit.errors import PlanError
from einsplit.solver.contraction.tropical import PriceTable
from einsplit.solver.integer import Answer, Outcome, Row, solve
from einsplit.solver.messages import Passing, core_of
from einsplit.solver.planning.case import Case, peak
from einsplit.solver.problem.live import live_bytes, live_tables
from einsplit.solver.problem.network import network
from einsplit.solver.problem.problem import Folded
from einsplit.solver.search.sweep import start
from einsplit.solver.search.watch import Watch

MAX_ROWS = 8  # moments of the step
MESSAGES = 300  # turns before a program, to leave out what is too dear
ROUNDING = 1e-9


def integer_program(case: Case, watch: Watch, solver: str, limit_seconds: float) -> None:
    """Offer what the integer program finds, and raise the bound; options dearer than the best plan are left out.

    The solver has `limit_seconds` for all digit tables together.

    Raises PlanError where the solver fails without a word that can be used.
    """
    assert case.is_certified
    end = time.monotonic() + limit_seconds
    bounds = [_under(case, watch, start(case.memo, axes_of, case.limits), solver, end) for axes_of in case.tables]
    known = [bound for bound in bounds if bound is not None]
    if len(known) == len(bounds):
        bound = min(*known, watch.found.seconds)
        watch.bound = bound if watch.bound is None else max(bound, watch.bound)


def _under(case: Case, watch: Watch, whole: Folded, solver: str, end: float) -> float | None:
    """A bound on plans that fit, under the digit tables of one plan; cheaper ones are offered, until a time."""
    of = network(whole, range(len(case.memo.machine.axes)), alike=False)
    core = core_of(of.num_options, of.tables)
    passing, known = Passing(core), watch.found.seconds
    for _ in range(MESSAGES):
        bound, _ = passing.turn()
        if bound >= known * (1 - ROUNDING):
            return known  # nothing under these tables is cheaper than what is known
    if time.monotonic() >= end:
        return bound
    answer = _of_core(passing, known, solver, end - time.monotonic())
    times: list[int] = []
    while True:
        if answer.outcome is Outcome.FAILED and answer.bound is None and answer.choices is None:
            raise PlanError(f"the integer program failed: {answer.reason}", "Use method='search'.")
        if answer.outcome is Outcome.INFEASIBLE:
            return known
        if answer.choices is None:
            return answer.bound
        found = of.plan(answer.choices)
        live = live_bytes(found.problem, found.chosen)
        fullest = int(np.argmax(live))
        if live[fullest] <= case.memory_bytes:
            if peak(found) <= case.memory_bytes:
                watch.offer(found)
            return answer.bound
        if fullest in times or len(times) == MAX_ROWS or time.monotonic() >= end:
            return answer.bound
        times.append(fullest)
        rows = [Row(tuple(live_tables(of.problem, of.options, moment)), case.memory_bytes) for moment in times]
        left = end - time.monotonic()
        answer = solve(of.num_options, of.tables, rows=rows, solver=solver, limit_seconds=left)


def _of_core(passing: Passing, known: float, solver: str, limit_seconds: float) -> Answer:
    """The cheapest choices of a network, by its core and by what messages leave of that; memory is not looked at."""
    core = passing.core
    tables = [PriceTable((v,), prices) for v, prices in enumerate(core.own)]
    tables += [PriceTable((link.low, link.high), link.prices) for link in core.links]
    keep = passing.worth(known * (1 + ROUNDING))
    found = solve([len(own) for own in core.own], tables, keep=keep, solver=solver, limit_seconds=limit_seconds)
    shift = core.constant
    return replace(
        found,
        choices=None if found.choices is None else core.expanded(found.choices),
        price=None if found.price is None else found.price + shift,
        bound=None if found.bound is None else min(found.bound + shift, known),
    )
