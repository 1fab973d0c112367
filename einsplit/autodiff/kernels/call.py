"""A kernel node whose operands' adjoints are wanted: what the rules of all families ask of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from einsplit.draft import Draft, Origin
from einsplit.graph import Dims, Kernel, Operand, dims_shape
from einsplit.notation.dims import flat

Presented = tuple[Operand, Dims]  # a reading, and the dimensions that the kernel sees it in


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel node whose operands' adjoints are wanted."""

    draft: Draft
    at: int  # the node's position
    node: Kernel
    adjoint: int

    @property
    def origin(self) -> Origin:
        return Origin(f"{self.node.name}.grad", self.node.source)

    @property
    def attributes(self) -> dict[str, object]:
        return msgspec.json.decode(self.node.attributes, type=dict[str, object])

    def number(self, name: str) -> int:
        value = self.attributes[name]
        assert isinstance(value, int), (name, value)
        return value

    def shape(self, dims: Dims) -> tuple[int, ...]:
        return dims_shape(dims, self.draft.sizes)

    @property
    def bar(self) -> Presented:
        """The adjoint."""
        return value(self.adjoint, self.node.dims)

    def given(self, k: int) -> Presented:
        """Operand k, read as the node reads it: turned, along a diagonal, or repeated."""
        return self.node.operands[k], self.node.reads[k]

    def apply(
        self,
        kernel: str,
        attributes: dict[str, object],
        operands: Sequence[Presented],
        dims: Dims,
        dtype: str | None = None,
    ) -> int:
        """Another kernel over the same labels, those that are whole for the node whole; of the adjoint's dtype if none.

        It sums over free labels that its operands have and its result lacks: the adjoint of what is used along such a
        label for every element alike.
        """
        reads = tuple(presented for _, presented in operands)
        met = dict.fromkeys(label for row in (*reads, dims) for label in flat(row))
        written, whole = flat(dims), self.node.brackets
        return self.draft.add(
            Kernel(
                name=self.origin.name,
                kernel=kernel,
                attributes=msgspec.json.encode(attributes, order="deterministic").decode(),
                operands=tuple(row for row, _ in operands),
                reads=reads,
                dims=dims,
                brackets=tuple(label for label in whole if label in met),
                dtype=dtype or self.draft.nodes[self.adjoint].dtype,
                summed=tuple(label for label in met if label not in written and label not in whole),
                operations=self.node.operations,
                source=self.node.source,
            )
        )


def value(at: int, dims: Dims) -> Presented:
    """The value of node `at`, which has these dims or dims of the same sizes, under these labels."""
    return Operand(at, flat(dims)), dims


# (the call, number of an operand) -> position of its adjoint under the dims it is read in; None where it has none
Rule = Callable[[Call, int], int | None]
