"""Mesh axes: how many devices in a row, over which link; and how a number of devices becomes axes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from einsplit.errors import MachineError

if TYPE_CHECKING:
    from einsplit.solver.machine.machine import Machine

MAX_DEVICES = 2**16
COARSE = 8  # devices of an axis of a slow tier, at most, where they can be divided so
MESH = re.compile(r"[0-9]{1,9}(x[0-9]{1,9})*")
MESH_ADVICE = "A mesh is written as sizes from the slowest link to the fastest, such as 2x2x2."


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


def prime_factors(number: int) -> tuple[int, ...]:
    """Prime factors, largest first: 12 is 3, 2, 2."""
    found, factor = [], 2
    while factor * factor <= number:
        while number % factor == 0:
            found.append(factor)
            number //= factor
        factor += 1
    return tuple(reversed([*found, number] if number > 1 else found))


def square_factors(number: int) -> tuple[int, ...]:
    """Two factors as near to each other as can be, or the number itself: 8 is 2, 4; 72 is 8, 9; 7 is 7; 1 is none."""
    least = max(factor for factor in range(1, math.isqrt(number) + 1) if number % factor == 0)
    return tuple(factor for factor in (least, number // least) if factor > 1)


def coarse_factors(number: int) -> tuple[int, ...]:
    """Factors of at most 8, each as large as can be; larger primes as they are: 2,048 is 8, 8, 8, 4; 22 is 2, 11."""
    found = []
    while number > 1:
        fitting = max(factor for factor in range(1, COARSE + 1) if number % factor == 0)
        found.append(fitting if fitting > 1 else prime_factors(number)[0])
        number //= found[-1]
    return tuple(found)


def tier_axes(name: str, sizes: Sequence[int], bytes_per_second: float, latency_seconds: float) -> tuple[MeshAxis, ...]:
    """The axes of one tier: `name` where there is one, `name0`, `name1`, ... where there are several."""
    names = [name] if len(sizes) == 1 else [f"{name}{k}" for k in range(len(sizes))]
    return tuple(MeshAxis(*row, bytes_per_second, latency_seconds) for row in zip(names, sizes, strict=True))


def check_devices(devices: object) -> int:
    """A device count from a user. Raises MachineError unless it is a positive whole number within reason."""
    if isinstance(devices, bool) or not isinstance(devices, int):
        raise MachineError(f"devices={devices!r}: the number of devices is a whole number, such as devices=2")
    if devices < 1:
        raise MachineError(f"devices={devices}: at least one device is needed, such as devices=2")
    if devices > MAX_DEVICES:
        raise MachineError(f"devices={devices}: einsplit plans for at most {MAX_DEVICES:,}")
    return devices


def with_mesh(machine: Machine, mesh: str | Sequence[int]) -> Machine:
    """The machine with its tiers split anew: "2x2x2" for a node of eight.

    `mesh` are sizes from slowest to fastest link; consecutive ones multiply to the size of each tier, in order.
    Raises MachineError where they do not.
    """
    sizes = _mesh_sizes(mesh)
    tiers = [[machine.axes[axis] for axis in tier] for tier in machine.tiers]
    wanted = [math.prod(axis.size for axis in tier) for tier in tiers]
    split = list(_split(sizes, wanted))
    if len(split) != len(wanted) or sum(map(len, split)) != len(sizes):
        tier_sizes = " x ".join(map(str, wanted)) or "1"
        raise MachineError(
            f"mesh {'x'.join(map(str, sizes))} does not fit machine {machine.name!r}, whose tiers are {tier_sizes}.",
            "The sizes multiply to those of the tiers, from the slowest link to the fastest.",
        )
    names = [_tier_name(tier) for tier in tiers]
    if len(set(names)) != len(names):
        names = [f"{name}{k}_" for k, name in enumerate(names)]
    rows = zip(names, split, tiers, strict=True)
    axes = [axis for name, parts, tier in rows for axis in tier_axes(name, parts, *tier[0].link)]
    return msgspec.structs.replace(machine, axes=tuple(axes))


def _mesh_sizes(mesh: str | Sequence[int]) -> list[int]:
    """Sizes from what a user gives for a mesh. Raises MachineError unless they are sizes of axes."""
    if isinstance(mesh, str) and not MESH.fullmatch(mesh):
        raise MachineError(f"mesh {mesh!r} is not a mesh.", MESH_ADVICE)
    sizes = [int(size) for size in mesh.split("x")] if isinstance(mesh, str) else list(mesh)
    if not all(isinstance(size, int) and not isinstance(size, bool) for size in sizes):
        raise MachineError(f"mesh {sizes!r} is not a mesh.", MESH_ADVICE)
    if any(size < 2 for size in sizes):
        raise MachineError(f"mesh {'x'.join(map(str, sizes))}: an axis has at least 2 devices: leave it out")
    return sizes


def _split(sizes: Sequence[int], wanted: Sequence[int]) -> Iterator[list[int]]:
    """For each tier the next sizes, until they multiply to its own; no more where they do not."""
    at = 0
    for size in wanted:
        part: list[int] = []
        while math.prod(part) < size and at < len(sizes):
            part.append(sizes[at])
            at += 1
        if math.prod(part) != size:
            return
        yield part


def _tier_name(tier: Sequence[MeshAxis]) -> str:
    """What its axes are called but for numbers at the end."""
    names = {axis.name.rstrip("0123456789") for axis in tier}
    return names.pop() if len(names) == 1 else tier[0].name
