"""The law of a transport, checked from inside every device at once: one check for threads and processes."""

import multiprocessing
import socket
import tempfile
import traceback
from dataclasses import dataclass

import torch

from einsplit.runtime.transport import Transport
from einsplit.runtime.transport.distributed import DistributedTransport, FileRendezvous, TcpRendezvous
from tests.runtime.processes import listening

DTYPES = (torch.bool, torch.uint8, torch.int64, torch.bfloat16, torch.float32, torch.float64, torch.complex64)
SHAPES = ((), (0,), (1,), (5,), (2, 0, 3), (4, 3))


def groups_of(num_devices: int) -> list[tuple[int, ...]]:
    """Everybody, forwards and backwards; neighbours; strided halves; one."""
    everybody = tuple(range(num_devices))
    neighbours = [(d, (d + 1) % num_devices) for d in everybody if num_devices > 1]
    return [everybody, everybody[::-1], *neighbours, everybody[::2], everybody[1::2], (0,)]


def letter(sender: int, receiver: int, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """What `sender` has for `receiver`, every second element of something twice as large: not contiguous."""
    numel = 2 * torch.Size(shape).numel()
    return (torch.arange(numel) + 7 * sender + 31 * receiver).remainder(61).to(dtype)[::2].reshape(shape)


def check_every_piece_arrives(transport: Transport, num_devices: int) -> None:
    """Raises AssertionError unless all collectives deliver, and count, exactly what they must."""
    me, expected_bytes = transport.device, 0
    cases = [(g, s, t) for g in groups_of(num_devices) for s in SHAPES for t in DTYPES if me in g]
    for group, shape, dtype in cases:
        pieces = [letter(me, peer, shape, dtype) for peer in group]
        received = transport.all_to_all(pieces, group)
        expected = [letter(peer, me, shape, dtype) for peer in group]
        gathered = transport.all_gather(pieces[0], group)
        sent_to_all = [letter(peer, group[0], shape, dtype) for peer in group]
        for got, want in zip([*received, *gathered], [*expected, *sent_to_all], strict=True):
            assert got.dtype == want.dtype and got.shape == want.shape and torch.equal(got, want), (
                group,
                shape,
                dtype,
            )
        own = group.index(me)
        assert received[own] is pieces[own]
        assert all(got.is_contiguous() for k, got in enumerate(received) if k != own)
        expected_bytes += 2 * (len(group) - 1) * pieces[0].nbytes
    assert transport.bytes_sent == expected_bytes


def in_processes(num_devices: int, work: str) -> list[str]:
    """What each device says of `work`, one of the functions below, run in a process of its own per device."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # free again, and not given out anew at once
    with tempfile.TemporaryDirectory() as directory:
        processes = [
            context.Process(target=answer, args=(work, device, num_devices, directory, port, answers))
            for device in range(num_devices)
        ]
        for process in processes:
            process.start()
        said = dict(answers.get(timeout=120) for _ in processes)
        for process in processes:
            process.join(timeout=30)
    return [said[device] for device in range(num_devices)]


@dataclass(frozen=True)
class Place:
    """A device, and where it meets the others."""

    device: int
    num_devices: int
    directory: str
    port: int

    def join(self, missing: int = 0, timeout_seconds: float = 60) -> DistributedTransport:
        rendezvous = FileRendezvous(self.directory)
        return DistributedTransport(self.device, self.num_devices + missing, rendezvous, timeout_seconds)

    @property
    def everybody(self) -> tuple[int, ...]:
        return tuple(range(self.num_devices))


def answer(
    work: str,
    device: int,
    num_devices: int,
    directory: str,
    port: int,
    answers: "multiprocessing.Queue[object]",
) -> None:
    try:
        said = WORK[work](Place(device, num_devices, directory, port))
    except BaseException:
        said = traceback.format_exc()
    answers.put((device, said))


def deliver(place: Place) -> str:
    transport = place.join()
    check_every_piece_arrives(transport, place.num_devices)
    transport.close()
    transport.close()
    return "delivered"


def deliver_by_tcp(place: Place) -> str:
    rendezvous = TcpRendezvous("127.0.0.1", place.port)
    transport = DistributedTransport(place.device, place.num_devices, rendezvous)
    check_every_piece_arrives(transport, place.num_devices)
    return "delivered"


def desert(place: Place) -> str:
    """The last device leaves before a collective."""
    transport = place.join(timeout_seconds=20)
    if place.device == place.num_devices - 1:
        transport.close()
        return "left"
    transport.all_gather(torch.ones(3), place.everybody)
    return "nothing noticed"


def wait_in_vain(place: Place) -> str:
    """One device never comes."""
    place.join(missing=1, timeout_seconds=2)
    return "nobody missed"


def listen(place: Place) -> str:
    transport = place.join()
    transport.all_gather(torch.ones(3), place.everybody)
    addresses = ",".join(sorted(listening()))
    transport.all_gather(torch.ones(3), place.everybody)
    return addresses


WORK = {
    "deliver": deliver,
    "deliver by tcp": deliver_by_tcp,
    "desert": desert,
    "wait in vain": wait_in_vain,
    "listen": listen,
}
