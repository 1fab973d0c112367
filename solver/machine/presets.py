"""Machines by name: `cpu-4`, `h100x8`, `h100x8x16` (16 nodes of 8), or a machine file.

The mesh of a preset: one node of 8 is the two axes 2 x 4 of one tier, a rack of 72 is 8 x 9. Of several nodes, a node
of at most 8 is one axis, and the nodes are axes of at most 8: 8 nodes one, 2,048 nodes 8 x 8 x 8 x 4. So one node and
eight nodes of eight have two axes each, over which a plan can be certified. `with_mesh` splits them otherwise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from einsplit.errors import MachineError, did_you_mean
from einsplit.solver.machine.files import read_machine
from einsplit.solver.machine.hardware import GPUS, Figure, Gpu
from einsplit.solver.machine.machine import Machine
from einsplit.solver.machine.mesh import (
    COARSE,
    MAX_DEVICES,
    check_devices,
    coarse_factors,
    prime_factors,
    square_factors,
    tier_axes,
)

CPU = re.compile(r"cpu-([0-9]{1,9})")
CLUSTER = re.compile(r"([a-z]+[0-9]+)x([0-9]{1,9})(?:x([0-9]{1,9}))?")
NODES = tuple(f"{name}x{gpu.node_size}" for name, gpu in GPUS.items())
NAMES = ("cpu", "cpu-N", *NODES)
KNOWN = f"Presets: {', '.join(NAMES)}, fewer GPUs of a node (h100x4), several nodes (h100x8x16)."

ROUND = "a round starting value of one core, not yours: `einsplit calibrate` measures yours"
CPU_FIGURES: Mapping[str, Figure] = {
    "flops_per_second": Figure(6e10, f"{ROUND}; float32 products of matrices, one thread"),
    "memory_bytes_per_second": Figure(8e9, f"{ROUND}; a pass into new storage"),
    "memory_bytes": Figure(8e9, ROUND),
    "launch_seconds": Figure(1e-5, f"{ROUND}; a small kernel from Python"),
    "cpu.bytes_per_second": Figure(1.3e9, f"{ROUND}; gloo between two processes, `python -m benchmarks machine_cpu`"),
    "cpu.latency_seconds": Figure(1e-4, f"{ROUND}; gloo between two processes"),
}


@dataclass(frozen=True, slots=True)
class Preset:
    """A machine, what it is, and the source of every figure by the name of its field: `gpu.bytes_per_second`."""

    machine: Machine
    title: str
    figures: Mapping[str, Figure]


def cpu(devices: int) -> Machine:
    """Processes on one host, one core each: round starting values, not those of your host.

    `einsplit calibrate` measures yours.
    """
    value = {field: figure.value for field, figure in CPU_FIGURES.items()}
    link = value["cpu.bytes_per_second"], value["cpu.latency_seconds"]
    return Machine(
        name=f"cpu-{devices}",
        axes=tier_axes("cpu", prime_factors(check_devices(devices)), *link),
        flops_per_second=value["flops_per_second"],
        memory_bytes_per_second=value["memory_bytes_per_second"],
        memory_bytes=value["memory_bytes"],
        launch_seconds=value["launch_seconds"],
    )


def preset(name: str) -> Preset | None:
    """The preset of that name; None where it is none. Raises MachineError for one with numbers that cannot be."""
    found = CPU.fullmatch(name)
    if found:
        made = cpu(int(found[1]))
        return Preset(made, "processes on one host, one core each", _of_axes(CPU_FIGURES, made))
    found = CLUSTER.fullmatch(name)
    if not found or found[1] not in GPUS:
        return None
    gpu, node_size, num_nodes = GPUS[found[1]], int(found[2]), int(found[3] or 1)
    _check_cluster(name, found[1], node_size, num_nodes)
    made = _cluster(name, gpu, node_size, num_nodes)
    nodes = "one node" if num_nodes == 1 else f"{num_nodes:,} nodes"
    title = f"{nodes} of {node_size} {'GPU' if node_size == 1 else 'GPUs'}, {gpu.title}"
    return Preset(made, title, dict(gpu.figures(num_nodes, node_size)))


def _of_axes(figures: Mapping[str, Figure], machine: Machine) -> Mapping[str, Figure]:
    """Without those of links, where there are none."""
    return {field: figure for field, figure in figures.items() if machine.axes or "." not in field}


def _check_cluster(name: str, gpu: str, node_size: int, num_nodes: int) -> None:
    most = GPUS[gpu].node_size
    if node_size < 1 or num_nodes < 1:
        raise MachineError(f"machine {name!r}: nodes and the GPUs of each count from 1, such as {gpu}x{most}x2")
    if node_size > most:
        advice = f"{math.ceil(node_size / most)} nodes are {gpu}x{most}x{math.ceil(node_size / most)}."
        raise MachineError(f"machine {name!r}: a node of {gpu} has at most {most} GPUs.", advice)
    if node_size * num_nodes > MAX_DEVICES:
        many = f"{node_size * num_nodes:,}"
        raise MachineError(f"machine {name!r} has {many} devices, and einsplit plans for at most {MAX_DEVICES:,}")


def _cluster(name: str, gpu: Gpu, node_size: int, num_nodes: int) -> Machine:
    one_axis = num_nodes > 1 and 1 < node_size <= COARSE
    inner = (node_size,) if one_axis else square_factors(node_size)
    rows = (("node", coarse_factors(num_nodes), gpu.between), ("gpu", inner, gpu.inside))
    return Machine(
        name=name,
        axes=tuple(
            axis
            for tier, sizes, link in rows
            for axis in tier_axes(tier, sizes, link.bytes_per_second.value, link.latency_seconds.value)
        ),
        flops_per_second=gpu.flops_per_second.value,
        matmul_flops_per_second={dtype: rate.value for dtype, rate in gpu.matmul_flops_per_second.items()},
        half_size=gpu.half_size.value,
        memory_bytes_per_second=gpu.memory_bytes_per_second.value,
        memory_bytes=gpu.memory_bytes.value,
        launch_seconds=gpu.launch_seconds.value,
    )


def load_machine(name: str, devices: int | None = None) -> Machine:
    """A preset (`cpu` for `devices`, `cpu-4`, `h100x8`, `h100x8x16`) or a machine file (JSON).

    Raises MachineError, with the place of the fault in a file, for a machine that is not there or cannot be,
    and where it does not have `devices` devices.
    """
    if devices is not None:
        check_devices(devices)
    if name == "cpu":
        if devices is None:
            raise MachineError("machine 'cpu' has as many devices as are asked for: say how many, such as devices=2")
        return cpu(devices)
    found = preset(name)
    if found is not None:
        return _enough(found.machine, devices)
    try:
        return _enough(read_machine(name), devices)
    except FileNotFoundError:
        guess = did_you_mean(name, NAMES)
        raise MachineError(f"machine {name!r} is neither a preset nor a file.", guess, KNOWN) from None


def _enough(machine: Machine, devices: int | None) -> Machine:
    if devices is not None and devices != machine.num_devices:
        raise MachineError(
            f"devices={devices}: machine {machine.name!r} has {machine.num_devices}"
            f" ({' x '.join(map(str, machine.sizes)) or '1'}); leave the number out to use them all"
        )
    return machine
