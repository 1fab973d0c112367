"""`parallelize(backend="ray")`: two on one Ray, a worker that dies, and nothing left when the program ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runtime.processes import running

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What tests/doors/parallelize/driver.py saw, in a process of its own that was started elsewhere."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    finished = subprocess.run(
        [sys.executable, "-m", "tests.doors.parallelize.driver"],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env={**variables, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.returncode == 0 and "Traceback" not in finished.stderr, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def test_a_module_and_a_function_run_at_the_same_time_on_one_ray(seen):
    assert seen["module"] and seen["function"]


def test_threads_and_workers_give_the_same_bits(seen):
    assert seen["bits"]


def test_workers_are_sent_a_parameter_that_has_changed(seen):
    assert seen["changed"]


def test_a_dead_worker_is_named_with_its_step_within_30_seconds(seen):
    kind, message, worker = seen["death"]
    assert kind == "WorkerError" and seen["told as a failed run"]
    assert message.startswith(worker) and message.endswith(f" died in step {seen['step']}; all workers were stopped.")
    assert seen["seconds"] < 30


def test_after_a_death_its_workers_are_gone_and_the_next_call_starts_new_ones(seen):
    assert seen["left of it"] == []
    assert seen["again"] and seen["new workers"]


def test_a_death_or_a_close_leaves_the_other_one_alone(seen):
    assert seen["the other goes on"] and seen["after close"]


def test_a_program_that_ends_without_closing_leaves_no_process(seen):
    deadline = time.monotonic() + 20
    while any(map(running, seen["family"])) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(seen["family"]) >= 4 and not any(map(running, seen["family"]))
