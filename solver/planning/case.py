"""What is planned: a folded Graph on a Machine, the digit tables to try, what is pinned, and what devices may hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Folded, Limits, Problem
from einsplit.solver.program.lower import lowered
from einsplit.solver.program.unroll import held
from einsplit.solver.search.starts import AxesOf

MAX_CERTIFIED_AXES = 2  # of a mesh whose axes are all searched at once: tables over more are too large


@dataclass(frozen=True, slots=True)
class Case:
    """`limits` say what nodes may choose, where not all; a device may hold `memory_bytes`."""

    memo: Memo
    tables: Sequence[AxesOf]
    limits: Limits
    memory_bytes: int

    @property
    def is_certified(self) -> bool:
        """Whether all mesh axes can be searched at once."""
        return len(self.memo.machine.axes) <= MAX_CERTIFIED_AXES

    def problems(self) -> list[Problem]:
        """One for each of the digit tables."""
        memo = self.memo
        return [Problem(memo.graph, memo.machine, memo.tables(axes_of), memo, self.limits) for axes_of in self.tables]

    def num_choices(self) -> list[int]:
        """By node, how many choices it has over all mesh axes, under the digit tables that leave it most."""
        found = [0] * len(self.memo.graph.nodes)
        for problem in self.problems():
            for at in range(len(found)):
                number = prod(len(problem.choices(at, axis)) for axis in range(len(self.memo.machine.axes)))
                found[at] = max(found[at], number)
        return found


def peak(found: Folded) -> int:
    """The bytes that a device holds at most, by the plan's Program."""
    memo = found.problem.memo
    return held(lowered(found.spread()), len(memo.graph.nodes), memo.deep).peak
