"""The door from the notation to torch: einsum and kernels on whole tensors, at once.

While torch.export traces, an einsum stays one operator, `einsplit::einsum`, for capture to read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from einsplit.eager.einsum import whole_einsum
from einsplit.eager.operator import einsum_operator
from einsplit.einsum.bound import BoundEinsum
from einsplit.kernels.along import ALONG
from einsplit.notation.spec import ELLIPSIS
from einsplit.runtime.kernels.families import KERNELS
from einsplit.scalar import to_text

__all__ = ["einsum_tensors", "kernel_tensors"]


def einsum_tensors(bound: BoundEinsum, operands: Sequence[Tensor]) -> Tensor:
    """The einsum's value, on the operands' device; torch's autograd sees plain torch operators."""
    if not torch.compiler.is_exporting():
        return whole_einsum(bound, operands)
    join = to_text(bound.join)
    named = {label: size for label, size in bound.sizes.items() if not label.startswith(ELLIPSIS)}
    names, sizes = list(named), list(named.values())
    value: Tensor = einsum_operator(list(operands), bound.spec.text, join, bound.agg, names, sizes)
    return value


def kernel_tensors(
    name: str, attributes: Mapping[str, object], operands: Sequence[Tensor], shape: tuple[int, ...]
) -> Sequence[Tensor]:
    """Every result of a registered kernel that users call; `shape` is that of each."""
    every = range(ALONG[name].num_results)
    found = KERNELS[name](attributes, operands, dict.fromkeys(every, shape))
    return [found[number] for number in every]
