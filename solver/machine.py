"""The devices a plan is made for: a mesh of axes from slowest to fastest link, and the rates of one device.

A *tier* is a run of axes over the same link: six devices on one link are the axes 3 and 2 of one tier, so that a plan
may cut by three here and by two there, and collectives over both are one collective.
"""

from __future__ import annotations

import math
import re
from itertools import groupby
from pathlib import Path
from typing import TypeGuard

import msgspec

from einsplit.errors import MachineError
from einsplit.solver.units import bytes_text, rate_text, seconds_text

MAX_DEVICES = 2**16
MAX_FILE_BYTES = 2**20
PRESET = re.compile(r"cpu-[0-9]{1,9}")


class MeshAxis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One axis of the mesh: `size` devices in a row, joined by links of one kind."""

    name: str
    size: int
    bytes_per_second: float
    latency_seconds: float

    @property
    def link(self) -> tuple[float, float]:
        """Equal for axes of one tier: bytes per second and latency."""
        return self.bytes_per_second, self.latency_seconds


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`axes` from slowest to fastest link; rates, sizes and overheads are those of one device.

    >>> slow = Machine(name="desk", axes=(MeshAxis("lan", 2, 1e8, 1e-3),), flops_per_second=6e10,
    ...                memory_bytes_per_second=8e9, memory_bytes=8e9, launch_seconds=1e-5)

    `print` shows it as a table. Raises MachineError for figures that no machine has.
    """

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
            if isinstance(axis.size, bool) or not isinstance(axis.size, int):
                raise MachineError(f"{where}: size is {axis.size!r}, and must be a whole number")
            if axis.size < 2:
                raise MachineError(f"{where}: size is {axis.size}, and an axis has at least 2 devices: leave it out")
            _positive(f"{where}: bytes_per_second", axis.bytes_per_second)
            _not_negative(f"{where}: latency_seconds", axis.latency_seconds)
        if self.num_devices > MAX_DEVICES:
            raise MachineError(
                f"machine {self.name!r} has {self.num_devices:,} devices, and einsplit plans for at most "
                f"{MAX_DEVICES:,}"
            )

    def __str__(self) -> str:
        """The machine as a table."""
        devices = "1 device" if self.num_devices == 1 else f"{self.num_devices} devices"
        lines = [
            f"machine {self.name}: {devices}, each {rate_text(self.flops_per_second, 'FLOP')}, "
            f"{bytes_text(self.memory_bytes)} at {rate_text(self.memory_bytes_per_second, 'B')}, "
            f"launch {seconds_text(self.launch_seconds)}"
        ]
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
        return tuple(tuple(group) for _, group in groupby(range(len(self.axes)), key=lambda k: self.axes[k].link))


def prime_factors(number: int) -> tuple[int, ...]:
    """Prime factors, largest first: 12 is 3, 2, 2."""
    found, factor = [], 2
    while factor * factor <= number:
        while number % factor == 0:
            found.append(factor)
            number //= factor
        factor += 1
    return tuple(reversed([*found, number] if number > 1 else found))


def check_devices(devices: object) -> int:
    """A device count from a user. Raises MachineError unless it is a positive whole number within reason."""
    if isinstance(devices, bool) or not isinstance(devices, int):
        raise MachineError(f"devices={devices!r}: the number of devices is a whole number, such as devices=2")
    if devices < 1:
        raise MachineError(f"devices={devices}: at least one device is needed, such as devices=2")
    if devices > MAX_DEVICES:
        raise MachineError(f"devices={devices}: einsplit plans for at most {MAX_DEVICES:,}")
    return devices


def cpu(devices: int) -> Machine:
    """Processes on one host, one core each: round starting values, not those of your host.

    `python -m benchmarks machine_cpu` sets yours beside them; describe your host in a machine file.
    """
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
    """A preset (`cpu` for `devices`, `cpu-4`) or a machine file (JSON).

    Raises MachineError, with the place of the fault in a file, for a machine that is not there or cannot be,
    and where it does not have `devices` devices.
    """
    if devices is not None:
        check_devices(devices)
    if name == "cpu":
        if devices is None:
            raise MachineError("machine 'cpu' has as many devices as are asked for: say how many, such as devices=2")
        return cpu(devices)
    if PRESET.fullmatch(name):
        return _enough(cpu(int(name.removeprefix("cpu-"))), devices)
    path = Path(name)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise MachineError(f"machine file {name} has {size:,} bytes; a machine has at most {MAX_FILE_BYTES:,}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise MachineError(f"machine {name!r} is neither a preset (cpu, cpu-N) nor a file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise MachineError(f"machine file {name} cannot be read: {reason}") from error
    return _enough(decode_machine(data, name), devices)


def decode_machine(data: bytes, place: str) -> Machine:
    """A Machine from JSON bytes."""
    try:
        return msgspec.json.decode(data, type=Machine)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # A ValidationError too: what `__post_init__` refuses comes with the place in the file.
        raise MachineError(f"machine file {place}: {error}") from error


def _enough(machine: Machine, devices: int | None) -> Machine:
    if devices is not None and devices != machine.num_devices:
        raise MachineError(
            f"devices={devices}: machine {machine.name!r} has {machine.num_devices}"
            f" ({' x '.join(map(str, machine.sizes)) or '1'}); leave the number out to use them all"
        )
    return machine


def _positive(what: str, value: object) -> None:
    if not (_is_number(value) and 0 < value < math.inf):
        raise MachineError(f"{what} is {value!r}, and must be positive and finite")


def _not_negative(what: str, value: object) -> None:
    if not (_is_number(value) and 0 <= value < math.inf):
        raise MachineError(f"{what} is {value!r}, and must be finite and not negative")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
