"""Partition vectors as shardings: each mesh axis goes to a label, so that the axes of a label multiply to its entry.

Which of several axes cuts a label a vector does not say. An axis goes where the operands, the largest first, have it
already, and else to the label that comes first. Inputs rest as the reader wants that they rest for. An identity follows
the value it reads, or one of its readers, whichever is cheaper by our price: EinDecomp has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod

from einsplit.graph import Label, Node, factors, node_labels
from einsplit.solver.problem.problem import Problem, Solution
from einsplit.solver.published.eindecomp.network import Choices, Network
from einsplit.solver.published.eindecomp.vectors import open_labels
from einsplit.solver.sharding import Choice, DigitTables, Layout, Sharding, operand_layout


def solution(network: Network, choices: Choices) -> Solution:
    """The plan of a choice of vectors; digits that no node uses are dropped from the tables."""
    problem = network.problem
    chosen: dict[int, Sharding] = {}
    for at in network.readings.operations:
        _place_operation(network, choices, at, chosen)
    updates = dict(problem.graph.updates)
    for at in (at for at, is_input in enumerate(network.readings.is_input) if is_input and at not in chosen):
        maker = network.readings.made_by[updates.get(at, at)]  # read by nobody: as its next value is left
        left = problem.left(maker, chosen[maker]) if maker in chosen else ()
        chosen[at] = _following(problem.graph.nodes[at], left, problem)
    for at in (at for at, maker in enumerate(network.readings.made_by) if maker != at):
        chosen[at] = _identity(problem, at, chosen)
    shardings = tuple(chosen[at] for at in range(len(problem.graph.nodes)))
    trimmed = Problem(problem.graph, problem.machine, _used_tables(problem, shardings), problem.memo)
    return Solution(trimmed, shardings, trimmed.price(shardings).seconds)


def _place_operation(network: Network, choices: Choices, at: int, chosen: dict[int, Sharding]) -> None:
    """The sharding of an operation, and of the inputs that rest for it."""
    problem = network.problem
    node = problem.graph.nodes[at]
    vector = network.candidates[at].vectors[choices.row[at]]
    needs = {label: int(entry) for label, entry in zip(node_labels(node), vector, strict=True)}
    chosen[at] = dealt(node, needs, problem.tables, problem.machine.sizes, _hints(network, at, chosen))
    for reading in network.readings.of[at]:
        if network.readings.is_input[reading.maker] and choices.rests_for[reading.maker] == reading:
            layout = operand_layout(node, reading.number, chosen[at])
            chosen[reading.maker] = _following(problem.graph.nodes[reading.maker], layout, problem)


def _hints(network: Network, at: int, chosen: Mapping[int, Sharding]) -> list[list[Label]]:
    """For each axis, the labels that it cuts in the operands as they are left, those of the largest operand first."""
    problem = network.problem
    graph = problem.graph
    hints: list[list[Label]] = [[] for _ in problem.machine.axes]
    placed = [reading for reading in network.readings.of[at] if reading.maker in chosen]
    for reading in sorted(placed, key=lambda reading: (-prod(graph.shape(reading.maker)), reading.number)):
        labels = graph.nodes[at].operands[reading.number].labels
        for axis, position in enumerate(problem.left(reading.maker, chosen[reading.maker])):
            if position >= 0:
                hints[axis].append(labels[position])
    return hints


def dealt(
    node: Node, needs: Mapping[Label, int], tables: DigitTables, mesh: Sequence[int], hints: Sequence[Sequence[Label]]
) -> Sharding:
    """An axis for each label, or none, whose sizes multiply to what each label needs; hints are tried first."""
    options = [
        tuple(dict.fromkeys((*(label for label in hint if label in labels), *labels)))
        for labels, hint in ((open_labels(node, tables, axis), hint) for axis, hint in enumerate(hints))
    ]
    left = dict(needs)
    dead: set[tuple[int, ...]] = set()
    given: list[Choice] = []

    def deal(axis: int) -> bool:
        if axis == len(mesh):
            return True
        state = (axis, *left.values())
        if state in dead:
            return False
        for label in options[axis] or (None,):
            if label is not None and left[label] % mesh[axis]:
                continue
            given.append(label)
            if label is not None:
                left[label] //= mesh[axis]
            if deal(axis + 1):
                return True
            given.pop()
            if label is not None:
                left[label] *= mesh[axis]
        dead.add(state)
        return False

    found = deal(0)
    assert found, f"{node.name}: {dict(needs)} is no vector of mesh {tuple(mesh)}"
    return tuple(given)


def _following(node: Node, layout: Sequence[int], problem: Problem) -> Sharding:
    """The node's value cut as the layout is; whole where the layout is not cut, or the node may not be."""
    written = factors(node)
    labels = [written[position] if position >= 0 else None for position in layout]
    own = [
        label if label is not None and axis in problem.tables[label].axes else None for axis, label in enumerate(labels)
    ]
    return tuple(own) if own else (None,) * len(problem.machine.axes)


def _identity(problem: Problem, at: int, chosen: Mapping[int, Sharding]) -> Sharding:
    """The cheapest way for an identity to follow its value or a reader, of those that are placed."""
    edges = problem.memo.edges_of[at]
    read = [edge for edge in edges if edge.reader == at and edge.writer in chosen]
    # A mask has a reader in every layer: readers that want the same count together.
    wanted = Counter(
        problem.wanted(edge, chosen[edge.reader]) for edge in edges if edge.writer == at and edge.reader in chosen
    )

    def seconds(own: Sharding) -> float:
        made = sum(problem.edge_price(edge, chosen[edge.writer], own).seconds for edge in read)
        left = problem.left(at, own)
        return made + sum(count * problem.layout_price(at, left, to).seconds for to, count in wanted.items())

    handed_on = problem.graph.nodes[at].operands[0].node  # a join may ignore further operands
    return min(_ways(problem, at, problem.left(handed_on, chosen[handed_on]), wanted), key=seconds)


def _ways(problem: Problem, at: int, left: Layout, wanted: Iterable[Layout]) -> Iterator[Sharding]:
    """As the value is left; as a reader wants it; cut as it is left, and as a reader wants where it is not cut."""
    node = problem.graph.nodes[at]
    yield _following(node, left, problem)
    for layout in wanted:
        yield _following(node, layout, problem)
        yield _following(node, [a if a >= 0 else b for a, b in zip(left, layout, strict=True)], problem)


def _used_tables(problem: Problem, shardings: Sequence[Sharding]) -> DigitTables:
    classes = problem.memo.classes
    used: dict[Label, set[int]] = {}
    for sharding in shardings:
        for axis, choice in enumerate(sharding):
            if isinstance(choice, str):
                used.setdefault(classes[choice], set()).add(axis)
    return problem.memo.tables(
        {label: tuple(axis for axis in problem.tables[label].axes if axis in axes) for label, axes in used.items()}
    )
