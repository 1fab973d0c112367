"""A Session on threads: all devices in this process, nothing to start."""

import queue
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch

from einsplit.errors import RunError
from einsplit.runtime.executor import Executor
from einsplit.runtime.session import Blocks, DeviceTraffic, Session
from einsplit.runtime.transport.threads import ThreadHub
from einsplit.solver.program import Program

__all__ = ["LocalSession"]

# How long `close` waits for a thread that is in the middle of a kernel; a daemon cannot hold up the exit.
JOIN_SECONDS = 5.0

Job = Callable[[Executor], Blocks]
Jobs = queue.SimpleQueue[Job | None]


@dataclass(frozen=True, slots=True)
class Done:
    """A device's answer; `failed` ones have their error in the hub."""

    device: int
    blocks: Blocks
    traffic: DeviceTraffic
    peak_bytes: int = 0
    failed: bool = False


class LocalSession(Session):
    """A thread per device. `timeout_seconds` bounds each wait: of a device in a collective, of the caller in a step."""

    def __init__(self, program: Program, *, timeout_seconds: float = 600.0) -> None:
        super().__init__(program)
        self._timeout_seconds = timeout_seconds
        self._hub = ThreadHub(program.num_devices, timeout_seconds)
        self._jobs: list[Jobs] = [queue.SimpleQueue() for _ in range(program.num_devices)]
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        # The threads hold no reference to the session, so that one that is forgotten is closed too.
        threads = [
            threading.Thread(
                target=serve,
                args=(program, device, self._hub, self._jobs[device], self._done),
                name=f"einsplit-device-{device}",
                daemon=True,
            )
            for device in range(program.num_devices)
        ]
        for thread in threads:
            thread.start()
        self._stop = weakref.finalize(self, stop, self._hub, self._jobs, threads)
        with self._ending_on_error("loading the program") as doing:
            self._all_done(doing)
        # A thread's own number of threads is also what later threads of the process would start with: setting
        # the caller's to what it is puts that back.
        torch.set_num_threads(torch.get_num_threads())

    def _put_blocks(self, blocks: list[Blocks], doing: str) -> None:
        self._run([put_job(own) for own in blocks], doing)

    def _step_blocks(self, blocks: list[Blocks], doing: str) -> list[Blocks]:
        done = self._run([step_job(own) for own in blocks], doing)
        self.traffic = tuple(one.traffic for one in done)
        self.peak_bytes = tuple(one.peak_bytes for one in done)
        return [one.blocks for one in done]

    def _state_blocks(self, doing: str) -> list[Blocks]:
        return [one.blocks for one in self._run([Executor.state] * len(self._jobs), doing)]

    def _release(self) -> None:
        self._stop()

    def _run(self, jobs: list[Job], doing: str) -> list[Done]:
        for own, job in zip(self._jobs, jobs, strict=True):
            own.put(job)
        return self._all_done(doing)

    def _all_done(self, doing: str) -> list[Done]:
        """What the devices answer, by device. Raises RunError with the failure that came first."""
        done: dict[int, Done] = {}
        deadline = time.monotonic() + self._timeout_seconds
        while len(done) < len(self._jobs):
            try:
                one = self._done.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                missing = sorted(set(range(len(self._jobs))) - set(done))
                raise RunError(
                    f"{doing}: devices {missing} have not finished within {self._timeout_seconds:g} s."
                ) from None
            if one.failed:
                failure = self._hub.failure
                assert failure is not None
                error = failure.error
                raise RunError(f"device {failure.device} failed in {doing}: {type(error).__name__}: {error}") from error
            done[one.device] = one
        return [done[device] for device in sorted(done)]


def put_job(blocks: Blocks) -> Job:
    # Cloned: a cut may be a view of the caller's tensor, which the caller may write to afterwards.
    copies = {name: block.clone(memory_format=torch.contiguous_format) for name, block in blocks.items()}

    def job(executor: Executor) -> Blocks:
        for name, block in copies.items():
            executor.put(name, block)
        return {}

    return job


def step_job(feeds: Blocks) -> Job:
    def job(executor: Executor) -> Blocks:
        for name in feeds:  # cloned as in `put_job`; and a view would keep all of the caller's tensor
            feeds[name] = feeds[name].clone(memory_format=torch.contiguous_format)
        return executor.step(feeds)

    return job


def serve(program: Program, device: int, hub: ThreadHub, jobs: Jobs, done: queue.SimpleQueue[Done]) -> None:
    """A device's thread: load the program, then do one job after the other until None comes."""
    transport = hub.transports[device]
    try:
        # torch sets up a thread's number of threads when it is first needed, and would then overwrite what
        # was set before; asking for the number sets it up now.
        torch.get_num_threads()
        torch.set_num_threads(1)
        executor = Executor(program, device, transport)
        done.put(Done(device, {}, DeviceTraffic((), 0)))
        with torch.no_grad():
            while (job := jobs.get()) is not None:
                before = transport.bytes_sent
                blocks = job(executor)
                traffic = DeviceTraffic(executor.counters, transport.bytes_sent - before)
                done.put(Done(device, blocks, traffic, executor.peak_bytes))
                del blocks
    except BaseException as error:
        hub.abort(device, error)
        done.put(Done(device, {}, DeviceTraffic((), 0), failed=True))


def stop(hub: ThreadHub, jobs: list[Jobs], threads: list[threading.Thread]) -> None:
    """End the threads; those inside a collective wake up at once."""
    hub.abort(-1, RunError("the session has ended"))
    for own in jobs:
        own.put(None)
    deadline = time.monotonic() + JOIN_SECONDS
    for thread in threads:
        # The garbage collector may call this from any thread.
        if thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
