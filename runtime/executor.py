"""One device's run of a Program: a buffer per tensor, instructions in order, nothing decided here."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from einsplit.runtime.blocks import delivers
from einsplit.runtime.collective import CollectiveCount, run_collective
from einsplit.runtime.kernels import Call, compute
from einsplit.runtime.kernels.indices import global_index
from einsplit.runtime.transport import Transport
from einsplit.solver.program import Collective, Compute, Free, Instruction, Mask, Program, Slice, Zero

Moving = Mask | Slice | Zero | Collective  # what writes one buffer, and computes nothing


class Executor:
    """Holds the parameters of one device between steps, and runs steps.

    `counters` are the collectives of the last step, in order.
    """

    def __init__(self, program: Program, device: int, transport: Transport) -> None:
        self._program = program
        self._device = device
        self._transport = transport
        self._where = program.coordinates(device)
        self._ports = {port.name: port for port in program.inputs}
        self._buffers: dict[int, Tensor] = {}
        self._counts: list[CollectiveCount] = []
        # What a node needs besides its operands (indices, typed joins) is made once, not at every step.
        self._calls = {
            at: Call(instruction, self._where)
            for at, instruction in enumerate(program.instructions)
            if isinstance(instruction, Compute)
        }

    @property
    def counters(self) -> tuple[CollectiveCount, ...]:
        return tuple(self._counts)

    def put(self, name: str, block: Tensor) -> None:
        """Set this device's block of a parameter or state; it is kept until it is put again."""
        self._buffers[self._ports[name].buffer] = block

    def state(self) -> dict[str, Tensor]:
        """The blocks of all parameters and state that this device delivers."""
        ports = (self._ports[name] for name in self._program.parameters)
        return {p.name: self._buffers[p.buffer] for p in ports if delivers(self._program, p, self._device)}

    @torch.no_grad()
    def step(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One run; returns the blocks of the fetches that this device delivers."""
        self._counts.clear()
        buffers = self._buffers
        for name, block in feeds.items():
            buffers[self._ports[name].buffer] = block
        for at, instruction in enumerate(self._program.instructions):
            self._run(at, instruction, buffers)
        fetched = {
            port.name: buffers[port.buffer]
            for port in self._program.outputs
            if delivers(self._program, port, self._device)
        }
        following = {self._ports[name].buffer: buffers[buffer] for name, buffer in self._program.updates}
        resting = {self._ports[name].buffer for name in self._program.parameters}
        self._buffers = {buffer: tensor for buffer, tensor in buffers.items() if buffer in resting} | following
        return fetched

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
        result = run_collective(self._program, instruction, source, self._device, self._transport)
        sent = self._transport.bytes_sent - before
        self._counts.append(CollectiveCount(instruction.kind, instruction.axes, sent))
        return result

    def _zero(self, instruction: Zero, source: Tensor) -> Tensor:
        first = all(self._where[axis] == 0 for axis in instruction.axes)
        return source.clone() if first else torch.zeros_like(source)

    def _slice(self, instruction: Slice, source: Tensor) -> Tensor:
        at = dict(zip(instruction.dims, (self._where[axis] for axis in instruction.axes), strict=True))
        picked = source.reshape(instruction.shape)[tuple(at.get(k, slice(None)) for k in range(len(instruction.shape)))]
        shape = self._program.buffers[instruction.output].shape
        # A copy: a view would keep the whole source alive.
        return picked.reshape(shape).clone(memory_format=torch.contiguous_format)

    def _mask(self, instruction: Mask, source: Tensor) -> Tensor:
        masked = source
        for position in instruction.factors:
            extent = self._program.buffers[instruction.source].extents[position]
            keep = global_index(extent, self._where) < extent.size
            shape = [-1 if k == position else 1 for k in range(source.ndim)]
            masked = torch.where(keep.reshape(shape), masked, torch.tensor(instruction.value, dtype=source.dtype))
        return masked
