"""What runs inside a worker process: one device's executor, and the messages it exchanges with the session.

Nothing here knows Ray. A worker never raises: it answers with a `Failure`, so that the session can tell a
mistake of this device from the echo of another one's.
"""

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from einsplit.runtime.collective import CollectiveCount
from einsplit.runtime.executor import Executor
from einsplit.runtime.transport import LinkError
from einsplit.runtime.transport.distributed import (
    DistributedTransport,
    FileRendezvous,
    TcpRendezvous,
    as_bytes,
)
from einsplit.solver.program import Program
from einsplit.torch_dtypes import torch_dtype, torch_dtype_name

__all__ = ["Failure", "Parcel", "Presence", "Reply", "Worker", "pack", "unpack"]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A named tensor as bytes: Ray hands numpy arrays over without copying or pickling their contents."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: np.ndarray[tuple[int], np.dtype[np.uint8]]


def pack(blocks: Mapping[str, Tensor]) -> tuple[Parcel, ...]:
    """Parcels of the blocks; they may share the blocks' storage."""
    parcels = []
    for name, block in blocks.items():
        data = as_bytes(block.detach().cpu()).numpy()
        parcels.append(Parcel(name, torch_dtype_name(block.dtype), tuple(block.shape), data))
    return tuple(parcels)


def unpack(parcels: tuple[Parcel, ...]) -> dict[str, Tensor]:
    """New tensors with the contents of the parcels."""
    blocks = {}
    for parcel in parcels:
        # Copied: Ray's arrays are read-only, lie in its shared memory, and are not aligned as torch's own storage is.
        block = torch.empty(parcel.shape, dtype=torch_dtype(parcel.dtype))
        as_bytes(block).numpy()[...] = parcel.data
        blocks[parcel.name] = block
    return blocks


@dataclass(frozen=True, slots=True)
class Presence:
    """Where a worker is: its process, its Ray node, the node's address, and a port that was free there just now."""

    pid: int
    node: str
    host: str
    free_port: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A worker has done what it was asked to."""

    blocks: tuple[Parcel, ...] = ()
    counters: tuple[CollectiveCount, ...] = ()
    bytes_sent: int = 0
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """A worker could not. `echo`: an exchange broke off, so another worker's trouble is the likely cause."""

    device: int
    message: str
    echo: bool


class Worker:
    """The actor's body: one device, one process."""

    def __init__(self, device: int) -> None:
        self._device = device
        self._transport: DistributedTransport | None = None
        self._executor: Executor | None = None

    def presence(self) -> Presence:
        """Where this worker is."""
        # Only in a Ray worker, where Ray is loaded: the module must stay free of it.
        import ray

        address: Callable[[], str] = ray.util.get_node_ip_address  # Ray gives it no types
        host = address()
        with socket.create_server((host, 0)) as server:
            port = server.getsockname()[1]
        return Presence(os.getpid(), ray.get_runtime_context().get_node_id(), host, port)

    def join(
        self,
        program: bytes,
        num_devices: int,
        rendezvous: FileRendezvous | TcpRendezvous,
        timeout_seconds: float,
    ) -> Reply | Failure:
        """Meet the other devices and load the program, given as `Program.to_bytes` has it."""

        def work() -> Reply:
            torch.get_num_threads()  # as in `local.serve`: without it torch undoes the next line later
            torch.set_num_threads(1)
            self._transport = DistributedTransport(self._device, num_devices, rendezvous, timeout_seconds)
            self._executor = Executor(Program.from_bytes(program), self._device, self._transport)
            return Reply()

        return self._answer(work)

    def put(self, parcels: tuple[Parcel, ...]) -> Reply | Failure:
        def work() -> Reply:
            for name, block in unpack(parcels).items():
                self._loaded().put(name, block)
            return Reply()

        return self._answer(work)

    def step(self, feeds: tuple[Parcel, ...]) -> Reply | Failure:
        def work() -> Reply:
            executor = self._loaded()
            assert self._transport is not None
            before = self._transport.bytes_sent
            with torch.no_grad():
                blocks = executor.step(unpack(feeds))
            sent = self._transport.bytes_sent - before
            return Reply(pack(blocks), executor.counters, sent, executor.peak_bytes)

        return self._answer(work)

    def state(self, nothing: tuple[Parcel, ...]) -> Reply | Failure:
        return self._answer(lambda: Reply(pack(self._loaded().state())))

    def _loaded(self) -> Executor:
        assert self._executor is not None, "join comes first"
        return self._executor

    def _answer(self, work: Callable[[], Reply]) -> Reply | Failure:
        try:
            return work()
        except Exception as error:
            return Failure(self._device, f"{type(error).__name__}: {error}", isinstance(error, LinkError))
