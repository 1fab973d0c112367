"""What each axis does to a value: as the node leaves it that makes it, and as a node wants it that reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from einsplit.graph import Input, Label, Node, aggregated_labels, factors
from einsplit.solver.sharding import Choice, Sharding, Sum

PARTIAL: Final = "partial"

# Of one axis: the position of the factor that it cuts; None where its devices hold the same; PARTIAL.
Entry = int | Literal["partial"] | None
Entries = tuple[Entry, ...]


def entries_left(node: Node, sharding: Sharding) -> Entries:
    """Of the node's own value: what was summed in parts, or is a sum's addend, is partial."""
    return tuple(_left(factors(node), choice) for choice in sharding)


def _left(written: Sequence[Label], choice: Choice) -> Entry:
    if choice is None:
        return None
    return written.index(choice) if isinstance(choice, str) and choice in written else PARTIAL


def entries_wanted(node: Node, number: int, sharding: Sharding) -> Entries:
    """Of operand `number`; of a diagonal the first position is cut."""
    read = node.operands[number].labels
    found: list[Entry] = []
    for choice in sharding:
        if isinstance(choice, Sum):
            found.append(PARTIAL if number in choice.carriers else None)
        else:
            found.append(read.index(choice) if choice in read else None)
    return tuple(found)


def combines_by(node: Node) -> str:
    """The aggregation that makes one value of partial ones; of what is not aggregated, partial values are addends."""
    return "sum" if isinstance(node, Input) or not aggregated_labels(node) else node.agg
