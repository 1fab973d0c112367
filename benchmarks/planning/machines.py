"""What is planned for: five machines of at most two mesh axes, and two of finer meshes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from einsplit.solver.machine import Machine, load_machine, with_mesh

HOST_BYTES = 2.56e11  # of a core of the CPU machine: with the 8 GB of the preset no step of a large model would fit


def cpu() -> Machine:
    """Four cores of a host that has a terabyte."""
    return msgspec.structs.replace(load_machine("cpu-4"), memory_bytes=HOST_BYTES)


def _named(name: str) -> Callable[[], Machine]:
    return lambda: load_machine(name)


FINE_NAME = "h100x8 as 2x2x2"
MACHINES: Mapping[str, Callable[[], Machine]] = MappingProxyType(
    {
        "cpu-4": cpu,
        "a100x8": _named("a100x8"),
        "h100x8": _named("h100x8"),
        "h100x8x8": _named("h100x8x8"),
        "b200x72": _named("b200x72"),
        FINE_NAME: lambda: with_mesh(load_machine("h100x8"), (2, 2, 2)),
        "h100x8x16": _named("h100x8x16"),
    }
)
FINER = (FINE_NAME, "h100x8x16")  # meshes of more than two axes, for which there is no certificate
# A plan over the coarser mesh of a machine is one over its finer mesh, too.
COARSER: Mapping[str, str] = MappingProxyType({FINE_NAME: "h100x8"})
