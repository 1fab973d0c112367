"""`calibrate`: measure this machine, and fit a Machine to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from einsplit.calibrate.fitting import Calibration, fit
from einsplit.calibrate.samples import FULL, QUICK
from einsplit.errors import MachineError, advice
from einsplit.solver.machine import check_devices, prime_factors

if TYPE_CHECKING:
    import torch

BACKENDS = ("threads", "ray")
MAX_HERE = 256  # devices of one machine: as many threads or processes run at once


def calibrate(
    devices: int = 2,
    backend: str = "threads",
    quick: bool = False,
    say: Callable[[str], None] = lambda what: None,
) -> Calibration:
    """The machine at hand with so many devices, one thread each, joined as the runtime joins them.

    `say` is told what is measured next. `quick`: a few seconds, and rougher figures. Raises MachineError for what
    cannot be measured, RunError where a device fails. Links are between tensors in host memory.
    """
    if backend not in BACKENDS:
        raise MachineError(f"unknown backend {backend!r}.", advice(backend, BACKENDS))
    if check_devices(devices) > MAX_HERE:
        raise MachineError(f"devices={devices}: one machine is measured with at most {MAX_HERE} devices")
    from einsplit.calibrate.device import compute_device  # loads torch
    from einsplit.calibrate.devices import on_ray, on_threads

    mesh = prime_factors(devices)
    samples = {"threads": on_threads, "ray": on_ray}[backend](mesh, QUICK if quick else FULL, say)
    say("fitting")
    return fit(samples, f"measured-{backend}-{devices}", mesh, _memory_bytes(compute_device(0), devices))


def _memory_bytes(device: torch.device, devices: int) -> float:
    """Bytes of one device: a GPU's own, else its share of the host's."""
    import torch

    if device.type == "cuda":
        sharing = -(-devices // torch.cuda.device_count())
        return float(torch.cuda.get_device_properties(device).total_memory / sharing)
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / devices)
