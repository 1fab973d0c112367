"""All devices at once, on threads of this process or on Ray workers, and the slowest of what they measure."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, TypeVar

import torch

from einsplit.calibrate.device import Say, measure_device
from einsplit.calibrate.samples import Exchange, Matmul, Pass, Pointwise, Samples, Sizes
from einsplit.errors import RunError
from einsplit.runtime.transport.distributed import DistributedTransport, FileRendezvous
from einsplit.runtime.transport.threads import ThreadHub

if TYPE_CHECKING:
    from ray.actor import ActorHandle

TIMEOUT_SECONDS = 300.0
JOIN_SECONDS = 5.0  # until threads that were told to stop have stopped
Sample = TypeVar("Sample", Matmul, Pass, Pointwise, Exchange)


def on_threads(mesh: Sequence[int], sizes: Sizes, say: Say) -> Samples:
    """Samples of as many threads as the mesh has devices. An interrupt ends them."""
    num_devices = prod(mesh)
    hub = ThreadHub(num_devices, TIMEOUT_SECONDS)
    done: queue.SimpleQueue[Samples | BaseException] = queue.SimpleQueue()

    def serve(number: int) -> None:
        try:
            done.put(measure_device(hub.transports[number], mesh, sizes, say if number == 0 else _silent))
        except BaseException as error:
            hub.abort(number, error)
            done.put(error)

    threads = [threading.Thread(target=serve, args=(number,), daemon=True) for number in range(num_devices)]
    before = torch.get_num_threads()
    try:
        for thread in threads:
            thread.start()
        found = []
        for _ in threads:
            one = done.get()
            if not isinstance(one, Samples):
                raise RunError(f"calibrating failed: {type(one).__name__}: {one}") from one
            found.append(one)
        return slowest(found)
    finally:
        hub.abort(-1, RunError("the calibration has ended"))
        for thread in threads:
            if thread.ident is not None:  # interrupted, it may not have been started
                thread.join(JOIN_SECONDS)
        torch.set_num_threads(before)  # what later threads start with is what the last one was told


class Meter:
    """The body of a Ray actor: one device. Nothing here knows Ray."""

    def measure(self, device: int, mesh: tuple[int, ...], sizes: Sizes, directory: str) -> Samples:
        transport = DistributedTransport(device, prod(mesh), FileRendezvous(directory), TIMEOUT_SECONDS)
        try:
            return measure_device(transport, mesh, sizes, _silent)
        finally:
            transport.close()


def on_ray(mesh: Sequence[int], sizes: Sizes, say: Say) -> Samples:
    """Samples of as many Ray workers, in a cluster on this machine as a run would start. An interrupt ends them."""
    from einsplit.runtime.ray_start import RayLease  # before Ray itself: it sets Ray's environment

    say(f"starting {prod(mesh)} Ray workers")
    lease = RayLease(prod(mesh))
    directory = tempfile.mkdtemp(prefix="einsplit-")  # mode 0700
    workers: list[ActorHandle[Meter]] = []
    try:
        import ray

        if not lease.connection.private:
            raise RunError(
                "a calibration on Ray measures workers of this machine, in a cluster of its own: "
                "unset RAY_ADDRESS, and do not initialise Ray before."
            )
        workers = [_worker() for _ in range(prod(mesh))]
        say(f"measuring on {prod(mesh)} Ray workers")
        rows = enumerate(workers)
        calls = [worker.measure.remote(device, tuple(mesh), sizes, directory) for device, worker in rows]
        try:
            found: list[Samples] = ray.get(calls, timeout=TIMEOUT_SECONDS)
        except ray.exceptions.RayError as error:
            raise RunError(f"calibrating on Ray failed: {error}") from error
        return slowest(found)
    finally:
        if lease.alive():
            for worker in workers:
                ray.kill(worker)
        lease.release()
        shutil.rmtree(directory, ignore_errors=True)


def _worker() -> ActorHandle[Meter]:
    import ray
    from ray.actor import ActorHandle

    worker = ray.remote(Meter).options(num_cpus=0, max_restarts=0).remote()
    assert isinstance(worker, ActorHandle)
    return worker


def slowest(found: Sequence[Samples]) -> Samples:
    """Each sample of the device that took longest: a step waits for it."""
    return Samples(
        matmuls=_slowest([samples.matmuls for samples in found]),
        passes=_slowest([samples.passes for samples in found]),
        pointwise=_slowest([samples.pointwise for samples in found]),
        exchanges=_slowest([samples.exchanges for samples in found]),
    )


def _slowest(found: Sequence[tuple[Sample, ...]]) -> tuple[Sample, ...]:
    rows = zip(*found, strict=True)
    return tuple(replace(row[0], seconds=max(sample.seconds for sample in row)) for row in rows)


def _silent(what: str) -> None:
    """Only one device tells how far it is."""
