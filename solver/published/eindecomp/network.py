"""What EinDecomp plans: operations with their candidate vectors, and what each reads of which.

Identities are no operations: who reads one reads the value that it hands on. An input costs its first planned reader
nothing: it rests as that one wants it. All other readers repartition it, as they do the value of an operation. What is
paid for a value's way into a state at rest is not in EinDecomp's formulas.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from einsplit.graph import Input
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem
from einsplit.solver.published.eindecomp.costs import Scalars, repartition_costs
from einsplit.solver.published.eindecomp.linear import longest_paths
from einsplit.solver.published.eindecomp.vectors import Candidates, candidates, content


@dataclass(frozen=True, slots=True)
class Reading:
    """Operand `number` of operation `reader` is the value of `maker`, an operation or an input."""

    maker: int
    reader: int
    number: int


@dataclass(slots=True)
class Choices:
    """What is planned so far: of operations the row of their vector, of inputs whom they rest for."""

    row: dict[int, int] = field(default_factory=dict)
    rests_for: dict[int, Reading] = field(default_factory=dict)


class Readings:
    """The operations of a prepared graph, and what each reads, whatever the digit tables."""

    def __init__(self, memo: Memo) -> None:
        nodes = memo.graph.nodes
        made_by: list[int] = []
        for at, node in enumerate(nodes):
            made_by.append(made_by[node.operands[0].node] if memo.forms[at].kind == "alias" else at)
        self.made_by = tuple(made_by)  # by node, itself; of an identity, the node whose value it hands on
        self.is_input = tuple(isinstance(node, Input) for node in nodes)
        self.operations = tuple(at for at, maker in enumerate(made_by) if maker == at and not self.is_input[at])
        self.of: dict[int, tuple[Reading, ...]] = {
            at: tuple(Reading(made_by[row.node], at, k) for k, row in enumerate(nodes[at].operands))
            for at in self.operations
        }
        self.by: dict[int, list[Reading]] = {at: [] for at in range(len(nodes))}
        for readings in self.of.values():
            for reading in readings:
                self.by[reading.maker].append(reading)

    @cached_property
    def paths(self) -> tuple[tuple[int, ...], ...]:
        """The operations along longest paths, each in one of them."""
        makers = {
            at: tuple(dict.fromkeys(r.maker for r in self.of[at] if not self.is_input[r.maker]))
            for at in self.operations
        }
        return longest_paths(makers)


class Network:
    """The readings of a graph under the digit tables of a Problem: candidate vectors, and what they cost."""

    def __init__(self, problem: Problem, readings: Readings) -> None:
        self.problem = problem
        self.readings = readings
        self.candidates, self._kind = _all_candidates(problem, readings.operations)
        self._matrices: dict[tuple[int, int, int], Scalars] = {}

    def matrix(self, reading: Reading) -> Scalars:
        """Repartition costs from what an operation may leave to what its reader may want, by distinct rows of both."""
        key = (self._kind[reading.maker], self._kind[reading.reader], reading.number)
        if key not in self._matrices:
            left = self.candidates[reading.maker].left
            wanted = self.candidates[reading.reader].wanted[reading.number]
            self._matrices[key] = repartition_costs(left.shape, left.distinct, wanted.distinct)
        return self._matrices[key]

    def from_planned(self, reading: Reading, choices: Choices) -> Scalars | float:
        """By vector of the reader, what reading a planned value costs; 0 of an input that rests for nobody yet."""
        wanted = self.candidates[reading.reader].wanted[reading.number]
        if not self.readings.is_input[reading.maker]:
            row = self.candidates[reading.maker].left.row[choices.row[reading.maker]]
            from_row: Scalars = self.matrix(reading)[row]
            return from_row[wanted.row]
        resting = choices.rests_for.get(reading.maker)
        if resting is None or resting == reading:
            return 0.0
        rest = self.candidates[resting.reader].wanted[resting.number]
        row = rest.row[choices.row[resting.reader]]
        from_rest: Scalars = repartition_costs(rest.shape, rest.distinct[row : row + 1], wanted.distinct)[0]
        return from_rest[wanted.row]

    def settle_inputs(self, planned: Sequence[int], choices: Choices) -> None:
        """Inputs that rest for nobody yet rest for the first of the planned operations that reads them."""
        for at in planned:
            for reading in self.readings.of[at]:
                if self.readings.is_input[reading.maker]:
                    choices.rests_for.setdefault(reading.maker, reading)

    def cost(self, choices: Choices) -> float:
        """What the whole plan costs by EinDecomp's formulas."""
        total = 0.0
        for at in self.readings.operations:
            costs = self.candidates[at].costs
            for reading in self.readings.of[at]:
                costs = costs + self.from_planned(reading, choices)
            total += float(costs[choices.row[at]])
        return total


def _all_candidates(problem: Problem, operations: Sequence[int]) -> tuple[Mapping[int, Candidates], Mapping[int, int]]:
    """By operation, its candidates, found once for operations of one content, and a number for that content."""
    graph = problem.graph
    numbers: dict[Hashable, int] = {}
    found: list[Candidates] = []
    kind = {}
    for at in operations:
        node = graph.nodes[at]
        key = content(graph, node, problem.tables)
        if key not in numbers:
            numbers[key] = len(found)
            found.append(candidates(graph, node, problem.tables, problem.machine.sizes))
        kind[at] = numbers[key]
    return {at: found[number] for at, number in kind.items()}, kind
