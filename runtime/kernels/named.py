"""Registered kernels on one shard: whole labels are given at true size and in original order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

from einsplit.runtime.kernels.call import Call
from einsplit.runtime.kernels.einsum import aligned
from einsplit.runtime.kernels.families import DECLARED, KERNELS
from einsplit.runtime.kernels.padding import identity_padded
from einsplit.solver.program import Result, limits
from einsplit.torch_dtypes import torch_dtype


def named(call: Call, operands: Sequence[Tensor]) -> list[Tensor]:
    """The results that the Program names, their whole labels padded again."""
    node = call.node
    whole = set(node.whole)

    def size(label: int) -> int:
        return node.extents[label].size if label in whole else call.local(label)

    read = [
        _presented(call, x, labels, dims, size)
        for x, labels, dims in zip(operands, node.reads, node.presents, strict=True)
    ]
    if call.attributes.get("padding") == "identity":
        read = [identity_padded(call, x, dims) for x, dims in zip(read, node.presents, strict=True)]
    raw = _called(call, read, operands, size)
    del read
    return [_opened(call, raw.pop(0), row, size) for row in node.results]


def _called(call: Call, read: Sequence[Tensor], operands: Sequence[Tensor], size: Callable[[int], int]) -> list[Tensor]:
    """The results, each alone in its storage; what else the call gives is let go."""
    node, ledger = call.node, call.ledger
    wanted = {row.number: tuple(prod(size(label) for label in dim) for dim in row.dims) for row in node.results}
    dtypes = {row.number: torch_dtype(row.dtype) for row in node.results}
    made = sum(prod(shape) * dtypes[number].itemsize for number, shape in wanted.items())
    own = DECLARED[node.kernel](call.attributes, read, wanted) if node.kernel in DECLARED else 0
    with ledger.declared(made + own):
        found = KERNELS[node.kernel](call.attributes, read, wanted)
    mine: list[Tensor] = []
    for row in node.results:
        result = found[row.number].to(dtypes[row.number])
        mine.append(ledger.owned(result, (*operands, *read, *mine)))
    return mine


def _opened(call: Call, tensor: Tensor, row: Result, size: Callable[[int], int]) -> Tensor:
    """A result with a dimension for each label, what is whole padded."""
    extents, whole = call.node.extents, set(call.node.whole)
    labels = [label for dim in row.dims for label in dim]
    opened = tensor.reshape([size(label) for label in labels])
    padding = [extents[label].padded - extents[label].size if label in whole else 0 for label in labels]
    if any(padding):
        around = [n for extra in reversed(padding) for n in (0, extra)]
        opened = call.ledger.hold(torch.nn.functional.pad(opened, around))
    return opened


def _presented(
    call: Call, tensor: Tensor, labels: Sequence[int], dims: Sequence[Sequence[int]], size: Callable[[int], int]
) -> Tensor:
    """The operand in the kernel's own dimensions: permuted, trimmed, repeated along labels it does not have."""
    order = [label for dim in dims for label in dim]
    trimmed = aligned(tensor, labels, order)[tuple(slice(size(label)) for label in order)]
    whole = trimmed.expand([size(label) for label in order])
    shaped = whole.reshape([prod(size(label) for label in dim) for dim in dims])
    return call.ledger.hold(shaped.contiguous() if call.node.kernel in limits.CONTIGUOUS else shaped)
