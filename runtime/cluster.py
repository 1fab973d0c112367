"""A Session on Ray: a worker process per device.

Ray places the processes and carries control messages, one call per worker per step. Tensors move between the
workers by `torch.distributed`, and through Ray's object store only as feeds, fetches and first weights.
"""

import os
import shutil
import signal
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einsplit.errors import RunError, WorkerError
from einsplit.runtime.ray_start import RayLease
from einsplit.runtime.session import Blocks, DeviceTraffic, Session
from einsplit.runtime.transport.distributed import FileRendezvous, TcpRendezvous
from einsplit.runtime.worker import Failure, Presence, Reply, Worker, pack, unpack
from einsplit.solver.program import Program

if TYPE_CHECKING:
    # Elsewhere in this file Ray is imported where it is used: `ray_start` must set its environment first.
    from ray import ObjectRef
    from ray.actor import ActorHandle

__all__ = ["RaySession"]

# A broken exchange names no culprit. Ray reports a dead process within about a second: what is to blame shows by then.
ECHO_SECONDS = 10.0
# Until workers that were told to stop are gone.
STOP_SECONDS = 10.0


@dataclass(slots=True)
class Holdings:
    """What a session must give back, apart from it so that a forgotten session gives it back too."""

    lease: RayLease
    actors: "list[ActorHandle[Worker]]"
    local_pids: list[int]
    directory: str | None = None


class RaySession(Session):
    """An actor per device, in the user's Ray cluster or in a private one on this machine (see `ray_start`).

    `start_timeout_seconds` bounds the time until all workers run and have met; `timeout_seconds` every later
    wait. Raises RunError if the cluster has no room for the workers, WorkerError if one dies.
    """

    def __init__(
        self, program: Program, *, start_timeout_seconds: float = 120.0, timeout_seconds: float = 600.0
    ) -> None:
        super().__init__(program)
        self._timeout_seconds = timeout_seconds
        self._presences: list[Presence] = []
        self._holdings = Holdings(RayLease(program.num_devices), [], [])
        self._give_back = weakref.finalize(self, give_back, self._holdings)
        with self._ending_on_error("starting the workers") as doing:
            self._start(start_timeout_seconds, doing)

    @property
    def pids(self) -> tuple[int, ...]:
        """The workers' process ids, by device."""
        return tuple(presence.pid for presence in self._presences)

    def _start(self, timeout_seconds: float, doing: str) -> None:
        num_devices = self.program.num_devices
        # A private cluster is ours alone: its workers always find room, on however few CPUs.
        cpus_each = 0 if self._holdings.lease.connection.private else 1
        self._holdings.actors = [start_worker(device, cpus_each) for device in range(num_devices)]
        self._presences = self._present(timeout_seconds)
        here = self._holdings.lease.connection.node
        self._holdings.local_pids = [presence.pid for presence in self._presences if presence.node == here]
        rendezvous = self._rendezvous(here)
        program = self.program.to_bytes()
        calls = [
            call(actor, "join", program, num_devices, rendezvous, self._timeout_seconds)
            for actor in self._holdings.actors
        ]
        self._answers(calls, doing, timeout_seconds)

    def _present(self, timeout_seconds: float) -> list[Presence]:
        import ray

        calls = [call(actor, "presence") for actor in self._holdings.actors]
        started, waiting = ray.wait(calls, num_returns=len(calls), timeout=timeout_seconds)
        if waiting:
            raise RunError(
                f"only {len(started)} of {len(calls)} workers started within {timeout_seconds:g} s. "
                f"The program needs {len(calls)} CPUs of the Ray cluster, one per worker; it has "
                f"{num_cpus(ray.cluster_resources):g}, of which "
                f"{num_cpus(ray.available_resources):g} are free now."
            )
        presences = []
        for device, reference in enumerate(calls):
            try:
                presence = ray.get(reference)
            except ray.exceptions.RayError as error:
                raise WorkerError(f"worker {device} could not be started: {error}") from error
            assert isinstance(presence, Presence)
            presences.append(presence)
        return presences

    def _rendezvous(self, here: str) -> FileRendezvous | TcpRendezvous:
        if all(presence.node == here for presence in self._presences):
            self._holdings.directory = tempfile.mkdtemp(prefix="einsplit-")  # mode 0700
            return FileRendezvous(self._holdings.directory)
        return TcpRendezvous(self._presences[0].host, self._presences[0].free_port)

    def _put_blocks(self, blocks: list[Blocks], doing: str) -> None:
        self._all("put", blocks, doing)

    def _step_blocks(self, blocks: list[Blocks], doing: str) -> list[Blocks]:
        replies = self._all("step", blocks, doing)
        self.traffic = tuple(DeviceTraffic(reply.counters, reply.bytes_sent) for reply in replies)
        self.peak_bytes = tuple(reply.peak_bytes for reply in replies)
        return [unpack(reply.blocks) for reply in replies]

    def _state_blocks(self, doing: str) -> list[Blocks]:
        nothing: list[Blocks] = [{} for _ in self._holdings.actors]
        return [unpack(reply.blocks) for reply in self._all("state", nothing, doing)]

    def _all(self, method: str, blocks: list[Blocks], doing: str) -> list[Reply]:
        """Call the method of every worker with its own blocks."""
        # Without this, Ray would quietly start another cluster, with its own defaults.
        if not self._holdings.lease.alive():
            raise RunError(f"Ray was shut down before {doing}; the workers are gone.")
        actors = self._holdings.actors
        calls = [call(actor, method, pack(own)) for actor, own in zip(actors, blocks, strict=True)]
        return self._answers(calls, doing, self._timeout_seconds)

    def _release(self) -> None:
        self._give_back()

    def _answers(self, calls: "list[ObjectRef[object]]", doing: str, timeout_seconds: float) -> list[Reply]:
        """The replies, by device.

        Of several failures the cause is raised: a death or a mistake before a broken exchange.
        """
        import ray

        replies: dict[int, Reply] = {}
        echo: Failure | None = None
        waiting = {reference: device for device, reference in enumerate(calls)}
        deadline = time.monotonic() + timeout_seconds
        while waiting:
            ready, _ = ray.wait(list(waiting), timeout=max(0.0, deadline - time.monotonic()))
            if not ready:
                break
            device = waiting.pop(ready[0])
            try:
                answer = ray.get(ready[0])
            except ray.exceptions.RayError as error:
                raise self._died(device, doing, error) from error
            if isinstance(answer, Reply):
                replies[device] = answer
                continue
            assert isinstance(answer, Failure)
            if not answer.echo:
                raise failed(answer, doing)
            if echo is None:
                echo = answer
                deadline = min(deadline, time.monotonic() + ECHO_SECONDS)
        if echo is not None:
            raise failed(echo, doing)
        if waiting:
            raise RunError(
                f"{doing}: devices {sorted(waiting.values())} have not answered within "
                f"{timeout_seconds:g} s; all workers were stopped."
            )
        return [replies[device] for device in range(len(calls))]

    def _died(self, device: int, doing: str, error: Exception) -> WorkerError:
        presence = self._presences[device]
        return WorkerError(
            f"worker {device} (pid {presence.pid} on {presence.host}) died in {doing}; "
            f"all workers were stopped.\n  Ray says: {error}"
        )


