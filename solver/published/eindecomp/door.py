"""A prepared Graph on a Machine -> Solution: EinDecomp's plan, searched by its own costs and priced by ours.

The paper's vectors say into how many parts labels are cut; a mesh has axes, and a dimension cut by several has digits.
So the search is done under each of the digit tables that ours begins with, over the vectors that these allow, and the
cheapest by its own costs is taken; by our price where those are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem, Solution
from einsplit.solver.published.eindecomp.network import Choices, Network, Readings
from einsplit.solver.published.eindecomp.paths import plan_paths
from einsplit.solver.published.eindecomp.translate import solution
from einsplit.solver.published.eindecomp.trees import plan_trees
from einsplit.solver.search.starts import digit_tables

VARIANTS: Mapping[str, Callable[[Network], Choices]] = MappingProxyType({"trees": plan_trees, "paths": plan_paths})


def eindecomp(memo: Memo, variant: str = "trees") -> Solution:
    """The plan for the memo's prepared graph; `variant` says how a graph that is no tree is handled (`VARIANTS`)."""
    readings = Readings(memo)
    found: list[tuple[float, Solution]] = []
    for axes_of in digit_tables(memo.graph, memo.machine, memo.classes):
        network = Network(Problem(memo.graph, memo.machine, memo.tables(axes_of), memo), readings)
        choices = VARIANTS[variant](network)
        found.append((network.cost(choices), solution(network, choices)))
    return min(found, key=lambda row: (row[0], row[1].seconds))[1]
