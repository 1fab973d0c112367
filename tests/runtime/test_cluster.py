"""A session on Ray: same numbers, one machine's walls, and nothing left behind whatever happens.

Each case runs in a driver process of its own, started in a directory that is not the repository's.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.runtime.processes import running

ROOT = Path(__file__).parents[2]


def drive(case: str, elsewhere: Path) -> dict[str, Any]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    finished = subprocess.run(
        [sys.executable, "-m", "tests.runtime.driver", case],
        cwd=elsewhere,
        env={**variables, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert finished.returncode == 0 and "Traceback" not in finished.stderr, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def test_a_private_cluster_computes_listens_on_the_loopback_only_and_vanishes(tmp_path):
    seen = drive("quiet", tmp_path)
    assert seen["y"] == seen["y of three"] == [0, 2, 4, 6, 8, 10]
    assert seen["state"] == {"w": 2}
    assert seen["traffic"] == [12, 12]  # three float32 to one peer
    assert seen["addresses"] == seen["addresses again"] == ["127.0.0.1"]
    assert seen["auth"] == ["token"]
    assert seen["left"] == []
    assert seen["ray"] is False
    ours = {"PYTHONPATH", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_USAGE_STATS_ENABLED"}
    assert ours.isdisjoint(seen["changed"])


def test_a_killed_worker_is_named_with_its_step_and_nothing_is_left(tmp_path):
    seen = drive("killed", tmp_path)
    assert seen["good"] == [0, 2, 4, 6, 8, 10]
    assert seen["error"] == "WorkerError"
    headline = f"worker 1 (pid {seen['pids'][1]} on 127.0.0.1) died in step 2; all workers were stopped."
    assert seen["message"].split("\n")[0] == headline
    assert seen["seconds"] < 30
    assert seen["family"] >= 5 and seen["left"] == []
    assert seen["ray"] is False
    assert seen["again"].startswith(f"RunError: this session can run no more: it ended in step 2 ({headline}")
    assert seen["again"].endswith("Start a new one.")


def test_a_mistake_in_one_worker_is_told_with_device_and_step_and_holds_nobody_up(tmp_path):
    seen = drive("mistaken", tmp_path)
    assert seen["error"] == "RunError"
    assert seen["message"] == "device 1 failed in step 2: ZeroDivisionError: nothing left"
    assert seen["seconds"] < 15 and seen["left"] == []


def test_a_worker_that_hangs_is_missed_after_the_timeout_and_stopped(tmp_path):
    seen = drive("frozen", tmp_path)
    assert seen["error"] == "RunError"
    assert "step 2" in seen["message"]
    assert seen["seconds"] < 30 and seen["left"] == []


def test_an_interrupt_passes_through_after_the_workers_are_stopped(tmp_path):
    seen = drive("interrupted", tmp_path)
    assert seen["error"] == "KeyboardInterrupt"
    assert seen["seconds"] < 15 and seen["left"] == []
    assert seen["again"] == (
        "RunError: this session can run no more: it ended in step 2 (KeyboardInterrupt). Start a new one."
    )


def test_a_session_left_open_ends_with_its_process(tmp_path):
    family = drive("forgotten", tmp_path)["family"]
    deadline = time.monotonic() + 10
    while any(map(running, family)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(family) >= 4 and not any(map(running, family))


def test_the_users_own_cluster_is_used_as_it_is_and_left_running(tmp_path):
    seen = drive("guest", tmp_path)
    assert seen["y"] == [0, 2, 4, 6, 8, 10]
    # How many have started by then depends on how busy the machine is.
    assert re.fullmatch(
        r"RunError: only [012] of 3 workers started within 5 s\. The program needs 3 CPUs of the Ray cluster, "
        r"one per worker; it has 2, of which \d are free now\.",
        seen["room"],
    )
    assert seen["error"] == "RunError" and seen["gone"]
    assert seen["ray"] is True


def test_a_ray_imported_early_or_shut_down_under_a_session_is_told(tmp_path):
    seen = drive("shut_down", tmp_path)
    message = "RunError: Ray was shut down before step 1; the workers are gone."
    assert seen["gone"] == seen["another"] == message
    assert seen["ray"] and seen["ray after"], "the one that the user started is left alone"
    assert seen["y"] == [0, 2, 4, 6, 8, 10]
    (warning,) = seen["warnings"]
    assert warning.startswith("Ray was imported before einsplit could tell it to stay on this machine")
