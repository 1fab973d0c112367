"""A machine: a mesh of axes from slowest to fastest link, and the rates of one device.

A *tier* is a run of axes over the same link: six devices on one link are the axes 3 and 2 of one tier, so that a plan
may cut by three here and by two there, and collectives over both are one collective.

**The rate of a matrix multiplication** of m x k by k x n, in scalar operations per second:

    rate = matmul_flops_per_second[dtype] * s / (s + half_size)        s = min(m, n, k)

so `half_size` is the size at which a matrix that is thin one way gets half of the rate. Of the laws of one parameter
that were fitted to measured times of torch on one core (float32, float64 and bfloat16, square and thin matrices from
1 to 1,024), this one, with a median error of 15, 16 and 6 %, was closest: before the product of s / (s + half_size)
over m, n, k (17, 19 and 7 %), 1 / (1 + half_size (1/m + 1/n + 1/k)) (17, 17 and 7 %), and no law (21, 48 and 14 %).
Unlike the product it charges tiny matrices no more than their thinnest dimension asks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import TypeGuard

import msgspec

from einsplit.dtypes import DTYPES
from einsplit.errors import MachineError, advice
from einsplit.solver.machine.mesh import MAX_DEVICES, MeshAxis
from einsplit.solver.units import bytes_text, rate_text, seconds_text


class MachineFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What a machine file holds, before anybody has looked whether such a machine can be."""

    name: str
    axes: tuple[MeshAxis, ...]
    flops_per_second: float
    memory_bytes_per_second: float
    memory_bytes: float
    launch_seconds: float
    matmul_flops_per_second: dict[str, float] = {}
    half_size: float = 0.0


class Machine(MachineFields, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """`axes` from slowest to fastest link; rates, sizes and overheads are those of one device.

    >>> slow = Machine(name="desk", axes=(MeshAxis("lan", 2, 1e8, 1e-3),), flops_per_second=2e9,
    ...                matmul_flops_per_second={"float32": 6e10}, memory_bytes_per_second=8e9, memory_bytes=8e9,
    ...                launch_seconds=1e-5)

    `flops_per_second` is the rate of all that is no matrix multiplication; multiplications in a dtype that
    `matmul_flops_per_second` does not have run at it too. `half_size`: see the module.
    `print` shows it as a table. Raises MachineError for figures that no machine has.
    """

    def __post_init__(self) -> None:
        fault = next(faults(self), None)
        if fault is not None:
            raise MachineError(f"machine {self.name!r}{fault.owner}: {fault.mistake}", fault.remark)

    def __hash__(self) -> int:
        """A dict has no hash: the rates by dtype are left to `==`."""
        return hash((self.name, self.axes, self.flops_per_second, self.memory_bytes_per_second, self.memory_bytes))

    def __str__(self) -> str:
        """The machine as a table."""
        devices = "1 device" if self.num_devices == 1 else f"{self.num_devices} devices"
        lines = [
            f"machine {self.name}: {devices}, each {rate_text(self.flops_per_second, 'FLOP')}, "
            f"{bytes_text(self.memory_bytes)} at {rate_text(self.memory_bytes_per_second, 'B')}, "
            f"launch {seconds_text(self.launch_seconds)}"
        ]
        if self.matmul_flops_per_second:
            rates = (f"{dtype} {rate_text(rate, 'FLOP')}" for dtype, rate in self.matmul_flops_per_second.items())
            lines.append(f"  matrix multiplication: {', '.join(rates)}; half of it at size {self.half_size:.3g}")
        width = max((len(axis.name) for axis in self.axes), default=0)
        for axis in self.axes:
            link = f"{rate_text(axis.bytes_per_second, 'B')}, {seconds_text(axis.latency_seconds)} latency"
            lines.append(f"  {axis.name.ljust(width)}  {axis.size:>4}  {link}")
        return "\n".join(lines)

    @property
    def num_devices(self) -> int:
        return math.prod(self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    @property
    def tiers(self) -> tuple[tuple[int, ...], ...]:
        """Axis numbers, grouped by link, slowest first."""
        return _tiers(self.axes)

    def matmul_rate(self, dtype: str, size: float = math.inf) -> float:
        """Scalar operations per second of a matrix multiplication in that dtype whose least dimension is `size`."""
        rate = self.matmul_flops_per_second.get(dtype, self.flops_per_second)
        return rate if math.isinf(size) else rate / (1.0 + self.half_size / size)


@lru_cache  # asked for with every price of an edge
def _tiers(axes: tuple[MeshAxis, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(group) for _, group in groupby(range(len(axes)), key=lambda k: axes[k].link))


@dataclass(frozen=True, slots=True)
class Fault:
    """What no machine has: where it stands in a file, whose it is, what is wrong, what to do."""

    path: str
    owner: str
    mistake: str
    remark: str = ""


def faults(machine: MachineFields) -> Iterator[Fault]:
    """What is wrong with the figures of a machine; the first is enough to refuse it."""
    for field in ("flops_per_second", "memory_bytes_per_second", "memory_bytes"):
        yield from _not_positive(f"$.{field}", "", field, getattr(machine, field))
    yield from _negative("$.launch_seconds", "", "launch_seconds", machine.launch_seconds)
    yield from _negative("$.half_size", "", "half_size", machine.half_size)
    for dtype, rate in machine.matmul_flops_per_second.items():
        path = f"$.matmul_flops_per_second.{dtype}"
        if dtype not in DTYPES:
            mistake = f"matmul_flops_per_second has a rate for {dtype!r}, which is no dtype"
            yield Fault(path, "", mistake, advice(dtype, DTYPES))
        yield from _not_positive(path, "", f"matmul_flops_per_second of {dtype}", rate)
    names = [axis.name for axis in machine.axes]
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        yield Fault("$.axes", "", f"two mesh axes have one name: {twice}, {twice}")
    for number, axis in enumerate(machine.axes):
        yield from _axis_faults(number, axis)
    num_devices = math.prod(axis.size for axis in machine.axes)
    if num_devices > MAX_DEVICES:
        many = f"{num_devices:,}" if num_devices < 10**15 else "more than 10^15"
        yield Fault("$.axes", "", f"has {many} devices, and einsplit plans for at most {MAX_DEVICES:,}")


def _axis_faults(number: int, axis: MeshAxis) -> Iterator[Fault]:
    path, owner, size = f"$.axes[{number}]", f", axis {axis.name!r}", axis.size
    if isinstance(size, bool) or not isinstance(size, int):
        yield Fault(f"{path}.size", owner, f"size is {size!r}, and must be a whole number")
    elif size < 2:
        yield Fault(f"{path}.size", owner, f"size is {size}, and an axis has at least 2 devices: leave it out")
    yield from _not_positive(f"{path}.bytes_per_second", owner, "bytes_per_second", axis.bytes_per_second)
    yield from _negative(f"{path}.latency_seconds", owner, "latency_seconds", axis.latency_seconds)


def _not_positive(path: str, owner: str, what: str, value: object) -> Iterator[Fault]:
    if not (_is_number(value) and 0 < value < math.inf):
        yield Fault(path, owner, f"{what} is {value!r}, and must be positive and finite")


def _negative(path: str, owner: str, what: str, value: object) -> Iterator[Fault]:
    if not (_is_number(value) and 0 <= value < math.inf):
        yield Fault(path, owner, f"{what} is {value!r}, and must be finite and not negative")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
