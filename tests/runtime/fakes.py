"""Stand-ins for a Program, its executor and its blocks, with mistakes built in, for what a session does then.

The program: `y = gather(x * w)`, x cut along its first dimension, w whole.
"""

import json
import os
import signal
import time
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from einsplit.runtime import worker
from einsplit.runtime.transport import Transport


@dataclass(frozen=True)
class FakeProgram:
    num_devices: int
    trouble: str = "none"  # what happens to device `device` in step `at_step`
    device: int = 1
    at_step: int = 1
    seconds: float = 60.0  # of sleep
    feeds: tuple[str, ...] = ("x",)
    parameters: tuple[str, ...] = ("w",)
    fetches: tuple[str, ...] = ("y",)

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_bytes(data: bytes) -> "FakeProgram":
        return FakeProgram(**json.loads(data))


class FakeExecutor:
    def __init__(self, program: FakeProgram, device: int, transport: Transport) -> None:
        self.program, self.device, self.transport = program, device, transport
        self.counters = ()
        self.peak_bytes = 0
        self.kept: dict[str, Tensor] = {}
        self.num_steps = 0
        if program.trouble == "raise in init" and device == program.device:
            raise ValueError("no such kernel")

    def put(self, name: str, block: Tensor) -> None:
        self.kept[name] = block

    def step(self, feeds: dict[str, Tensor]) -> dict[str, Tensor]:
        self.num_steps += 1
        if self.device == self.program.device and self.num_steps == self.program.at_step:
            self.stumble()
        group = tuple(range(self.program.num_devices))
        blocks = self.transport.all_gather(feeds["x"] * self.kept["w"], group)
        if torch.is_grad_enabled() or torch.get_num_threads() != 1:
            raise ValueError("a device must run without gradients, on one thread")
        return {"y": torch.cat(blocks)} if self.device == 0 else {}

    def stumble(self) -> None:
        if self.program.trouble == "raise":
            raise ZeroDivisionError("nothing left")
        if self.program.trouble == "sleep":
            time.sleep(self.program.seconds)
        if self.program.trouble == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.program.trouble == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)

    def state(self) -> dict[str, Tensor]:
        return dict(self.kept)


class FakeWorker(worker.Worker):
    """A worker that loads fakes: what it changes is its own process."""

    def __init__(self, device: int) -> None:
        worker.Program, worker.Executor = FakeProgram, FakeExecutor
        super().__init__(device)


def fake_cut(program: FakeProgram, name: str, tensor: Tensor, device: int) -> Tensor:
    return tensor.chunk(program.num_devices)[device] if name == "x" else tensor


def fake_assemble(program: FakeProgram, name: str, blocks: list[Tensor | None]) -> Tensor:
    assert blocks[0] is not None
    return blocks[0].clone()
