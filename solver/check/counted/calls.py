"""Results of one kernel call: where two of them are cut alike, the second costs only what it adds to the first.

    seconds(further result) = max(own operations / rate, bytes written / memory bytes per second)  [+ its completion]

Nodes are results of one call if they call the same kernel, with the same attributes, on the same values read alike.
A result may have operands that the call does not (`einsplit.kernels.attention`): where devices cut what it sums, an
einsum completes it with them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from einsplit.dtypes import wide
from einsplit.graph import Einsum, Graph, Kernel, Label, Operand, aggregated_labels, factors
from einsplit.kernels.attention import COMPLETIONS
from einsplit.solver.sharding import Choice, Sharding


@dataclass(frozen=True, slots=True)
class Further:
    """A result that the call of node `first` gives as well, and what each of the two calls what both read."""

    first: int
    own_numbers: Mapping[Label, int]
    first_numbers: Mapping[Label, int]

    def is_cut_alike(self, first: Sharding, own: Sharding) -> bool:
        """Whether every axis does the same to what both read."""
        pairs = zip(first, own, strict=True)
        return all(_number(self.first_numbers, a) == _number(self.own_numbers, b) for a, b in pairs)


def _number(numbers: Mapping[Label, int], choice: Choice) -> int | None:
    return numbers.get(choice, -1) if isinstance(choice, str) else None


def further_results(graph: Graph) -> dict[int, Further]:
    """By node, for every kernel node whose call an earlier node makes."""
    earliest: dict[Hashable, tuple[int, Mapping[Label, int]]] = {}
    found = {}
    for at, node in enumerate(graph.nodes):
        if isinstance(node, Kernel):
            call, numbers = _call(node)
            first, first_numbers = earliest.setdefault(call, (at, numbers))
            if first != at:
                found[at] = Further(first, numbers, first_numbers)
    return found


def _call(node: Kernel) -> tuple[Hashable, Mapping[Label, int]]:
    """What is called on what, its labels numbered as they are met; and these numbers."""
    count = _num_of_call(node)
    numbers: dict[Label, int] = {}

    def numbered(labels: tuple[Label, ...]) -> tuple[int, ...]:
        return tuple(numbers.setdefault(label, len(numbers)) for label in labels)

    values = [(row.node, numbered(row.labels)) for row in node.operands[:count]]
    reads = [tuple(map(numbered, dims)) for dims in node.reads[:count]]
    kernel = COMPLETIONS[node.kernel].call if node.kernel in COMPLETIONS else node.kernel
    return (kernel, node.attributes, tuple(values), tuple(reads)), numbers


def _num_of_call(node: Kernel) -> int:
    """How many of its operands the call reads."""
    return len(node.operands) - (COMPLETIONS[node.kernel].num_given if node.kernel in COMPLETIONS else 0)


def completion_of(node: Kernel, cut: Sharding) -> tuple[Einsum, tuple[str, ...]] | None:
    """The einsum that completes a result cut so, and the dtypes that it reads; None where the result is complete."""
    if node.kernel not in COMPLETIONS or not set(aggregated_labels(node)) & set(cut):
        return None
    (given,) = node.operands[_num_of_call(node) :]
    rows = (Operand(0, factors(node)), Operand(1, given.labels), Operand(2, given.labels))
    join = COMPLETIONS[node.kernel].join(node.dtype)
    made = Einsum(name=node.name, operands=rows, dims=node.dims, join=join, agg="sum", dtype=node.dtype)
    return made, (node.dtype, wide(node.dtype), wide(node.dtype))
