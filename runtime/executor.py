"""One device's run of a Program: a buffer per tensor, instructions in order, nothing decided here."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

import torch
from torch import Tensor

from einsplit.runtime.blocks import delivers
from einsplit.runtime.collective import CollectiveCount, Exchange
from einsplit.runtime.kernels import Call, compute
from einsplit.runtime.kernels.indices import global_index
from einsplit.runtime.memory import Ledger
from einsplit.runtime.transport import Transport
from einsplit.solver.program import Collective, Compute, Free, Instruction, Mask, Program, Slice, Zero

Moving = Mask | Slice | Zero | Collective  # what writes one buffer, and computes nothing


class Executor:
    """Holds the parameters of one device between steps, and runs steps.

    Of the last step, `counters` are the collectives, in order, and `peak_bytes` what was held at most.
    """

    def __init__(self, program: Program, device: int, transport: Transport) -> None:
        self._program = program
        self._device = device
        self._transport = transport
        self._where = program.coordinates(device)
        self._ports = {port.name: port for port in program.inputs}
        self._buffers: dict[int, Tensor] = {}
        self._counts: list[CollectiveCount] = []
        self._ledger = Ledger()
        # What a node needs besides its operands (indices, typed joins) is made once, not at every step.
        self._calls = {
            at: Call(instruction, self._where, self._ledger)
            for at, instruction in enumerate(program.instructions)
            if isinstance(instruction, Compute)
        }

    @property
    def counters(self) -> tuple[CollectiveCount, ...]:
        return tuple(self._counts)

    @property
    def peak_bytes(self) -> int:
        return self._ledger.peak_bytes

    def put(self, name: str, block: Tensor) -> None:
        """Set this device's block of a parameter or state; it is kept until it is put again."""
        self._buffers[self._ports[name].buffer] = block

    def state(self) -> dict[str, Tensor]:
        """The blocks of all parameters and state that this device delivers."""
        ports = (self._ports[name] for name in self._program.parameters)
        return {p.name: self._buffers[p.buffer] for p in ports if delivers(self._program, p, self._device)}

    @torch.no_grad()
    def step(self, feeds: MutableMapping[str, Tensor]) -> dict[str, Tensor]:
        """One run; returns the blocks of the fetches that this device delivers.

        The feeds are taken out of the mapping: each goes when nothing reads it any more. So does the old value of a
        state that is updated; a step that fails leaves no state.
        """
        self._counts.clear()
        buffers = self._buffers
        while feeds:
            name, block = feeds.popitem()
            buffers[self._ports[name].buffer] = block
            del block
        self._ledger.start(buffers.values())
        for at, instruction in enumerate(self._program.instructions):
            self._run(at, instruction, buffers)
        fetched = {
            port.name: buffers[port.buffer]
            for port in self._program.outputs
            if delivers(self._program, port, self._device)
        }
        self._buffers = self._following(buffers)
        return fetched

    def _following(self, buffers: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """What rests until the next step, each in its own storage: parameters, and states with their new values."""
        updated = dict(self._program.updates)
        resting = {name: self._ports[name].buffer for name in self._program.parameters}
        found = {buffer: buffers[buffer] for name, buffer in resting.items() if name not in updated}
        taken = set(found)
        for name, buffer in self._program.updates:
            found[resting[name]] = self._ledger.copied(buffers[buffer]) if buffer in taken else buffers[buffer]
            taken.add(buffer)
        return found

    def _run(self, at: int, instruction: Instruction, buffers: dict[int, Tensor]) -> None:
        if isinstance(instruction, Free):
            del buffers[instruction.buffer]
            return
        if isinstance(instruction, Compute):
            found = compute(self._calls[at], [buffers[buffer] for buffer in instruction.operands])
            buffers.update(zip(instruction.outputs, found, strict=True))
        else:
            buffers[instruction.output] = self._moved(instruction, buffers)

    def _moved(self, instruction: Moving, buffers: Mapping[int, Tensor]) -> Tensor:
        """What an instruction that computes nothing writes."""
        match instruction:
            case Collective():
                return self._collective(instruction, buffers[instruction.source])
            case Slice():
                return self._slice(instruction, buffers[instruction.source])
            case Zero():
                return self._zero(instruction, buffers[instruction.source])
            case Mask():
                return self._mask(instruction, buffers[instruction.source])

    def _collective(self, instruction: Collective, source: Tensor) -> Tensor:
        before = self._transport.bytes_sent
        exchange = Exchange(self._program, instruction, self._device, self._transport, self._ledger)
        result = exchange.run(source)
        sent = self._transport.bytes_sent - before
        self._counts.append(CollectiveCount(instruction.kind, instruction.axes, sent))
        return result

    def _zero(self, instruction: Zero, source: Tensor) -> Tensor:
        first = all(self._where[axis] == 0 for axis in instruction.axes)
        return self._ledger.hold(source.clone() if first else torch.zeros_like(source))

    def _slice(self, instruction: Slice, source: Tensor) -> Tensor:
        at = dict(zip(instruction.dims, (self._where[axis] for axis in instruction.axes), strict=True))
        picked = source.reshape(instruction.shape)[tuple(at.get(k, slice(None)) for k in range(len(instruction.shape)))]
        shape = self._program.buffers[instruction.output].shape
        # A copy: a view would keep the whole source alive.
        return self._ledger.copied(picked).reshape(shape)

    def _mask(self, instruction: Mask, source: Tensor) -> Tensor:
        masked = self._ledger.copied(source)
        for position in instruction.factors:
            extent = self._program.buffers[instruction.source].extents[position]
            is_padding = global_index(extent, self._where) >= extent.size
            shape = [-1 if k == position else 1 for k in range(source.ndim)]
            masked.masked_fill_(is_padding.reshape(shape), torch.tensor(instruction.value, dtype=source.dtype))
        return masked
