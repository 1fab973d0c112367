"""Carry out one Collective: pack, exchange, combine in coordinate order, unpack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from einsplit.runtime.kernels.aggregate import combine
from einsplit.runtime.transport import Transport
from einsplit.solver.program import Collective, CollectiveKind, Program, piece_elements, reduces_by_gather


@dataclass(frozen=True, slots=True)
class CollectiveCount:
    """What one device sent for one collective: payload bytes, as its transport counted them."""

    kind: CollectiveKind
    axes: tuple[int, ...]
    bytes_sent: int


def run_collective(program: Program, step: Collective, source: Tensor, device: int, transport: Transport) -> Tensor:
    """The collective's output on this device."""
    group = program.group_of(step.axes, device)
    sizes = [program.sizes[axis] for axis in step.axes]
    packed = source.reshape(step.before_shape).permute(step.before_order).contiguous()
    if step.kind == "all_reduce":
        received = [_all_reduced(packed, step.agg, group, sizes, transport)]
    elif step.kind == "all_gather":
        received = transport.all_gather(packed, group)
    else:
        received = transport.all_to_all(list(packed.reshape(len(group), -1).unbind()), group)
    if step.kind == "reduce_scatter":
        received = [combine(step.agg, received)]
    arrived = received[0] if len(received) == 1 else torch.stack(received)
    shape = program.buffers[step.output].shape
    return arrived.reshape(step.after_shape).permute(step.after_order).reshape(shape).contiguous()


def _all_reduced(
    partial: Tensor, agg: str, group: tuple[int, ...], sizes: Sequence[int], transport: Transport
) -> Tensor:
    if reduces_by_gather(partial.numel(), sizes):
        return combine(agg, transport.all_gather(partial, group))
    flat = partial.reshape(-1)
    length = piece_elements(partial.numel(), sizes)
    padded = torch.nn.functional.pad(flat, (0, length * prod(sizes) - flat.numel()))
    own = combine(agg, transport.all_to_all(list(padded.reshape(len(group), -1).unbind()), group))
    return torch.cat(transport.all_gather(own, group))[: flat.numel()].reshape(partial.shape)
