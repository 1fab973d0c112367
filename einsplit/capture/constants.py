"""What is known while a program is read: each tensor recognised once, and made an input once where it is no formula."""

from __future__ import annotations

from collections.abc import Container
from itertools import count

import torch

from einsplit.builder import Builder
from einsplit.builder.views import Value
from einsplit.capture.dtypes import dtype_name
from einsplit.capture.formulas import Formula, recognise, same_elements

MAX_COMPARED = 1 << 16  # elements; larger constants are one input only where they are one tensor


class Constants:
    """The constants of one program. `tensors` holds, by input name, those that are no formula of indices."""

    def __init__(self, builder: Builder, taken: Container[str]) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._taken = taken  # names of other inputs
        self._builder = builder
        self._values: dict[str, Value] = {}
        self._known: dict[int, tuple[torch.Tensor, Formula | Value]] = {}  # keeps what it numbers

    def get(self, tensor: torch.Tensor, source: str) -> Formula | Value:
        """The tensor as a formula, or as an input of the Graph."""
        if id(tensor) not in self._known:
            formula = recognise(tensor)
            self._known[id(tensor)] = (tensor, self._input(tensor, source) if formula is None else formula)
        return self._known[id(tensor)][1]

    def _input(self, tensor: torch.Tensor, source: str) -> Value:
        for name, have in self.tensors.items():
            small = tensor.numel() <= MAX_COMPARED and tensor.dtype == have.dtype and tensor.shape == have.shape
            if small and same_elements(tensor, have):
                return self._values[name]
        names = (f"constant_{k}" for k in count(len(self.tensors)))
        name = next(name for name in names if name not in self._taken)
        self.tensors[name] = tensor.detach()
        shape, dtype = tuple(tensor.shape), dtype_name(tensor.dtype)
        self._values[name] = self._builder.input(name, shape, dtype, role="constant", source=source)
        return self._values[name]
