"""The devices a plan is made for: a mesh of axes from slowest to fastest link, and the rates of one device.

A *tier* is a run of axes over the same link: six devices on one link are the axes 3 and 2 of one tier, so that a plan may
cut by three here and by two there, and collectives over both are one collective.
"""

from __future__ import annotations

import math
from itertools import groupby
from pathlib import Path

import msgspec

from einsplit.errors import MachineError


class MeshAxis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One axis of the mesh: `size` devices in a row, joined by links of one kind."""

    name: str
    size: int
    bytes_per_second: float
    latency_seconds: float


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`axes` from slowest to fastest link; rates, sizes and overheads are those of one device."""

    name: str
    axes: tuple[MeshAxis, ...]
    flops_per_second: float
    memory_bytes_per_second: float
    memory_bytes: float
    launch_seconds: float

    def __post_init__(self) -> None:
        for field in ("flops_per_second", "memory_bytes_per_second", "memory_bytes"):
            _positive(f"machine {self.name!r}: {field}", getattr(self, field))
        _not_negative(f"machine {self.name!r}: launch_seconds", self.launch_seconds)
        names = [axis.name for axis in self.axes]
        if len(set(names)) != len(names):
            raise MachineError(f"machine {self.name!r}: two mesh axes have one name: {', '.join(names)}")
        for axis in self.axes:
            where = f"machine {self.name!r}, axis {axis.name!r}"
            if axis.size < 2:
                raise MachineError(f"{where}: size is {axis.size}, and an axis has at least 2 devices: leave it out")
            _positive(f"{where}: bytes_per_second", axis.bytes_per_second)
            _not_negative(f"{where}: latency_seconds", axis.latency_seconds)

    @property
    def num_devices(self) -> int:
        return math.prod(self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    @property
    def tiers(self) -> tuple[tuple[int, ...], ...]:
        """Axis numbers, grouped by link, slowest first."""
        link = lambda k: (self.axes[k].bytes_per_second, self.axes[k].latency_seconds)  # noqa: E731
        return tuple(tuple(group) for _, group in groupby(range(len(self.axes)), key=link))


def coordinates(device: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Where a device stands on each axis; the last axis counts fastest."""
    found = []
    for size in reversed(sizes):
        found.append(device % size)
        device //= size
    return tuple(reversed(found))


def groups(axes: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The devices that differ on `axes` only, one group for each place on the other axes, in coordinate order."""
    found: dict[tuple[int, ...], list[int]] = {}
    for device in range(math.prod(sizes)):
        at = coordinates(device, sizes)
        found.setdefault(tuple(-1 if k in axes else c for k, c in enumerate(at)), []).append(device)
    return tuple(tuple(group) for group in found.values())


def prime_factors(number: int) -> tuple[int, ...]:
    """Prime factors, largest first: 12 is 3, 2, 2."""
    found, factor = [], 2
    while number > 1:
        while number % factor == 0:
            found.append(factor)
            number //= factor
        factor += 1
    return tuple(reversed(found))


def check_devices(devices: object) -> int:
    """A device count from a user. Raises MachineError unless it is a positive whole number."""
    if isinstance(devices, bool) or not isinstance(devices, int):
        raise MachineError(f"devices={devices!r}: the number of devices is a whole number, such as devices=2")
    if devices < 1:
        raise MachineError(f"devices={devices}: at least one device is needed, such as devices=2")
    return devices


def cpu(devices: int) -> Machine:
    """Processes on one host, one core each. Rates are rounded from `benchmarks/results/machine_cpu.md`."""
    sizes = prime_factors(check_devices(devices))
    axes = tuple(
        MeshAxis("cpu" if len(sizes) == 1 else f"cpu{k}", size, bytes_per_second=1.3e9, latency_seconds=1e-4)
        for k, size in enumerate(sizes)
    )
    return Machine(
        name=f"cpu-{devices}",
        axes=axes,
        flops_per_second=6e10,
        memory_bytes_per_second=8e9,
        memory_bytes=8e9,
        launch_seconds=1e-5,
    )


def load_machine(name: str, devices: int | None = None) -> Machine:
    """A preset (`cpu`) for `devices`, or a machine file (JSON). Raises MachineError with the place of the fault."""
    if name == "cpu" or name.startswith("cpu-") and name[4:].isdigit():
        own = int(name[4:]) if name != "cpu" else devices or 1
        return _enough(cpu(own), devices)
    path = Path(name)
    if not path.is_file():
        raise MachineError(f"machine {name!r} is neither a preset (cpu, cpu-N) nor a file")
    return _enough(decode_machine(path.read_bytes(), name), devices)


def decode_machine(data: bytes, place: str) -> Machine:
    """A Machine from JSON bytes."""
    try:
        return msgspec.json.decode(data, type=Machine)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MachineError(f"machine file {place}: {error}") from error


def _enough(machine: Machine, devices: int | None) -> Machine:
    if devices is not None and check_devices(devices) != machine.num_devices:
        raise MachineError(
            f"devices={devices}: machine {machine.name!r} has {machine.num_devices}"
            f" ({' x '.join(map(str, machine.sizes)) or '1'}); leave --devices out to use them all"
        )
    return machine


def _positive(what: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise MachineError(f"{what} is {value}, and must be positive and finite")


def _not_negative(what: str, value: float) -> None:
    if not (value >= 0 and math.isfinite(value)):
        raise MachineError(f"{what} is {value}, and must be finite and not negative")
