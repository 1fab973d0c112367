"""How devices exchange blocks: the interface, and what every transport shares.

A group is a tuple of device numbers in a fixed order, the same on all of its members, the own device
included. All members of a group call its collectives in the same order, and a device that is in several
groups calls them in one global order; a transport checks neither, it only refuses to wait for ever.
"""

from abc import ABC, abstractmethod
from typing import Protocol

from torch import Tensor

from einsplit.errors import RunError

__all__ = ["DirectTransport", "LinkError", "Transport"]


class LinkError(RunError):
    """An exchange that another device did not complete: the trouble is elsewhere, or on the wire."""


class Transport(Protocol):
    """What an executor needs of the devices around it."""

    device: int
    bytes_sent: int  # payload sent to other devices since the start; envelopes and own pieces not counted

    def all_to_all(self, pieces: list[Tensor], group: tuple[int, ...]) -> list[Tensor]:
        """What the members hold for this device: result k came from `group[k]`, and `pieces[k]` goes to
        `group[k]`.

        All pieces of all members have one shape and dtype. The own piece comes back as it is, not copied; the
        others are new, contiguous storage. Raises LinkError if a member fails or does not come in time.
        """
        ...

    def all_gather(self, block: Tensor, group: tuple[int, ...]) -> list[Tensor]:
        """The blocks of all members, in the order of `group`; otherwise as `all_to_all`."""
        ...

    def close(self) -> None:
        """Give up the connections. A second call does nothing."""
        ...


class DirectTransport(ABC):
    """Collectives in which every piece goes straight from its owner to its receiver.

    A gather sends its block to each of the other members, size - 1 times: no more bytes per device than a
    ring's.
    """

    def __init__(self, device: int) -> None:
        self.device = device
        self.bytes_sent = 0

    def all_to_all(self, pieces: list[Tensor], group: tuple[int, ...]) -> list[Tensor]:
        """See `Transport.all_to_all`."""
        if self.device not in group or len(pieces) != len(group):
            raise RunError(
                f"device {self.device} called a collective of devices {group} with {len(pieces)} pieces; "
                "it needs one piece per member and must be a member itself."
            )
        if len(group) == 1:
            return list(pieces)
        own = group.index(self.device)
        received = self._exchange(pieces, group, own)
        self.bytes_sent += sum(piece.nbytes for k, piece in enumerate(pieces) if k != own)
        return received

    def all_gather(self, block: Tensor, group: tuple[int, ...]) -> list[Tensor]:
        """See `Transport.all_gather`."""
        return self.all_to_all([block] * len(group), group)

    @abstractmethod
    def _exchange(self, pieces: list[Tensor], group: tuple[int, ...], own: int) -> list[Tensor]:
        """`all_to_all` for a group of two or more, of which this device is member number `own`."""

    @abstractmethod
    def close(self) -> None:
        """See `Transport.close`."""
