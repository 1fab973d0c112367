"""Samples -> Machine: the figures under which the price's own formulas are nearest to what was measured.

    multiplication   launch + max(2 m n k / (rate[dtype] * s / (s + half_size)), bytes / memory)      s = min(m, n, k)
    pass             launch + bytes / memory
    join             launch + max(operations / flops, bytes / memory)
    exchange         latency + sent / bandwidth

The sum over samples of rho(log(fitted / measured)) is least, so that a factor of two counts the same at a microsecond
and at a second; rho is smooth and grows linearly from 20 % on, so that a few disturbed samples do not decide
(`scipy.optimize.least_squares`, soft_l1). The first three are fitted together, since they share launch and memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from einsplit.calibrate.samples import Matmul, Pass, Pointwise, Samples
from einsplit.errors import MachineError
from einsplit.solver.machine import Machine, MeshAxis
from einsplit.solver.units import bytes_text

Numbers = NDArray[np.float64]
SCALE = 0.2  # of log(fitted / measured)
HALF_SIZES = (1.0, 4096.0)  # square matrices alone do not tell it from launch: it must not run away


@dataclass(frozen=True, slots=True)
class Row:
    """One sample, and what the fitted machine makes of it.

    `size` is what it is drawn over, `work` the operations or bytes of it; seconds `measured`, and `fitted`.
    """

    kind: str
    what: str
    size: float
    work: float
    measured: float
    fitted: float

    @property
    def error(self) -> float:
        """Relative: 0.1 where the fit is 10 % above what was measured."""
        return self.fitted / self.measured - 1.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """A machine fitted to samples, and how well."""

    machine: Machine
    rows: tuple[Row, ...]


def fit(samples: Samples, name: str, mesh: Sequence[int], memory_bytes: float) -> Calibration:
    """The machine of these samples, its axes one tier. Raises MachineError where there is too little to fit."""
    if not samples.matmuls or not samples.passes or not samples.pointwise or (mesh and not samples.exchanges):
        raise MachineError(
            "a machine is fitted to multiplications, passes, joins and exchanges: one of them is missing"
        )
    compute, seconds = _fit_compute(samples)
    latency, bandwidth = _fit_link(samples) if mesh else (0.0, 1.0)
    names = ["device"] if len(mesh) == 1 else [f"device{k}" for k in range(len(mesh))]
    machine = Machine(
        name=name,
        axes=tuple(MeshAxis(axis, size, bandwidth, latency) for axis, size in zip(names, mesh, strict=True)),
        flops_per_second=compute.flops,
        matmul_flops_per_second=compute.rates,
        half_size=compute.half_size,
        memory_bytes_per_second=compute.memory,
        memory_bytes=memory_bytes,
        launch_seconds=compute.launch,
    )
    rows = [replace(row, fitted=float(fitted)) for row, fitted in zip(_unfitted(samples), seconds, strict=True)]
    for row in samples.exchanges:
        over = f"{bytes_text(row.sent)} over {' x '.join(names[axis] for axis in row.axes)}"
        rows.append(Row("exchange", over, row.sent, row.sent, row.seconds, latency + row.sent / bandwidth))
    return Calibration(machine, tuple(rows))


@dataclass(frozen=True, slots=True)
class _Compute:
    launch: float
    memory: float
    flops: float
    half_size: float
    rates: dict[str, float]


def _unfitted(samples: Samples) -> list[Row]:
    """The samples of computing, in the order in which they are fitted."""
    rows = []
    for product in samples.matmuls:
        what = f"{product.m} x {product.n} x {product.k}"
        rows.append(
            Row(f"matmul {product.dtype}", what, _least(product), float(product.operations), product.seconds, 0.0)
        )
    for one in samples.passes:
        rows.append(Row("pass", bytes_text(one.nbytes), one.nbytes, one.nbytes, one.seconds, 0.0))
    for join in samples.pointwise:
        operations = join.operations
        rows.append(Row("join", f"{operations:,} operations", operations, operations, join.seconds, 0.0))
    return rows


def _least(row: Matmul) -> float:
    return float(min(row.m, row.n, row.k))


def _fit_compute(samples: Samples) -> tuple[_Compute, Numbers]:
    """The figures of one device, and the seconds that they give."""
    dtypes = sorted({row.dtype for row in samples.matmuls})
    products, passes, joins = samples.matmuls, samples.passes, samples.pointwise
    every: list[Matmul | Pass | Pointwise] = [*products, *passes, *joins]
    counted: list[Matmul | Pointwise] = [*products, *joins]
    operations = np.array([float(row.operations) for row in counted])
    nbytes = np.array([float(row.nbytes) for row in every])
    which = np.array([dtypes.index(row.dtype) for row in products])
    least = np.array([_least(row) for row in products])
    measured = np.array([row.seconds for row in every])

    def seconds(figures: Numbers) -> Numbers:
        launch, memory, flops, half_size = figures[:4]
        rates = figures[4:][which] / (1.0 + half_size / least)
        computing = [operations[: len(products)] / rates, np.zeros(len(passes)), operations[len(products) :] / flops]
        return np.asarray(launch + np.maximum(np.concatenate(computing), nbytes / memory))

    start = [
        measured.min(),
        max(row.nbytes / row.seconds for row in passes) / 2,
        max(row.operations / row.seconds for row in joins),
        8.0,
        *(max(row.operations / row.seconds for row in products if row.dtype == dtype) for dtype in dtypes),
    ]
    bounds = [(0.0, np.inf)] * len(start)
    bounds[3] = HALF_SIZES
    found = _nearest(seconds, measured, start, bounds)
    launch, memory, flops, half_size, *rates = map(float, found)
    return _Compute(launch, memory, flops, half_size, dict(zip(dtypes, rates, strict=True))), seconds(found)


def _fit_link(samples: Samples) -> tuple[float, float]:
    """Latency, and bytes per second."""
    sent = np.array([float(row.sent) for row in samples.exchanges])
    measured = np.array([row.seconds for row in samples.exchanges])

    def seconds(figures: Numbers) -> Numbers:
        return np.asarray(figures[0] + sent / figures[1])

    start = [float(measured.min()), float((sent / measured).max())]
    latency, bandwidth = _nearest(seconds, measured, start, [(0.0, np.inf)] * 2)
    return float(latency), float(bandwidth)


def _nearest(
    seconds: Callable[[Numbers], Numbers],
    measured: Numbers,
    start: Sequence[float],
    bounds: Sequence[tuple[float, float]],
) -> Numbers:
    """The positive figures under which `seconds` is nearest to what was measured, in ratios."""
    from scipy.optimize import least_squares  # here, where it is needed: it takes its time to load

    def ratios(logs: Numbers) -> Numbers:
        return np.log(seconds(np.exp(logs)) / measured)

    with np.errstate(divide="ignore"):  # log 0 is no bound
        limits = np.log(np.array(bounds).T)
    logs = np.log(np.array(start))
    found = least_squares(ratios, logs, bounds=tuple(limits), loss="soft_l1", f_scale=SCALE, max_nfev=2000)
    return np.exp(np.asarray(found.x, dtype=np.float64))
