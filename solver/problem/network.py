"""A Problem, some of whose mesh axes choose while the others stand, as a network of tables over variables.

variables   classes of nodes that choose alike (`einsplit.solver.problem.fold`); an option is a sharding
tables      number of nodes * price of a node;   number of edges * price of an edge;   what results of one call save
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from einsplit.solver.contraction.tropical import PriceTable
from einsplit.solver.problem.live import live_tables
from einsplit.solver.problem.memo import Edge
from einsplit.solver.problem.problem import Folded, Problem, folded
from einsplit.solver.sharding import Choice, Sharding


@dataclass(frozen=True, slots=True)
class Network:
    """`options[v]` are shardings of the first node of class v; `standing[v]` is the one it has now."""

    problem: Problem
    options: tuple[tuple[Sharding, ...], ...]
    standing: tuple[int, ...]
    tables: tuple[PriceTable, ...]

    @property
    def num_options(self) -> list[int]:
        return [len(row) for row in self.options]

    def plan(self, chosen: Sequence[int]) -> Folded:
        """The plan of an option for each class."""
        return folded(self.problem, [row[choice] for row, choice in zip(self.options, chosen, strict=True)])


def network(found: Folded, group: Sequence[int], alike: bool) -> Network:
    """What every class may choose while the axes of the group do, all the same where they are `alike`, and the prices.

    The other axes stand as the plan has them.
    """
    problem = found.problem
    firsts = [members[0] for members in problem.memo.folding.members]
    options = tuple(_options(problem, v, group, sharding, alike) for v, sharding in enumerate(found.chosen))
    standing = tuple(row.index(sharding) for row, sharding in zip(options, found.chosen, strict=True))
    tolls = [
        PriceTable(table.variables, toll * table.prices)
        for time, toll in problem.tolls.items()
        for table in live_tables(problem, options, time)
    ]
    tables = [
        *_of_nodes(problem, options),
        *_of_edges(problem, firsts, options),
        *_of_pairs(problem, firsts, options),
        *tolls,
    ]
    return Network(problem, options, standing, tuple(tables))


def every_option(problem: Problem) -> tuple[tuple[Sharding, ...], ...]:
    """By class, all that it may choose over all axes."""
    axes = range(len(problem.machine.axes))
    return tuple(
        tuple(product(*(problem.class_choices(number, axis) for axis in axes)))
        for number in range(len(problem.memo.folding.members))
    )


def _options(problem: Problem, variable: int, group: Sequence[int], now: Sharding, alike: bool) -> tuple[Sharding, ...]:
    """The sharding with each choice of the group; the standing one is among them."""
    per_axis = [problem.class_choices(variable, axis) for axis in group]
    if alike:
        rows: list[tuple[Choice, ...]] = [(c,) * len(group) for c in per_axis[0] if all(c in row for row in per_axis)]
    else:
        rows = list(product(*per_axis))
    found = []
    for row in rows:
        sharding = list(now)
        for axis, choice in zip(group, row, strict=True):
            sharding[axis] = choice
        found.append(tuple(sharding))
    return tuple(found if now in found else [now, *found])


Options = Sequence[Sequence[Sharding]]


def _of_nodes(problem: Problem, options: Options) -> list[PriceTable]:
    folding = problem.memo.folding
    rows = zip(folding.members, folding.counts, options, strict=True)
    return [
        PriceTable((v,), count * np.array([problem.node_price(members[0], s).seconds for s in row]))
        for v, (members, count, row) in enumerate(rows)
    ]


def _of_edges(problem: Problem, firsts: Sequence[int], options: Options) -> list[PriceTable]:
    left = [tuple(problem.left(at, sharding) for sharding in row) for at, row in zip(firsts, options, strict=True)]
    found = []
    for (writer, reader, number), count in problem.memo.folded_edges.items():
        # Prices are by layout, and those are by position: that of the class's first node is that of all.
        edge = Edge(firsts[writer], firsts[reader], number)
        wanted = tuple(problem.wanted(edge, sharding) for sharding in options[reader])
        prices = problem.edge_table(edge, left[writer], wanted)
        found.append(PriceTable((writer, reader), prices if count == 1 else count * prices))
    return found


def _of_pairs(problem: Problem, firsts: Sequence[int], options: Options) -> list[PriceTable]:
    folding, found = problem.memo.folding, []
    for (first, further), (pair, count) in problem.memo.folded_pairs.items():
        rows = [folding.as_of(sharding, firsts[first], pair.first) for sharding in options[first]]
        columns = [folding.as_of(sharding, firsts[further], pair.further) for sharding in options[further]]
        saved = np.array([[problem.pair_seconds(pair, a, b) for b in columns] for a in rows])
        found.append(PriceTable((first, further), count * saved))
    return found
