"""Collectives among processes, by `torch.distributed` on gloo.

Pieces travel as point-to-point messages over the one group of all devices. Sub-groups, which gloo's own collectives
would need for each set of devices, are then not needed at all, no piece is packed into a joint buffer, and the own
piece is not touched. (gloo's `all_to_all` and `all_gather` flatten their tensor lists, which copies everything twice.)
Payloads travel as bytes, so every dtype does.
"""

import os
import socket
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from einsplit.errors import RunError
from einsplit.runtime.transport import DirectTransport, LinkError

__all__ = ["DistributedTransport", "FileRendezvous", "TcpRendezvous", "as_bytes"]

LOOPBACKS = ("lo", "lo0")  # Linux, macOS
LISTENING_INTERFACE = "GLOO_SOCKET_IFNAME"


@dataclass(frozen=True, slots=True)
class FileRendezvous:
    """All processes are on one machine: they find each other in `directory`, no socket leaves the loopback.

    The directory must be empty and accessible to its owner only: who can write there can join.
    """

    directory: str

    def init_method(self) -> str:
        """Where torch finds the others; sets the environment so that gloo stays on the loopback."""
        loopback = next((name for _, name in socket.if_nameindex() if name in LOOPBACKS), None)
        if loopback is None:
            raise RunError(f"this machine has no loopback interface ({' or '.join(LOOPBACKS)}) to join devices by.")
        os.environ[LISTENING_INTERFACE] = loopback
        return f"file://{self.directory}/devices"


@dataclass(frozen=True, slots=True)
class TcpRendezvous:
    """Processes on several machines: device 0 keeps the store at `host`:`port`, where the others reach it.

    torch's store asks nobody for a password, and neither does gloo: it takes a network whose machines trust each other.
    """

    host: str
    port: int

    def init_method(self) -> str:
        """Where torch finds the others."""
        return f"tcp://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class DistributedTransport(DirectTransport):
    """This process's end: device `device` of `num_devices`, one per process.

    Returns when all devices have joined. `timeout_seconds` bounds that and every later exchange. Raises LinkError if
    they do not all come.
    """

    def __init__(
        self,
        device: int,
        num_devices: int,
        rendezvous: FileRendezvous | TcpRendezvous,
        timeout_seconds: float = 60.0,
    ) -> None:
        super().__init__(device)
        try:
            dist.init_process_group(
                backend="gloo",
                init_method=rendezvous.init_method(),
                rank=device,
                world_size=num_devices,
                timeout=timedelta(seconds=timeout_seconds),
            )
            # Whoever cannot be reached is better missed here than in the first step.
            self._everybody(num_devices)
        except RuntimeError as error:
            self.close()
            raise LinkError(f"device {device} could not join {num_devices} devices: {one_line(error)}") from error

    def _everybody(self, num_devices: int) -> None:
        """One exchange of all devices."""
        if num_devices > 1:
            self._exchange([torch.zeros(1)] * num_devices, tuple(range(num_devices)), self.device)

    def _exchange(self, pieces: list[Tensor], group: tuple[int, ...], own: int) -> list[Tensor]:
        received = list(pieces)
        # Shapes are equal on all members, so either all skip the wire or none does.
        if pieces[own].numel() == 0:
            return [piece if k == own else torch.empty_like(piece) for k, piece in enumerate(pieces)]
        messages = []
        for k, peer in enumerate(group):
            if k != own:
                received[k] = torch.empty_like(pieces[k], memory_format=torch.contiguous_format)
                messages.append(dist.P2POp(dist.irecv, as_bytes(received[k]), peer))
                messages.append(dist.P2POp(dist.isend, as_bytes(pieces[k]), peer))
        try:
            for work in dist.batch_isend_irecv(messages):
                work.wait()
        except RuntimeError as error:
            raise LinkError(f"device {self.device} lost an exchange with devices {group}: {one_line(error)}") from error
        return received

    def close(self) -> None:
        """Leave the group of devices."""
        if dist.is_initialized():
            dist.destroy_process_group()


def as_bytes(tensor: Tensor) -> Tensor:
    """The bytes of a tensor, shape (nbytes,), uint8; the tensor's own storage where it is contiguous."""
    plain = tensor.resolve_conj().resolve_neg().contiguous()
    # Not `reshape(-1)`: a single element counts as contiguous whatever its stride, and keeps it.
    return plain.as_strided((plain.numel(),), (1,)).view(torch.uint8)


def one_line(error: BaseException) -> str:
    # torch appends C++ stack frames to some messages.
    return str(error).strip().split("\n", 1)[0]
