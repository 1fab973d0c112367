"""A solver's process: starts it, hands on what it says, and leaves nothing behind, whatever happens.

The process leads a group of its own, to which all belong that it starts. Whoever leaves `conversation`, by its end, an
error or Ctrl-C, has the group killed and the folder removed. What a process says is decoded by a schema, and not
believed here.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from einsplit.solver.integer.model import Model

CHILD = (sys.executable, "-P", str(Path(__file__).with_name("child.py")))
PROGRAM, LOG = "program.npz", "solver.log"  # files in the folder, as child.py has them
GRACE_SECONDS = 0.5  # beyond its limit, until a solver is killed
LONGEST = 2**22  # characters of a line


class Incumbent(msgspec.Struct, frozen=True, tag_field="kind", tag="incumbent"):
    values: list[tuple[int, float]]


class Bound(msgspec.Struct, frozen=True, tag_field="kind", tag="bound"):
    bound: float


class Done(msgspec.Struct, frozen=True, tag_field="kind", tag="done"):
    status: Literal["optimal", "infeasible", "stopped"]


class Failed(msgspec.Struct, frozen=True, tag_field="kind", tag="failed"):
    reason: str


Said = Incumbent | Bound | Done | Failed
_DECODER: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A process that runs, and its folder."""

    process: subprocess.Popen[bytes]
    folder: Path

    def ask(self, model: Model, seconds: float, gap: float) -> Generator[Said, None, None]:
        """What the solver says of the program, the last being Done or Failed; Done as `stopped` where time ran out.

        Ends at most `GRACE_SECONDS` beyond `seconds`.
        """
        end = time.monotonic() + seconds
        np.savez(self.folder / PROGRAM, allow_pickle=False, **model.arrays)
        order = {
            "seconds": max(0.0, end - time.monotonic()),
            "gap": gap,
            "num_choices": len(model.owner),
            "num_equal": model.num_equal,
        }
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it is dead: its silence says so
            self.process.stdin.write(msgspec.json.encode(order) + b"\n")
            self.process.stdin.flush()
        said: Said = Done("stopped")
        for line in self._lines(end + GRACE_SECONDS):
            said = line
            if isinstance(said, Done | Failed):
                break
            yield said
        yield from bounds_of_log(self._read(LOG), gap / 2)
        yield said

    def _lines(self, end: float) -> Iterator[Said]:
        """What is said until `end`; Failed where the process ends, or says what nobody understands."""
        assert self.process.stdout is not None
        out = self.process.stdout.fileno()
        rest = b""
        while (seconds := end - time.monotonic()) > 0:
            if not select.select([out], [], [], seconds)[0]:
                continue
            piece = os.read(out, 2**16)
            if not piece:
                code = self.process.wait()
                yield Failed(f"it ended with {_code(code)} before it was done. {self._read('errors')[-500:]}".strip())
                return
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                try:
                    yield _DECODER.decode(line)
                except msgspec.MsgspecError as error:
                    yield Failed(f"it said what nobody understands: {line[:100]!r} ({error})")
                    return
            if len(rest) > LONGEST:
                yield Failed(f"it said more than {LONGEST} characters in one line")
                return
        yield Done("stopped")

    def _read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


@contextmanager
def conversation(solver: str) -> Iterator[Conversation]:
    """A process of the solver, which loads while its program is still being built."""
    with tempfile.TemporaryDirectory(prefix="einsplit-", ignore_cleanup_errors=True) as folder:
        # Where this process finds its packages, that one shall too.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with open(Path(folder) / "errors", "wb") as errors:
            process = subprocess.Popen(
                [*CHILD, folder, solver],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        try:
            yield Conversation(process, Path(folder))
        finally:
            _end(process)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and what it has started, and wait until they are gone."""
    with suppress(ProcessLookupError, PermissionError):  # nobody of the group is left
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for _ in range(50):  # a solver below it is not our child: it can only be looked for
            os.killpg(process.pid, 0)
            time.sleep(0.01)
    process.wait()


def bounds_of_log(log: str, gap: float) -> Iterator[Bound]:
    """The dual bounds in a log of CBC, lowered by the digits that it does not print.

    A line between the first and the last ones may be about a part of the program that a heuristic looks at. Where the
    search has ended, no bound is printed: it is then the price found, less the gap that was allowed.
    """
    ended = re.search(r"^Result - Optimal solution found", log, re.M) is not None
    for pattern, holds, ratio in (
        (r"^Continuous objective value is (\S+)", True, 1e-5),
        (r"^Lower bound: +(\S+)", True, 1e-6),
        (r"^Objective value: +(\S+)", ended, gap + 1e-6),
    ):
        for text in re.findall(pattern, log, re.M)[-1:] if holds else ():
            with suppress(ValueError):
                bound = float(text)
                yield Bound(bound - ratio * abs(bound) - 1e-3)


def _code(code: int) -> str:
    """`signal SIGKILL`, or `exit code 1`."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
