"""What a Compute needs besides its operands, made once per device: label indices, the join, a kernel's attributes."""

from __future__ import annotations

from functools import cached_property

import msgspec
from torch import Tensor

from einsplit.runtime.kernels.indices import global_index
from einsplit.scalar import Expr, parse_join
from einsplit.solver.program import Compute


class Call:
    """One Compute on the device at coordinates `where`."""

    def __init__(self, node: Compute, where: tuple[int, ...]) -> None:
        self.node = node
        self.where = where
        self._indices: dict[int, Tensor] = {}

    @cached_property
    def join(self) -> Expr:
        """Where there are keys, its last operand says whether they are met."""
        return parse_join(self.node.join, len(self.node.operands) + bool(self.node.keys), self.node.names)

    @cached_property
    def keys(self) -> tuple[Expr, ...]:
        return tuple(parse_join(key.expr, len(self.node.operands), self.node.names) for key in self.node.keys)

    @cached_property
    def attributes(self) -> dict[str, object]:
        return msgspec.json.decode(self.node.attributes, type=dict[str, object])

    def index(self, label: int) -> Tensor:
        """The indices of the elements held along a label; padding has indices from the label's size on."""
        if label not in self._indices:
            self._indices[label] = global_index(self.node.extents[label], self.where)
        return self._indices[label]

    def local(self, label: int) -> int:
        return self.node.extents[label].local
