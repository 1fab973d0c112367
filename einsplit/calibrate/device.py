"""What one device measures, while the others do the same: they share memory, caches and cores as in a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import product
from math import prod

import torch

from einsplit.calibrate import kernels
from einsplit.calibrate.samples import Exchange, Matmul, Pass, Pointwise, Samples, Sizes
from einsplit.runtime.transport import Transport

Say = Callable[[str], None]


def measure_device(transport: Transport, mesh: Sequence[int], sizes: Sizes, say: Say) -> Samples:
    """Everything in turn; all devices of the mesh call this at the same time, each in its own thread or process."""
    torch.get_num_threads()  # torch sets the number up when it is first asked for, and would then undo the next line
    torch.set_num_threads(1)
    every = tuple(range(prod(mesh)))
    compute = compute_device(transport.device)

    def together(what: str) -> None:
        say(what)
        transport.all_to_all([torch.zeros(1)] * len(every), every)

    with torch.no_grad():
        matmuls, passes, pointwise = [], [], []
        for dtype, shape in sizes.matmuls:
            together(f"multiplying {dtype} matrices of {' x '.join(map(str, shape))}")
            made = kernels.matmul(dtype, shape, compute)
            matmuls.append(Matmul(dtype, *shape, kernels.least_seconds(made.run, sizes.seconds, sizes.repeats)))
        for nbytes in sizes.passes:
            together(f"passing over {nbytes:,} bytes")
            made = kernels.one_pass(nbytes, compute)
            passes.append(Pass(made.nbytes, kernels.least_seconds(made.run, sizes.seconds, sizes.repeats)))
        for elements in sizes.pointwise:
            together(f"computing with {elements:,} elements")
            made = kernels.pointwise(elements, compute)
            seconds = kernels.least_seconds(made.run, sizes.seconds, sizes.repeats)
            pointwise.append(Pointwise(made.operations, made.nbytes, seconds))
        exchanges = []
        for axes, size in product(exchanged_axes(mesh), sizes.exchanges):
            together(f"exchanging {size:,} bytes over {len(axes)} of {len(mesh)} axes")
            exchanges.append(_exchange(transport, mesh, axes, size, sizes.repeats))
    return Samples(tuple(matmuls), tuple(passes), tuple(pointwise), tuple(exchanges))


def compute_device(number: int) -> torch.device:
    """The GPU of a logical device where there are any, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda", number % torch.cuda.device_count())
    return torch.device("cpu")


def exchanged_axes(mesh: Sequence[int]) -> list[tuple[int, ...]]:
    """Each axis by itself, and all of them as one."""
    found: list[tuple[int, ...]] = [(axis,) for axis in range(len(mesh))]
    return [*found, tuple(range(len(mesh)))] if len(mesh) > 1 else found


def group_of(device: int, mesh: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """The devices that differ from this one along these axes only, in order; the last axis counts fastest."""
    strides = [prod(mesh[axis + 1 :]) for axis in range(len(mesh))]
    base = device - sum(device // strides[axis] % mesh[axis] * strides[axis] for axis in axes)
    steps = product(*(range(mesh[axis]) for axis in axes))
    return tuple(base + sum(at * strides[axis] for at, axis in zip(step, axes, strict=True)) for step in steps)


def _exchange(transport: Transport, mesh: Sequence[int], axes: tuple[int, ...], size: int, repeats: int) -> Exchange:
    """An all-to-all among ready devices, in all groups along the axes at once; equally often on every device."""
    group = group_of(transport.device, mesh, axes)
    pieces = [torch.ones(max(1, size // 4)) for _ in group]
    taken = []
    for turn in range(3 * repeats + 1):
        started = time.perf_counter()
        transport.all_to_all(pieces, group)
        if turn:  # the first warms up
            taken.append(time.perf_counter() - started)
    return Exchange(axes, (len(group) - 1) * pieces[0].nbytes, min(taken))
