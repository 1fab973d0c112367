"""torch's own operators, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from einsplit.kernels.aten import call_gradient, call_operator
from einsplit.kernels.rows import Attributes
from einsplit.runtime.kernels.families.rows import Run, Wanted


def _operator(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Sequence[Tensor]:
    return call_operator(attributes, operands)


def _gradient(attributes: Attributes, operands: Sequence[Tensor], wanted: Wanted) -> Sequence[Tensor]:
    return [call_gradient(attributes, operands)]


KERNELS: dict[str, Run] = {"aten": _operator, "aten_vjp": _gradient}
