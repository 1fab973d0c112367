"""The executor's own count of memory: the storages that stand, as they are made and as they go.

A storage is counted once, whoever shares it, with all of its bytes: what a view pins is held. It goes when the last
tensor on it does, which the storage itself tells: nobody has to say that he gives it up. Beside storages there is what
kernels declare: memory that they need while they run and that no tensor here shows.

Nothing of this reads what a Program is planned to hold.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["Ledger", "Uncounted"]

Scalars = Mapping[str, Callable[..., Tensor]]


class Ledger:
    """Bytes that one device holds: `held_bytes` now, `peak_bytes` at most since the last `start`."""

    def __init__(self) -> None:
        self.held_bytes = 0
        self.peak_bytes = 0
        self._storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}  # by address

    def start(self, tensors: Iterable[Tensor]) -> None:
        """Count anew, from these tensors on."""
        self._storages.clear()  # and with them who is told when they go
        self.held_bytes = self.peak_bytes = 0
        for tensor in tensors:
            self.hold(tensor)

    def hold(self, tensor: Tensor) -> Tensor:
        """The tensor itself, its storage counted from now on until it goes."""
        storage = tensor.untyped_storage()
        address, nbytes = storage.data_ptr(), storage.nbytes()
        if nbytes and address not in self._storages:

            def gone(_: object) -> None:
                del self._storages[address]
                self.held_bytes -= nbytes

            self._storages[address] = weakref.ref(storage, gone)
            self._add(nbytes)
        return tensor

    def owned(self, tensor: Tensor, others: Iterable[Tensor]) -> Tensor:
        """The tensor, contiguous, alone in its storage and the storage no larger: itself, else a copy.

        `others` may have the same storage; then it is theirs.
        """
        storage = tensor.untyped_storage()
        is_exact = tensor.is_contiguous() and storage.nbytes() == tensor.nbytes
        if is_exact and all(storage.data_ptr() != other.untyped_storage().data_ptr() for other in others):
            return self.hold(tensor)
        return self.copied(tensor)

    def copied(self, tensor: Tensor) -> Tensor:
        """A contiguous copy."""
        return self.hold(torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)).copy_(tensor)

    @contextmanager
    def declared(self, nbytes: int) -> Iterator[None]:
        """What a kernel says it needs while this lasts."""
        self._add(nbytes)
        try:
            yield
        finally:
            self.held_bytes -= nbytes

    def counted(self, operators: Scalars) -> Scalars:
        """The same operators; what each of them makes is held."""

        def holding(operator: Callable[..., Tensor]) -> Callable[..., Tensor]:
            return lambda *arguments: self.hold(operator(*arguments))

        return {name: holding(operator) for name, operator in operators.items()}

    def _add(self, nbytes: int) -> None:
        self.held_bytes += nbytes
        self.peak_bytes = max(self.peak_bytes, self.held_bytes)


class Uncounted(Ledger):
    """Counts nothing: for a call outside of a session, whose tensors may have no storage but a shape alone."""

    def hold(self, tensor: Tensor) -> Tensor:
        return tensor

    def owned(self, tensor: Tensor, others: Iterable[Tensor]) -> Tensor:
        return tensor.contiguous()

    def counted(self, operators: Scalars) -> Scalars:
        return operators
