"""A Program, loaded and ready to step: what both back ends share.

Whole tensors stand at the door, blocks behind it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from torch import Tensor

from einsplit.errors import RunError, did_you_mean
from einsplit.runtime.blocks import assemble, cut
from einsplit.runtime.collective import CollectiveCount
from einsplit.solver.program import Program

__all__ = ["Blocks", "DeviceTraffic", "Session"]

Blocks = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class DeviceTraffic:
    """What one device sent in one step: per collective by its executor's count, in all by its transport's."""

    counters: tuple[CollectiveCount, ...]
    bytes_sent: int


class Session(ABC):
    """Parameters stay with the devices between steps; a step brings feeds and returns fetches.

    After a failed step a session is of no further use: the devices no longer agree on their state. Use it as
    a context manager, or call `close`.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.num_steps = 0
        self.traffic: tuple[DeviceTraffic, ...] = ()  # of the last step, one per device
        self.peak_bytes: tuple[int, ...] = ()  # likewise: what each device held at most
        self._given: set[str] = set()
        self._ended: str | None = None

    def put(self, name: str, tensor: Tensor) -> None:
        """Set a parameter or a state input from its whole tensor. The tensor is copied.

        Raises RunError for a name that the program does not have.
        """
        self._require_alive()
        self._require_known("parameter", [name], self.program.parameters)
        blocks = [{name: block} for block in self._cut(name, tensor)]
        with self._ending_on_error(f"putting {name!r}") as doing:
            self._put_blocks(blocks, doing)
        self._given.add(name)

    def step(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The fetches, whole, after one run of the program on the feeds, whole.

        Raises RunError if a feed or a parameter is missing or unknown, or if a device fails (it names device
        and step); WorkerError if a worker process dies.
        """
        self._require_alive()
        self._require_known("feed", feeds, self.program.feeds)
        self._require_all("feed", feeds, self.program.feeds)
        self._require_all("parameter", self._given, self.program.parameters)
        blocks: list[Blocks] = [{} for _ in range(self.program.num_devices)]
        for name in self.program.feeds:
            for own, block in zip(blocks, self._cut(name, feeds[name]), strict=True):
                own[name] = block
                del block  # a device gives its feed up when nothing there reads it any more
        self.num_steps += 1
        with self._ending_on_error(f"step {self.num_steps}") as doing:
            results = self._step_blocks(blocks, doing)
        return self._whole(self.program.fetches, results)

    def state(self) -> dict[str, Tensor]:
        """All parameters and state as they stand after the last step, whole."""
        self._require_alive()
        with self._ending_on_error("reading the state") as doing:
            results = self._state_blocks(doing)
        return self._whole(dict.fromkeys(name for blocks in results for name in blocks), results)

    def close(self) -> None:
        """Stop the devices and give back what they hold. A second call does nothing."""
        self._ended = self._ended or "it was closed"
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _put_blocks(self, blocks: list[Blocks], doing: str) -> None:
        """Hand each device its block. `doing` says for messages what is going on; so below."""

    @abstractmethod
    def _step_blocks(self, blocks: list[Blocks], doing: str) -> list[Blocks]:
        """Also sets `traffic` and `peak_bytes`. The blocks are the devices' from then on."""

    @abstractmethod
    def _state_blocks(self, doing: str) -> list[Blocks]: ...

    @abstractmethod
    def _release(self) -> None:
        """Stop everything that the session started; may be called again."""

    def _cut(self, name: str, tensor: Tensor) -> list[Tensor]:
        whole = tensor.detach()
        return [cut(self.program, name, whole, device) for device in range(self.program.num_devices)]

    def _whole(self, names: Iterable[str], results: list[Blocks]) -> dict[str, Tensor]:
        # Assembling copies: what a caller holds is never what a device still works on.
        return {name: assemble(self.program, name, [own.get(name) for own in results]) for name in names}

    @contextmanager
    def _ending_on_error(self, doing: str) -> Iterator[str]:
        try:
            yield doing
        except BaseException as error:  # an interrupt too leaves devices in the middle of something
            self._ended = f"it ended in {doing} ({str(error) or type(error).__name__})"
            self._release()
            raise

    def _require_alive(self) -> None:
        if self._ended is not None:
            raise RunError(f"this session can run no more: {self._ended}. Start a new one.")

    def _require_known(self, kind: str, given: Iterable[str], known: tuple[str, ...]) -> None:
        for name in given:
            if name not in known:
                mistake = f"the program has no {kind} {name!r}. {did_you_mean(name, known)}".rstrip()
                raise RunError(f"{mistake}\n  its {kind}s: {', '.join(known) or 'none'}")

    def _require_all(self, kind: str, given: Iterable[str], known: tuple[str, ...]) -> None:
        missing = [name for name in known if name not in set(given)]
        if missing:
            advice = "put them before the first step" if kind == "parameter" else "give every feed in every step"
            raise RunError(f"missing {kind}s: {', '.join(missing)}; {advice}.")
