"""Einsum nodes that keys decide, on one shard: elements read, or added, at the indices that the keys give."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from einsplit.runtime.kernels.call import Call
from einsplit.runtime.kernels.einsum import Read, aligned, joined, summed_labels
from einsplit.runtime.kernels.scalars import TORCH
from einsplit.scalar import evaluate
from einsplit.torch_dtypes import torch_dtype, torch_dtype_name


def lookup(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """Operands read where the keys say, then joined; zeros for keys that are held elsewhere, or nowhere."""
    places = Places(call, operands)
    return joined(call, places.read(operands), call.node.writes, summed_labels(call))


def scatter(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """The joined values added where the keys say, in an order that is always the same on a CPU."""
    node = call.node
    places = Places(call, operands)
    kept = [label for label in node.writes if label not in (*node.chosen, *places.labels)]
    each = [label for label in places.labels if label in node.writes]  # the keys of each of its elements are its own
    led = [label for label in places.labels if label not in node.writes]
    rest = [label for label in summed_labels(call) if label not in led]
    values = joined(call, places.read(operands), [*each, *led, *kept], rest)
    # Half precision would lose much on the way; torch's own sums are wider, too.
    wide = torch.float32 if values.dtype in (torch.float16, torch.bfloat16) else values.dtype
    batch, moved, held, width = (_sizes(call, labels) for labels in (each, led, node.chosen, kept))
    slots = max(1, prod(held))
    flat = torch.zeros_like(places.hit, dtype=torch.int64)  # where no key is hit the values are 0, and added anywhere
    for size, at in zip(held, places.ats, strict=True):
        flat = flat * size + at
    place = aligned(flat, places.labels, [*each, *led])
    place = place.reshape([prod(batch), prod(moved)]) + torch.arange(prod(batch))[:, None] * slots
    sums = torch.zeros([prod(batch) * slots, prod(width)], dtype=wide)
    sums.index_add_(0, place.reshape(-1), values.reshape([place.numel(), prod(width)]).to(wide))
    opened = sums.reshape([prod(batch), slots, prod(width)])[:, : prod(held)].reshape([*batch, *held, *width])
    order = [*each, *node.chosen, *kept]
    return opened.permute([order.index(label) for label in node.writes]).to(torch_dtype(node.dtype))


def _sizes(call: Call, labels: Sequence[int]) -> list[int]:
    return [call.local(label) for label in labels]


class Places:
    """Where the keys of a node stand among the elements held: `ats`, one for each label chosen, and `hit`.

    They have a dimension for each of `labels`; where `hit` is false, at least one key is held elsewhere or is no index.
    """

    def __init__(self, call: Call, operands: Sequence[Tensor]) -> None:
        node = call.node
        self.call = call
        self.labels = sorted({label for key in node.keys for label in key.labels})
        sizes = [call.local(label) for label in self.labels]
        keys = (self._key(operands, number) for number in range(len(node.keys)))
        found = [_place(call, label, key) for label, key in zip(node.chosen, keys, strict=True)]
        self.ats = [at.clamp(min=0).expand(sizes) for at in found]
        self.hit = torch.ones(sizes, dtype=torch.bool)
        for at in found:
            self.hit = self.hit & (at >= 0)
        for label in self.labels:  # padding has no key
            extent = node.extents[label]
            if extent.padded != extent.size and label not in node.writes:
                self.hit = self.hit & aligned(call.index(label) < extent.size, [label], self.labels)

    def _key(self, operands: Sequence[Tensor], number: int) -> Tensor:
        """The key's own values, a dimension of size 1 for each label that it does not depend on."""
        node, own = self.call.node, self.call.node.keys[number].labels
        parts = [
            aligned(x, labels, self.labels) if set(labels) <= set(own) else torch.zeros((), dtype=x.dtype)
            for x, labels in zip(operands, node.reads, strict=True)
        ]
        dtypes = [torch_dtype_name(x.dtype) for x in operands]

        def index(name: str) -> Tensor:
            label = node.names.index(name)
            return aligned(self.call.index(label), [label], self.labels)

        return evaluate(self.call.keys[number], parts, dtypes, index, TORCH)

    def read(self, operands: Sequence[Tensor]) -> list[Read]:
        """The operands at the keys' indices, those that have no label chosen as they are; last, `hit`."""
        pairs = zip(operands, self.call.node.reads, strict=True)
        return [*(self._taken(x, labels) for x, labels in pairs), (self.hit, self.labels)]

    def _taken(self, tensor: Tensor, labels: Sequence[int]) -> Read:
        chosen = self.call.node.chosen
        if not set(labels) & set(chosen):
            return tensor, labels
        led = [label for label in labels if label in chosen or label in self.labels]
        rest = [label for label in labels if label not in led]
        source = tensor.permute([list(labels).index(label) for label in (*led, *rest)])
        if not all(source.shape[: len(led)]):  # nothing is held, and nothing is hit
            sizes = [self.call.local(label) for label in (*self.labels, *rest)]
            return source.new_zeros(sizes), [*self.labels, *rest]
        indices = tuple(self.ats[chosen.index(label)] if label in chosen else self._along(label) for label in led)
        return source[indices], [*self.labels, *rest]

    def _along(self, label: int) -> Tensor:
        """Every element held along a label that the operand and the keys share."""
        return aligned(torch.arange(self.call.local(label)), [label], self.labels)


def _place(call: Call, label: int, key: Tensor) -> Tensor:
    """Where each key stands among the elements held along its label; -1 where it does not."""
    held, size = call.index(label), call.node.extents[label].size
    place = torch.full((size + 1,), -1, dtype=torch.int64)
    place[held.clamp(max=size)] = torch.arange(held.numel())
    place[size] = -1  # padding, and every key out of range
    # Compared in 64 bits: a small dtype may not hold the size. A key between two integers is no index.
    wide = key.to(torch.int64)
    known = (wide == key) & (wide >= 0) & (wide < size)
    return place[torch.where(known, wide, size)]
