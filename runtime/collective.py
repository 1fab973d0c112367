"""Carry out one Collective: pack, exchange, combine in coordinate order, unpack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from torch import Tensor

from einsplit.runtime.kernels.aggregate import combine
from einsplit.runtime.memory import Ledger
from einsplit.runtime.transport import Transport
from einsplit.solver.program import Collective, CollectiveKind, Program, piece_elements, reduces_by_gather


@dataclass(frozen=True, slots=True)
class CollectiveCount:
    """What one device sent for one collective: payload bytes, as its transport counted them."""

    kind: CollectiveKind
    axes: tuple[int, ...]
    bytes_sent: int


class Exchange:
    """One Collective on one device, and the memory that it takes."""

    def __init__(self, program: Program, step: Collective, device: int, transport: Transport, ledger: Ledger) -> None:
        self._step = step
        self._group = program.group_of(step.axes, device)
        self._sizes = [program.sizes[axis] for axis in step.axes]
        self._shape = program.buffers[step.output].shape
        self._transport = transport
        self._ledger = ledger

    def run(self, source: Tensor) -> Tensor:
        """The collective's output on this device, in a storage of its own."""
        step = self._step
        packed = self._ledger.hold(source.reshape(step.before_shape).permute(step.before_order).contiguous())
        if step.kind == "all_reduce":
            by_gather = reduces_by_gather(packed.numel(), self._sizes)
            return self._reduced(self._gathered(packed)) if by_gather else self._reduced_in_pieces(packed)
        if step.kind == "all_gather":
            return self._placed(self._gathered(packed))
        received = self._exchanged(packed)
        return self._reduced(received) if step.kind == "reduce_scatter" else self._placed(received)

    def _gathered(self, block: Tensor) -> list[Tensor]:
        """Every member's block."""
        return [self._ledger.hold(piece) for piece in self._transport.all_gather(block, self._group)]

    def _exchanged(self, packed: Tensor) -> list[Tensor]:
        """From every member the piece that is this device's; of what is packed, each member has an equal piece."""
        pieces = list(packed.reshape(len(self._group), -1).unbind())
        return [self._ledger.hold(piece) for piece in self._transport.all_to_all(pieces, self._group)]

    def _new(self, numel: int, like: Tensor) -> Tensor:
        return self._ledger.hold(torch.empty(numel, dtype=like.dtype))

    def _placed(self, received: Sequence[Tensor]) -> Tensor:
        """The pieces where they belong: stacked in group order, viewed as `after_shape`, permuted by `after_order`."""
        step = self._step
        output = self._new(prod(self._shape), received[0])
        opened = output.reshape([step.after_shape[k] for k in step.after_order])
        stacked = opened.permute([step.after_order.index(k) for k in range(len(step.after_order))])
        # The digits that number the pieces lead.
        for at, piece in zip(product(*map(range, self._sizes)), received, strict=True):
            target = stacked[at]
            target.copy_(piece.reshape(target.shape))
        return output.reshape(self._shape)

    def _reduced(self, received: Sequence[Tensor]) -> Tensor:
        """The pieces combined; they lie as the output does."""
        output = self._new(prod(self._shape), received[0])
        combine(self._step.agg, [piece.reshape(-1) for piece in received], output)
        return output.reshape(self._shape)

    def _reduced_in_pieces(self, partial: Tensor) -> Tensor:
        """All partial results combined: pieces are exchanged, each device combines its own, and all are gathered."""
        flat = partial.reshape(-1)
        own = self._own_piece(flat)
        received = self._gathered(own)
        output = self._new(flat.numel(), flat)
        length = own.numel()
        for k, piece in enumerate(received):
            target = output[k * length : (k + 1) * length]
            target.copy_(piece[: target.numel()])
        return output.reshape(self._shape)

    def _own_piece(self, flat: Tensor) -> Tensor:
        """This device's piece of the combined whole; the last one's is padded."""
        length = piece_elements(flat.numel(), self._sizes)
        padded = flat
        if length * len(self._group) != flat.numel():
            padded = self._new(length * len(self._group), flat)
            padded[: flat.numel()] = flat
            padded[flat.numel() :] = 0
        return combine(self._step.agg, self._exchanged(padded), self._new(length, flat))
