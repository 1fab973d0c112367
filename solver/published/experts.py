"""The plans an expert would write down without a search."""

from __future__ import annotations

from einsplit.graph import Graph, Input
from einsplit.solver.machine import Machine
from einsplit.solver.search.problem import Problem, Solution
from einsplit.solver.search.starts import fits
from einsplit.solver.sharding import Choice, Sharding, cuttable_labels, extent_classes, make_tables


def all_whole(graph: Graph, machine: Machine) -> Solution:
    """Every device does everything."""
    return _solution(graph, machine, {}, tuple((None,) * len(machine.axes) for _ in graph.nodes))


def data_parallel(graph: Graph, machine: Machine) -> Solution:
    """Every axis cuts the batch, as long as it divides it: the slowest dimension of the first data input."""
    classes = extent_classes(graph)
    batch = next(
        (n.dims[0][0] for n in graph.nodes if isinstance(n, Input) and n.role == "data" and n.dims and n.dims[0]), None
    )
    if batch is None:
        return all_whole(graph, machine)
    axes: list[int] = []
    for axis in range(len(machine.axes)):
        if fits(graph.sizes[batch], [machine.sizes[a] for a in (*axes, axis)]):
            axes.append(axis)
    shardings = []
    for node in graph.nodes:
        own = next((label for label in cuttable_labels(node) if classes[label] == classes[batch]), None)
        choices: list[Choice] = [own if axis in axes else None for axis in range(len(machine.axes))]
        shardings.append(tuple(choices))
    return _solution(graph, machine, {classes[batch]: tuple(axes)}, tuple(shardings))


def _solution(
    graph: Graph, machine: Machine, axes_of: dict[str, tuple[int, ...]], shardings: tuple[Sharding, ...]
) -> Solution:
    problem = Problem(graph, machine, make_tables(graph, machine.sizes, axes_of))
    return Solution(problem, shardings, problem.price(shardings).seconds)
