"""Whether the figures of a plan are true: bytes exactly, seconds but for rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import get_args

from einsplit.solver.check.counted.prices import Prices
from einsplit.solver.check.faults import Fault
from einsplit.solver.machine import Machine
from einsplit.solver.plan import Plan, Status

TOLERANCE = 1e-6  # of seconds, relative


def machine_faults(machine: Machine) -> Iterator[Fault]:
    """Figures that no machine has."""
    figures = {key: getattr(machine, key) for key in ("flops_per_second", "memory_bytes_per_second", "memory_bytes")}
    figures |= {f"matmul_flops_per_second.{dtype}": rate for dtype, rate in machine.matmul_flops_per_second.items()}
    counts = {"launch_seconds": machine.launch_seconds, "half_size": machine.half_size}
    for axis, row in enumerate(machine.axes):
        figures[f"axes[{axis}].bytes_per_second"] = row.bytes_per_second
        counts[f"axes[{axis}].latency_seconds"] = row.latency_seconds
        if row.size < 2:
            yield Fault(f"$.machine.axes[{axis}].size", "", f"{row.size} devices are no axis")
    for key, figure in figures.items():
        if not 0 < figure < math.inf:
            yield Fault(f"$.machine.{key}", "", f"{figure} is not positive and finite")
    for key, count in counts.items():
        if not 0 <= count < math.inf:
            yield Fault(f"$.machine.{key}", "", f"{count} is negative or not finite")


def byte_faults(plan: Plan, prices: Prices) -> Iterator[Fault]:
    """Bytes sent: by node, in all, and by axes."""
    cuts, total = [row.cut for row in plan.nodes], 0
    for at, row in enumerate(plan.nodes):
        count = prices.row(cuts, at)[1]
        total += count
        if row.bytes != count:
            yield Fault(f"$.nodes[{at}].bytes", row.name, f"{row.bytes:,} B, and each device sends {count:,} B")
    if plan.bytes != total:
        yield Fault("$.bytes", "", f"{plan.bytes:,} B, and each device sends {total:,} B")
    names = [axis.name for axis in plan.machine.axes]
    by_axes = prices.bytes_by_axes(cuts)
    counted = {" x ".join(names[axis] for axis in axes): count for axes, count in by_axes.items()}
    for name in sorted({*counted, *plan.bytes_by_axis}):
        said, count = plan.bytes_by_axis.get(name, 0), counted.get(name, 0)
        if said != count:
            yield Fault(f"$.bytes_by_axis[{name!r}]", "", f"{said:,} B, and each device sends {count:,} B")


def second_faults(plan: Plan, prices: Prices) -> Iterator[Fault]:
    """Seconds: by node and in all."""
    cuts, total = [row.cut for row in plan.nodes], 0.0
    for at, row in enumerate(plan.nodes):
        seconds = prices.row(cuts, at)[0]
        total += seconds
        if not math.isclose(row.seconds, seconds, rel_tol=TOLERANCE):
            yield Fault(f"$.nodes[{at}].seconds", row.name, _not_equal(row.seconds, seconds))
    if not math.isclose(plan.seconds, total, rel_tol=TOLERANCE):
        yield Fault("$.seconds", "", _not_equal(plan.seconds, total))


def _not_equal(said: float, found: float) -> str:
    return f"{said:.9g} s, and counted anew {found:.9g} s"


def runner_up_price_faults(plan: Plan, prices: Prices) -> Iterator[Fault]:
    """What the runners-up would cost more, all else as it is."""
    cuts = [row.cut for row in plan.nodes]
    for at, row in enumerate(plan.nodes):
        if row.runner_up is None:
            continue
        now = prices.around(cuts, at)
        cuts[at] = row.runner_up
        other = prices.around(cuts, at)
        cuts[at] = row.cut
        if abs(other - now - row.runner_up_seconds) > TOLERANCE * (other + now):
            mistake = _not_equal(row.runner_up_seconds, other - now)
            yield Fault(f"$.nodes[{at}].runner_up_seconds", row.name, mistake)


def bound_faults(plan: Plan) -> Iterator[Fault]:
    """A bound above the plan, a gap that is not between them, a status that nobody knows."""
    if plan.status not in get_args(Status):
        yield Fault("$.status", "", f"{plan.status!r} is none of {' '.join(get_args(Status))}")
    if plan.bound is None or plan.gap is None:
        if plan.bound is not plan.gap:
            yield Fault("$.gap", "", f"bound {plan.bound} and gap {plan.gap}: there are both or none")
        return
    if plan.bound > plan.seconds * (1 + TOLERANCE):
        yield Fault("$.bound", "", f"{plan.bound:.9g} s, above the plan's {plan.seconds:.9g} s")
    if not math.isclose(plan.bound * (1 + plan.gap), plan.seconds, rel_tol=TOLERANCE):
        mistake = f"{plan.gap:.9g} does not lead from the bound of {plan.bound:.9g} s to {plan.seconds:.9g} s"
        yield Fault("$.gap", "", mistake)
