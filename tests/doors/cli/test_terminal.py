"""The command line: progress on a terminal, interrupts, readers that go away."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time

import msgspec
import pytest

from einsplit.solver.plan import Plan
from tests.doors.cli.lines import start
from tests.runtime.processes import descendants, running

# ---------------------------------------------------------------------------------------------- terminals and signals


def test_a_reader_that_goes_away_is_no_fault(plan_path):
    plan = Plan.load(plan_path)
    msgspec.structs.replace(plan, nodes=plan.nodes * 500).save(plan_path)
    process = start(["explain", plan_path, "--full"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline().startswith(b"plan for test")
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(60) == 0


class Terminal:
    """A process whose error output is a terminal."""

    def __init__(self, words):
        self.end, theirs = pty.openpty()
        self.process = start(words, stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        self.seen = b""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        os.close(self.end)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait_for(self, text, seconds=90):
        """Read until `text` has been shown."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert self.read() and time.monotonic() < deadline, self.seen[-1000:]

    def read(self, seconds=60):
        assert select.select([self.end], [], [], seconds)[0], f"nothing more is shown after {self.seen[-1000:]!r}"
        try:
            data = os.read(self.end, 4096)
        except OSError:  # the other end is closed
            data = b""
        self.seen += data
        return data

    def finish(self, seconds=60):
        """The exit code, after all that was shown has been read."""
        deadline = time.monotonic() + seconds
        while self.read():
            assert time.monotonic() < deadline, self.seen[-1000:]
        return self.process.wait(seconds)


LONG_SEARCH = """
from einsplit.builder import Builder
from einsplit.einsum import einsum

def graph():
    builder = Builder()
    value = builder.input("x", (4096, 4096), "float32")
    for k in range(400):
        weight = builder.input(f"w{k}", (4096, 4096), "float32", role="parameter")
        value = einsum("i j -> i j", einsum("i j, j k -> i k", value, weight), join="max(x, 0)")
    return builder.build({"y": value})
"""


def test_a_search_shows_how_it_goes_on_a_terminal_and_an_interrupt_ends_it_with_130(tmp_path):
    (tmp_path / "long.py").write_text(LONG_SEARCH)
    with Terminal(["plan", f"{tmp_path}/long.py:graph", "--devices", 64]) as terminal:
        terminal.wait_for(b"planning 1201 nodes over 64 devices")
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.finish() == 130
        assert b"interrupted" in terminal.seen and b"Traceback" not in terminal.seen


def test_an_interrupt_of_a_search_that_has_a_plan_takes_that(tmp_path):
    (tmp_path / "long.py").write_text(LONG_SEARCH.replace("range(400)", "range(120)"))
    words = ["plan", f"{tmp_path}/long.py:graph", "--devices", 64, "--memory", "99GB", "-o", tmp_path / "plan.json"]
    with Terminal(words) as terminal:
        terminal.wait_for(b"Ctrl-C takes the best so far")
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.finish() == 0
    assert Plan.load(tmp_path / "plan.json").status == "stopped"


def test_the_best_price_so_far_is_shown_on_a_terminal_only(targets):
    with Terminal(["plan", f"{targets}:graph", "--machine", "cpu-64"]) as terminal:
        terminal.wait_for(b" after ")
        assert terminal.finish() == 0
    quiet = start(["plan", f"{targets}:graph", "--machine", "cpu-4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert quiet.communicate(timeout=60)[1] == b"" and quiet.returncode == 0


@pytest.mark.parametrize(
    "moment, send",
    [(b"starting 2 ray devices", os.kill), (b" of 100000 on 2 ray devices", os.killpg)],
    ids=["start", "step"],
)
def test_an_interrupted_run_on_ray_ends_with_130_and_leaves_no_process(moment, send, targets):
    with Terminal(["run", f"{targets}:graph", "--backend", "ray", "--steps", 100_000]) as terminal:
        terminal.wait_for(moment)
        deadline = time.monotonic() + 30
        while len(descendants(terminal.process.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        family = descendants(terminal.process.pid)
        send(terminal.process.pid, signal.SIGINT)
        assert terminal.finish() == 130
        assert b"interrupted" in terminal.seen and b"Traceback" not in terminal.seen
    deadline = time.monotonic() + 20
    while any(map(running, family)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(family) >= 3 and not any(map(running, family))
