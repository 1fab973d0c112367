"""Collectives among threads of one process. Pieces are lent, not sent: a receiver copies what its peer holds.

    lend the own pieces -> barrier -> copy what the others lent me -> barrier -> take the own pieces back

Nobody passes the second barrier before everybody has copied, so an owner may free or overwrite its pieces as
soon as its collective returns.
"""

from dataclasses import dataclass
from threading import Barrier, BrokenBarrierError, Lock

import torch
from torch import Tensor

from einsplit.runtime.transport import DirectTransport, LinkError

__all__ = ["ThreadHub", "ThreadTransport"]


@dataclass(frozen=True, slots=True)
class DeviceFailure:
    device: int
    error: BaseException


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where one group meets: `lent[k]` holds the pieces of its member k while a collective runs."""

    group: tuple[int, ...]
    barrier: Barrier
    lent: list[list[Tensor] | None]

    def absent(self) -> list[int]:
        return [device for device, pieces in zip(self.group, self.lent, strict=True) if pieces is None]


class ThreadHub:
    """The meeting places of `num_devices` threads. After one failure, every wait in it ends at once."""

    def __init__(self, num_devices: int, timeout_seconds: float = 60.0) -> None:
        self.timeout_seconds = timeout_seconds
        self._lock = Lock()
        self._meetings: dict[tuple[int, ...], Meeting] = {}
        self._failure: DeviceFailure | None = None
        self.transports = tuple(ThreadTransport(device, self) for device in range(num_devices))

    @property
    def failure(self) -> DeviceFailure | None:
        """The failure that came first."""
        return self._failure

    def abort(self, device: int, error: BaseException) -> None:
        """Wake all waiting devices with a LinkError. The first call decides which failure it names."""
        with self._lock:
            if self._failure is None:
                self._failure = DeviceFailure(device, error)
            for meeting in self._meetings.values():
                meeting.barrier.abort()

    def meeting(self, group: tuple[int, ...], device: int) -> Meeting:
        # Under the lock: a meeting made while another thread aborts is either seen by that abort or refused here.
        with self._lock:
            if self._failure is not None:
                raise stopped(device, group, self._failure)
            if group not in self._meetings:
                self._meetings[group] = Meeting(group, Barrier(len(group)), [None] * len(group))
            return self._meetings[group]

    def wait(self, meeting: Meeting, device: int) -> None:
        """Return when all members are here. Raises LinkError after the timeout, or when one has failed."""
        try:
            meeting.barrier.wait(self.timeout_seconds)
        except BrokenBarrierError:
            if self._failure is None:
                error = LinkError(
                    f"device {device} waited {self.timeout_seconds:g} s in a collective of devices "
                    f"{meeting.group}; missing: {meeting.absent() or 'none, but one has not finished'}."
                )
                self.abort(device, error)
            assert self._failure is not None
            if self._failure.device == device:
                raise self._failure.error from None
            raise stopped(device, meeting.group, self._failure) from None


def stopped(device: int, group: tuple[int, ...], failure: DeviceFailure) -> LinkError:
    return LinkError(
        f"device {device} was stopped in a collective of devices {group}: "
        f"device {failure.device} failed: {failure.error}"
    )


class ThreadTransport(DirectTransport):
    """One thread's end of a ThreadHub. Used by one thread at a time."""

    def __init__(self, device: int, hub: ThreadHub) -> None:
        super().__init__(device)
        self._hub = hub

    def _exchange(self, pieces: list[Tensor], group: tuple[int, ...], own: int) -> list[Tensor]:
        meeting = self._hub.meeting(group, self.device)
        meeting.lent[own] = pieces
        try:
            self._hub.wait(meeting, self.device)
            received = [self._copy(meeting, k, pieces[own], own) for k in range(len(group))]
            self._hub.wait(meeting, self.device)
        finally:
            meeting.lent[own] = None
        return received

    def _copy(self, meeting: Meeting, k: int, mine: Tensor, own: int) -> Tensor:
        if k == own:
            return mine
        lent = meeting.lent[k]
        assert lent is not None
        piece = lent[own]
        if piece.shape != mine.shape or piece.dtype != mine.dtype:
            raise LinkError(
                f"device {meeting.group[k]} sent {tuple(piece.shape)} {piece.dtype} to device {self.device}, "
                f"which holds {tuple(mine.shape)} {mine.dtype} in the same collective of {meeting.group}."
            )
        return piece.clone(memory_format=torch.contiguous_format)

    def close(self) -> None:
        """Nothing to give up: the threads share one memory."""
