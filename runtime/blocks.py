"""Whole tensors and the devices' blocks of them: how what comes in is cut, and what goes out is put together."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from einsplit.errors import DtypeError, RunError, ShapeError
from einsplit.solver.program import Extent, Port, Program
from einsplit.torch_dtypes import torch_dtype


def cut(program: Program, name: str, tensor: Tensor, device: int) -> Tensor:
    """A device's block of an input: padded with zeros, its digits taken, contiguous. May share the tensor's storage."""
    port = _port(program, name)
    buffer = program.buffers[port.buffer]
    shape = _whole_shape(program, port)
    if tuple(tensor.shape) != shape:
        raise ShapeError(f"{name!r} has shape {tuple(tensor.shape)}; the program was made for {shape}")
    if tensor.dtype != torch_dtype(buffer.dtype):
        advice = f"Write {name}.to(torch.{buffer.dtype}), or plan for the other dtype."
        raise DtypeError(f"{name!r} is {tensor.dtype}; the program was made for torch.{buffer.dtype}.\n  {advice}")
    if tensor.is_meta:
        raise RunError(f"{name!r} is on the meta device: it has a shape and no values.\n  Give it values to run on.")
    where = program.coordinates(device)
    block = _padded(tensor.reshape([extent.size for extent in buffer.extents]), buffer.extents)
    for position, extent in enumerate(buffer.extents):
        block = _take(block, position, extent, where)
    return block.contiguous()


def assemble(program: Program, name: str, blocks: Sequence[Tensor | None]) -> Tensor:
    """The whole tensor of an output or of a parameter, from the blocks of the devices that deliver one."""
    port = _port(program, name)
    buffer = program.buffers[port.buffer]
    found = next(block for block in blocks if block is not None)
    whole = torch.empty([n for extent in buffer.extents for n in _digit_shape(extent)], dtype=found.dtype)
    for device, block in enumerate(blocks):
        if block is None:
            continue
        where = program.coordinates(device)
        place = tuple(
            where[digit.axis] if digit is not None and digit.cut else slice(None)
            for extent in buffer.extents
            for digit in (*extent.digits, None)
        )
        target = whole[place]
        target.copy_(block.reshape(target.shape))
    whole = whole.reshape([extent.padded for extent in buffer.extents])
    trimmed = whole[tuple(slice(extent.size) for extent in buffer.extents)]
    return trimmed.reshape(_whole_shape(program, port))


def delivers(program: Program, port: Port, device: int) -> bool:
    """Whether the device's block is needed: of devices that repeat a block, the first one's."""
    cutting = {d.axis for extent in program.buffers[port.buffer].extents for d in extent.digits if d.cut}
    return all(at == 0 or axis in cutting for axis, at in enumerate(program.coordinates(device)))


def _port(program: Program, name: str) -> Port:
    return next(port for port in (*program.outputs, *program.inputs) if port.name == name)


def _whole_shape(program: Program, port: Port) -> tuple[int, ...]:
    sizes = iter(extent.size for extent in program.buffers[port.buffer].extents)
    return tuple(prod(next(sizes) for _ in range(count)) for count in port.dims)


def _padded(tensor: Tensor, extents: Sequence[Extent]) -> Tensor:
    if all(extent.padded == extent.size for extent in extents):
        return tensor
    whole = tensor.new_zeros([extent.padded for extent in extents])
    whole[tuple(slice(extent.size) for extent in extents)] = tensor
    return whole


def _digit_shape(extent: Extent) -> tuple[int, ...]:
    return (*(digit.radix for digit in extent.digits), extent.rest)


def _take(block: Tensor, position: int, extent: Extent, where: tuple[int, ...]) -> Tensor:
    if not any(digit.cut for digit in extent.digits):
        return block
    before, after = block.shape[:position], block.shape[position + 1 :]
    opened = block.reshape(*before, *_digit_shape(extent), *after)
    picked = opened[
        (
            ...,
            *(where[d.axis] if d.cut else slice(None) for d in extent.digits),
            slice(None),
            *[slice(None)] * len(after),
        )
    ]
    return picked.reshape(*before, extent.local, *after)
