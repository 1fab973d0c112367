"""What a plan says of each node: its price, and the next best choice with what it would cost more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from einsplit.solver.pricing.price import Price, move_price
from einsplit.solver.pricing.repartition import repartition
from einsplit.solver.problem.fold import Folding, unfolded
from einsplit.solver.problem.problem import Problem
from einsplit.solver.sharding import Choice, Sharding


def folding_kept(problem: Problem, shardings: Sequence[Sharding]) -> Folding:
    """The folding of the graph's layers, where a plan cuts nodes of one class alike; else every node on its own."""
    folding = problem.memo.folding
    kept = folding.spread([shardings[members[0]] for members in folding.members]) == tuple(shardings)
    return folding if kept else unfolded(problem.graph)


def row_price(problem: Problem, shardings: Sequence[Sharding], at: int) -> Price:
    """Of a node and of bringing its operands to it. Over all nodes these add up to the price of the plan."""
    price = problem.node_price(at, shardings[at])
    for edge in problem.memo.edges_of[at]:
        if edge.reader == at:
            price += problem.edge_price(edge, shardings[edge.writer], shardings[edge.reader])
    for pair in problem.memo.pairs_of.get(at, ()):
        if pair.further == at:
            price += Price(problem.pair_seconds(pair, shardings[pair.first], shardings[at]))
    return price


def bytes_by_axis(problem: Problem, shardings: Sequence[Sharding]) -> dict[str, int]:
    """Bytes that each device sends, by the mesh axes that a collective is over; slowest first."""
    machine, found = problem.machine, Counter[tuple[int, ...]]()
    for edge in problem.edges:
        left = problem.left(edge.writer, shardings[edge.writer])
        wanted = problem.wanted(edge, shardings[edge.reader])
        for move in repartition(left, wanted, problem.memo.aggs[edge.writer], machine.tiers):
            sent = move_price(move, problem.shape(edge.writer), machine).bytes_sent
            found[move.axes] += sent * problem.memo.times[edge.reader]
    return {" x ".join(machine.axes[axis].name for axis in axes): found[axes] for axes in sorted(found) if found[axes]}


def runner_up(problem: Problem, shardings: Sequence[Sharding], at: int) -> tuple[Sharding, float] | None:
    """The cheapest other choice of one axis at one node, all else fixed, and the seconds that it costs more."""
    best: tuple[Sharding, float] | None = None
    for axis in range(len(problem.machine.axes)):
        for choice in problem.choices(at, axis):
            other = with_choice(shardings[at], axis, choice)
            if other == shardings[at]:
                continue
            more = more_seconds(problem, shardings, at, other)
            if best is None or more < best[1]:
                best = (other, more)
    return best


def more_seconds(problem: Problem, shardings: Sequence[Sharding], at: int, other: Sharding) -> float:
    """Seconds that a plan takes more, were a node's sharding `other` and all else as it is."""
    now = local_seconds(problem, shardings, at, shardings[at])
    return local_seconds(problem, shardings, at, other) - now


def local_seconds(problem: Problem, shardings: Sequence[Sharding], at: int, own: Sharding) -> float:
    """Seconds of a node and of all its edges, were its sharding `own`."""
    total = problem.node_price(at, own).seconds
    for edge in problem.memo.edges_of[at]:
        writer = own if edge.writer == at else shardings[edge.writer]
        reader = own if edge.reader == at else shardings[edge.reader]
        total += problem.memo.count(at, edge) * problem.edge_price(edge, writer, reader).seconds
    for pair in problem.memo.pairs_of.get(at, ()):
        first, further = (own if node == at else shardings[node] for node in (pair.first, pair.further))
        total += problem.pair_seconds(pair, first, further)
    return total


def with_choice(sharding: Sharding, axis: int, choice: Choice) -> Sharding:
    """The sharding with another choice of one axis."""
    return (*sharding[:axis], choice, *sharding[axis + 1 :])
