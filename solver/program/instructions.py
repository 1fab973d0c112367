"""The instruction list that every device runs: single program, multiple data; only coordinates differ.

A buffer is written once, by one instruction, and lives until its `Free`. Its tensor has one dimension per factor of
the value it holds. Everything a device needs stands in the Program: which kernel, which labels, which digits, which
pieces go where. No device measures or decides. Communication stands in one order for all, so no two devices can wait
for each other.
"""

from __future__ import annotations

from math import prod
from typing import Literal

import msgspec

from einsplit.dtypes import ITEMSIZE
from einsplit.solver.pricing.collectives import CollectiveKind, collective_bytes


class Digit(msgspec.Struct, frozen=True):
    """One digit of an extent: the mesh axis that owns it, its radix, and whether the axis cuts it here."""

    axis: int
    radix: int
    cut: bool


class Extent(msgspec.Struct, frozen=True):
    """The elements a device holds along a label or factor: digits, slowest first, and the rest below them."""

    size: int  # true size
    digits: tuple[Digit, ...]
    rest: int

    @property
    def padded(self) -> int:
        return self.rest * prod(digit.radix for digit in self.digits)

    @property
    def local(self) -> int:
        return self.rest * prod(digit.radix for digit in self.digits if not digit.cut)


class Buffer(msgspec.Struct, frozen=True):
    """A tensor of every device: one dimension per factor."""

    dtype: str
    extents: tuple[Extent, ...]
    partial: tuple[int, ...] = ()  # the axes along which devices hold parts of the value

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(extent.local for extent in self.extents)


class Port(msgspec.Struct, frozen=True):
    """A named tensor that comes in or goes out: whole dimensions are groups of a buffer's factors."""

    name: str
    buffer: int
    dims: tuple[int, ...]  # how many factors each dimension has


class Key(msgspec.Struct, frozen=True):
    """The index chosen along a label: an expression of a Compute's operands and indices."""

    expr: str
    labels: tuple[int, ...]  # those that it depends on


class Result(msgspec.Struct, frozen=True):
    """One of a kernel's results, and the buffer that it goes to."""

    buffer: int
    number: int
    dims: tuple[tuple[int, ...], ...]  # the labels of each dimension
    dtype: str
    operations: int  # scalar operations of one device that are done for it alone


class Compute(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One node on one shard, or several that are results of one call. Labels are numbers into `extents` and `names`."""

    node: int
    kind: Literal["contract", "lookup", "scatter", "grouped", "pick", "join", "kernel"]
    operands: tuple[int, ...]
    output: int
    reads: tuple[tuple[int, ...], ...]  # the labels of each operand, one per factor
    writes: tuple[int, ...]  # the labels of the output, one per factor
    extents: tuple[Extent, ...]  # of each label, as this node cuts it
    names: tuple[str, ...]  # of each label, as the join's indices name it
    operations: int  # scalar operations of one device
    dtype: str
    join: str = ""
    agg: str = "sum"
    chosen: tuple[int, ...] = ()  # the labels that are read, added to, or grouped at chosen indices only
    keys: tuple[Key, ...] = ()  # lookup, scatter, grouped: which index, for each of `chosen`
    product: tuple[int, ...] = ()  # grouped: the operands that are multiplied
    at: int = 0  # pick: the index
    kernel: str = ""
    attributes: str = "{}"
    presents: tuple[tuple[tuple[int, ...], ...], ...] = ()  # kernel: the labels of each dimension of each operand
    results: tuple[Result, ...] = ()  # kernel: what the call gives, the output first
    whole: tuple[int, ...] = ()  # kernel: labels given at true size, in original order

    @property
    def outputs(self) -> tuple[int, ...]:
        """Every buffer that is written."""
        return tuple(row.buffer for row in self.results) or (self.output,)


class Mask(msgspec.Struct, frozen=True, tag=True):
    """A copy with `value` wherever a factor in `factors` is padding."""

    source: int
    output: int
    factors: tuple[int, ...]
    value: float


class Slice(msgspec.Struct, frozen=True, tag=True):
    """A copy of the elements whose digits, for `axes`, are the device's coordinates."""

    source: int
    output: int
    axes: tuple[int, ...]
    shape: tuple[int, ...]  # the source with its digits as dimensions
    dims: tuple[int, ...]  # where in `shape` each axis's digit stands


class Zero(msgspec.Struct, frozen=True, tag=True):
    """A copy where the device's coordinates on `axes` are all 0, else zeros: a whole value as addends."""

    source: int
    output: int
    axes: tuple[int, ...]


class Collective(msgspec.Struct, frozen=True, tag=True):
    """An exchange among the devices that differ on `axes`.

    Sending: view the source as `before_shape`, permute by `before_order`; the leading digits number the pieces.
    Receiving: pieces stacked in group order, viewed as `after_shape`, permuted by `after_order`.
    """

    kind: CollectiveKind
    source: int
    output: int
    axes: tuple[int, ...]
    agg: str
    before_shape: tuple[int, ...]
    before_order: tuple[int, ...]
    after_shape: tuple[int, ...]
    after_order: tuple[int, ...]


class Free(msgspec.Struct, frozen=True, tag=True):
    """The buffer's storage is given back."""

    buffer: int


Instruction = Compute | Mask | Slice | Zero | Collective | Free


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What every device of a mesh of `sizes` runs each step."""

    sizes: tuple[int, ...]
    buffers: tuple[Buffer, ...]
    inputs: tuple[Port, ...]  # all of them; those in `parameters` stay between steps
    parameters: tuple[str, ...]
    outputs: tuple[Port, ...]
    updates: tuple[tuple[str, int], ...]  # parameter, and the buffer that becomes its next value
    instructions: tuple[Instruction, ...]

    @property
    def num_devices(self) -> int:
        return prod(self.sizes)

    @property
    def feeds(self) -> tuple[str, ...]:
        """Names of the inputs given at every step."""
        return tuple(port.name for port in self.inputs if port.name not in self.parameters)

    @property
    def fetches(self) -> tuple[str, ...]:
        return tuple(port.name for port in self.outputs)

    @property
    def collectives(self) -> tuple[Collective, ...]:
        return tuple(i for i in self.instructions if isinstance(i, Collective))

    def coordinates(self, device: int) -> tuple[int, ...]:
        """Where a device stands on each axis; the last axis counts fastest."""
        found = []
        for size in reversed(self.sizes):
            found.append(device % size)
            device //= size
        return tuple(reversed(found))

    def group_of(self, axes: tuple[int, ...], device: int) -> tuple[int, ...]:
        """The devices that differ from `device` on `axes` only, in coordinate order."""
        strides = [prod(self.sizes[axis + 1 :]) for axis in range(len(self.sizes))]
        first = device - sum(self.coordinates(device)[axis] * strides[axis] for axis in axes)
        group = [first]
        for axis in axes:
            group = [member + at * strides[axis] for member in group for at in range(self.sizes[axis])]
        return tuple(group)

    def predicted_bytes(self, collective: Collective) -> int:
        """Bytes each device sends for it."""
        source = self.buffers[collective.source]
        sizes = [self.sizes[axis] for axis in collective.axes]
        return collective_bytes(collective.kind, prod(source.shape), ITEMSIZE[source.dtype], sizes)

    def to_bytes(self) -> bytes:
        return msgspec.json.encode(self)

    @staticmethod
    def from_bytes(data: bytes) -> Program:
        return msgspec.json.decode(data, type=Program)
