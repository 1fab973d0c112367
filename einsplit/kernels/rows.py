"""What a row of a kernel table holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from einsplit.monoid import Array

Attributes = Mapping[str, object]
# (attributes, whole operands, shape of the wanted result) -> every result of the kernel
Reference = Callable[[Attributes, Sequence[Array], tuple[int, ...]], Sequence[Array]]


@dataclass(frozen=True, slots=True)
class Along:
    """A kernel that users call: it takes one operand and works along one dimension, which must be whole."""

    name: str
    example: str  # its signature, for messages
    num_results: int
    results: Callable[[str], tuple[str, ...]]  # the dtype of each, from the operand's
    keeps: bool  # the dimension keeps its label; else it becomes another, no longer one
    options: Mapping[str, bool] = field(default_factory=dict)  # by name, with what they are where not given


def number(attributes: Attributes, name: str) -> int:
    """An integer attribute."""
    value = attributes[name]
    assert isinstance(value, int), (name, value)
    return value
