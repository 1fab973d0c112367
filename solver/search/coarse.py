"""A fine mesh as one of two coarse axes: what is found there, with a bound, is a plan of the fine mesh to start from.

Axes that are joined have one link, so that what they do alike is one collective, at the price of the coarse axis.
"""

from __future__ import annotations

from math import prod

import msgspec

from einsplit.solver.machine import Machine
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Folded, Problem, folded
from einsplit.solver.sharding import Sharding

Groups = tuple[tuple[int, ...], tuple[int, ...]]


def coarse_groups(machine: Machine) -> Groups | None:
    """Two runs of axes, each over one link: the two tiers, or the halves of one; None where there are more tiers."""
    tiers = machine.tiers
    if len(tiers) == 2:
        return tiers[0], tiers[1]
    if len(tiers) != 1:
        return None
    (tier,), sizes = tiers, machine.sizes
    half = min(range(1, len(tier)), key=lambda k: abs(prod(sizes[:k]) - prod(sizes[k:])))
    return tier[:half], tier[half:]


def coarse_machine(machine: Machine, groups: Groups) -> Machine:
    """The machine with an axis for each group."""
    axes = []
    for group in groups:
        first = machine.axes[group[0]]
        size = prod(machine.axes[axis].size for axis in group)
        axes.append(msgspec.structs.replace(first, name=first.name, size=size))
    return msgspec.structs.replace(machine, axes=tuple(axes))


def refined(found: Folded, memo: Memo, groups: Groups) -> Folded:
    """The plan of a coarse mesh on the fine one, whose axes of a group all do what their coarse axis does."""
    tables = {
        memo.classes[label]: tuple(axis for number in digits.axes for axis in groups[number])
        for label, digits in found.problem.tables.items()
    }
    problem = Problem(memo.graph, memo.machine, memo.tables(tables), memo)
    return folded(problem, [_spread(sharding, groups, len(memo.machine.axes)) for sharding in found.chosen])


def _spread(sharding: Sharding, groups: Groups, num_axes: int) -> Sharding:
    of = {axis: number for number, group in enumerate(groups) for axis in group}
    return tuple(sharding[of[axis]] for axis in range(num_axes))
