"""Two plans that need no search: everything whole, and every node cut by the batch."""

from __future__ import annotations

from einsplit.graph import Input, Label
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem, Solution
from einsplit.solver.search.starts import fits
from einsplit.solver.sharding import Choice, Sharding, cuttable_labels


def all_whole(memo: Memo) -> Solution:
    """Every device does everything."""
    graph, machine = memo.graph, memo.machine
    return _solution(memo, {}, tuple((None,) * len(machine.axes) for _ in graph.nodes))


def data_parallel(memo: Memo) -> Solution:
    """Every axis cuts the batch, as long as it divides it: the slowest dimension of the first data input."""
    graph, machine, classes = memo.graph, memo.machine, memo.classes
    batch = next(
        (n.dims[0][0] for n in graph.nodes if isinstance(n, Input) and n.role == "data" and n.dims and n.dims[0]), None
    )
    if batch is None:
        return all_whole(memo)
    axes: list[int] = []
    for axis in range(len(machine.axes)):
        if fits(graph.sizes[batch], [machine.sizes[a] for a in (*axes, axis)]):
            axes.append(axis)
    shardings = []
    for node in graph.nodes:
        own = next((label for label in cuttable_labels(node) if classes[label] == classes[batch]), None)
        choices: list[Choice] = [own if axis in axes else None for axis in range(len(machine.axes))]
        shardings.append(tuple(choices))
    return _solution(memo, {classes[batch]: tuple(axes)}, tuple(shardings))


def _solution(memo: Memo, axes_of: dict[Label, tuple[int, ...]], shardings: tuple[Sharding, ...]) -> Solution:
    problem = Problem(memo.graph, memo.machine, memo.tables(axes_of), memo)
    return Solution(problem, shardings, problem.price(shardings).seconds)
