"""Einsum nodes that keys decide, on one shard: elements read, or added, at the indices that the keys give."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from einsplit.runtime.kernels.call import Call
from einsplit.runtime.kernels.einsum import Read, aligned, joined, summed_labels
from einsplit.torch_dtypes import torch_dtype


def lookup(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """Operands read where the keys say, then joined; zeros for keys that are held elsewhere, or nowhere."""
    places = Places(call, operands)
    return joined(call, places.read(operands), call.node.writes, summed_labels(call))


def scatter(call: Call, operands: Sequence[Tensor]) -> Tensor:
    """The joined values added where the keys say, in an order that is always the same on a CPU."""
    node, ledger = call.node, call.ledger
    places = Places(call, operands)
    kept = [label for label in node.writes if label not in (*node.chosen, *places.labels)]
    each = [label for label in places.labels if label in node.writes]  # the keys of each of its elements are its own
    led = [label for label in places.labels if label not in node.writes]
    rest = [label for label in summed_labels(call) if label not in led]
    values = joined(call, places.read(operands), [*each, *led, *kept], rest)
    # Half precision would lose much on the way; torch's own sums are wider, too.
    wide = torch.float32 if values.dtype in (torch.float16, torch.bfloat16) else values.dtype
    batch, held, width = (_sizes(call, labels) for labels in (each, node.chosen, kept))
    slots = max(1, prod(held))
    place = _slots(call, places, [*each, *led], prod(batch), slots)
    sums = ledger.hold(torch.zeros([prod(batch) * slots, prod(width)], dtype=wide))
    added = ledger.hold(values.reshape([place.numel(), prod(width)]).to(wide))
    sums.index_add_(0, place, added)
    opened = sums.reshape([prod(batch), slots, prod(width)])[:, : prod(held)].reshape([*batch, *held, *width])
    order = [*each, *node.chosen, *kept]
    turned = opened.permute([order.index(label) for label in node.writes])
    dtype = torch_dtype(node.dtype)
    return turned if turned.dtype == dtype else ledger.hold(torch.empty(turned.shape, dtype=dtype)).copy_(turned)


def _slots(call: Call, places: Places, order: Sequence[int], num_batches: int, slots: int) -> Tensor:
    """Where each value is added, of all slots of all batches; where no key is hit it is 0, and added anywhere."""
    ledger = call.ledger
    flat = ledger.hold(torch.zeros_like(places.hit, dtype=torch.int64))
    for label, at in zip(call.node.chosen, places.ats, strict=True):
        flat.mul_(call.local(label)).add_(at)
    turned = aligned(flat, places.labels, order)
    batches = torch.arange(num_batches)[:, None] * slots
    return ledger.hold(turned.reshape([num_batches, flat.numel() // max(1, num_batches)]) + batches).reshape(-1)


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
        found = [_place(call, label, self._key(operands, number)) for number, label in enumerate(node.chosen)]
        self.hit = call.ledger.hold(torch.ones(sizes, dtype=torch.bool))
        for at in found:
            self.hit &= at >= 0
        self.ats = [at.clamp_(min=0).expand(sizes) for at in found]
        for label in self.labels:  # padding has no key
            extent = node.extents[label]
            if extent.padded != extent.size and label not in node.writes:
                self.hit &= aligned(call.index(label) < extent.size, [label], self.labels)

    def _key(self, operands: Sequence[Tensor], number: int) -> Tensor:
        """The key's own values, a dimension of size 1 for each label that it does not depend on."""
        node, own = self.call.node, self.call.node.keys[number].labels
        parts = [
            aligned(x, labels, self.labels) if set(labels) <= set(own) else torch.zeros((), dtype=x.dtype)
            for x, labels in zip(operands, node.reads, strict=True)
        ]
        return self.call.evaluated(number, parts, lambda label: aligned(self.call.index(label), [label], self.labels))

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
            return self.call.ledger.hold(source.new_zeros(sizes)), [*self.labels, *rest]
        indices = tuple(self.ats[chosen.index(label)] if label in chosen else self._along(label) for label in led)
        return self.call.ledger.owned(source[indices], [tensor]), [*self.labels, *rest]

    def _along(self, label: int) -> Tensor:
        """Every element held along a label that the operand and the keys share."""
        return aligned(torch.arange(self.call.local(label)), [label], self.labels)


def _place(call: Call, label: int, key: Tensor) -> Tensor:
    """Where each key stands among the elements held along its label; -1 where it does not."""
    held, size, ledger = call.index(label), call.node.extents[label].size, call.ledger
    place = ledger.hold(torch.full((size + 1,), -1, dtype=torch.int64))
    place[held.clamp(max=size)] = torch.arange(held.numel())
    place[size] = -1  # padding, and every key out of range
    # Compared in 64 bits: a small dtype may not hold the size. A key between two integers is no index.
    wide = ledger.hold(key.to(torch.int64))
    known = ledger.hold((wide == key) & (wide >= 0) & (wide < size))
    return ledger.hold(torch.take(place, torch.where(known, wide, size)))
