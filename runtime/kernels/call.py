"""What a Compute needs besides its operands, made once per device: label indices, the join, a kernel's attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import msgspec
from torch import Tensor

from einsplit.runtime.kernels.indices import global_index
from einsplit.runtime.kernels.scalars import TORCH
from einsplit.runtime.memory import Ledger, Uncounted
from einsplit.scalar import Expr, Step, labels_of, parse_join, run_steps, typed_steps
from einsplit.solver.program import Compute
from einsplit.torch_dtypes import torch_dtype_name


class Call:
    """One Compute on the device at coordinates `where`; what it takes is counted in the ledger."""

    def __init__(self, node: Compute, where: tuple[int, ...], ledger: Ledger | None = None) -> None:
        self.node = node
        self.where = where
        self.ledger = Uncounted() if ledger is None else ledger
        self._indices: dict[int, Tensor] = {}
        self._local = tuple(extent.local for extent in node.extents)
        self._steps: dict[int | None, tuple[Step, ...]] = {}

    @cached_property
    def _scalars(self) -> Mapping[str, Callable[..., Tensor]]:
        return self.ledger.counted(TORCH)

    @cached_property
    def join(self) -> Expr:
        """Where there are keys, its last operand says whether they are met."""
        return parse_join(self.node.join, len(self.node.operands) + bool(self.node.keys), self.node.names)

    @cached_property
    def keys(self) -> tuple[Expr, ...]:
        return tuple(parse_join(key.expr, len(self.node.operands), self.node.names) for key in self.node.keys)

    @cached_property
    def named(self) -> tuple[int, ...]:
        """The labels whose indices the join asks for."""
        return tuple(self.node.names.index(name) for name in sorted(labels_of(self.join)))

    def evaluated(self, key: int | None, operands: Sequence[Tensor], index: Callable[[int], Tensor]) -> Tensor:
        """The join's elements, or for a number those of that key; what its steps make is counted."""
        if key not in self._steps:
            expr = self.join if key is None else self.keys[key]
            self._steps[key] = typed_steps(expr, [torch_dtype_name(tensor.dtype) for tensor in operands])
        return run_steps(self._steps[key], operands, lambda name: index(self.node.names.index(name)), self._scalars)

    @cached_property
    def attributes(self) -> dict[str, object]:
        return msgspec.json.decode(self.node.attributes, type=dict[str, object])

    def index(self, label: int) -> Tensor:
        """The indices of the elements held along a label; padding has indices from the label's size on."""
        if label not in self._indices:
            self._indices[label] = self.ledger.hold(global_index(self.node.extents[label], self.where))
        return self._indices[label]

    @property
    def indices(self) -> tuple[Tensor, ...]:
        """Those that were asked for since the last `forget`."""
        return tuple(self._indices.values())

    def forget(self) -> None:
        """The indices are given up: a graph has thousands of nodes, and what each kept would be a step's to hold."""
        self._indices.clear()

    def local(self, label: int) -> int:
        return self._local[label]