def start_worker(device: int, num_cpus: int) -> "ActorHandle[Worker]":
    import ray
    from ray.actor import ActorHandle

    worker = ray.remote(Worker).options(num_cpus=num_cpus, max_restarts=0).remote(device)
    assert isinstance(worker, ActorHandle)
    return worker


def call(actor: "ActorHandle[Worker]", method: str, *arguments: object) -> "ObjectRef[object]":
    """A reference to what the worker's method will answer."""
    # By name: Ray's types know no methods of actors.
    reference: ObjectRef[object] = getattr(actor, method).remote(*arguments)
    return reference


def num_cpus(resources: Callable[[], Mapping[str, float]]) -> float:
    return resources().get("CPU", 0)


def failed(failure: Failure, doing: str) -> RunError:
    return RunError(f"device {failure.device} failed in {doing}: {failure.message}")


def give_back(holdings: Holdings) -> None:
    """Stop the workers, leave Ray, and return when the workers on this machine are gone."""
    if holdings.directory is not None:
        shutil.rmtree(holdings.directory, ignore_errors=True)
    if holdings.lease.alive():
        import ray

        for actor in holdings.actors:
            ray.kill(actor)
    holdings.actors.clear()
    holdings.lease.release()
    deadline = time.monotonic() + STOP_SECONDS
    while any(map(running, holdings.local_pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    if holdings.lease.connection.private:
        # A stopped process (SIGSTOP) does not follow; the private cluster that would have seen to it is gone.
        for pid in filter(running, holdings.local_pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def running(pid: int) -> bool:
    """Whether a process of this machine runs; one that only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:
        return True  # no /proc here, or not ours to ask
