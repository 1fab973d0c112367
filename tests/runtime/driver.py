"""A driver process that uses Ray sessions, for tests that must own a whole process.

`python -m tests.runtime.driver CASE` prints one JSON object: what was seen. The programs are fakes.
"""

import json
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable

import torch

from einsplit.runtime import cluster, session
from tests.runtime.fakes import FakeProgram, FakeWorker, fake_assemble, fake_cut
from tests.runtime.processes import descendants, listening, running

FEEDS = {"x": torch.arange(6.0)}
Seen = dict[str, object]


def open_session(program: FakeProgram, **options: float) -> cluster.RaySession:
    ray = cluster.RaySession(program, **options)
    ray.put("w", torch.tensor(2.0))
    return ray


def ray_is_up() -> bool:
    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


def mishap(
    program: FakeProgram, meanwhile: Callable[[cluster.RaySession], None] | None = None, **options: float
) -> Seen:
    """One good step, then the one in which things go wrong, then another try."""
    ray = open_session(program, **options)
    good = ray.step(FEEDS)["y"].tolist()
    family = descendants(os.getpid())
    timer = threading.Timer(1.0, meanwhile or (lambda _: None), [ray])
    timer.start()
    start = time.monotonic()
    try:
        ray.step(FEEDS)
        error: BaseException | None = None
    except BaseException as caught:
        error = caught
    seconds = time.monotonic() - start
    try:
        ray.step(FEEDS)
        again = ""
    except Exception as caught:
        again = f"{type(caught).__name__}: {caught}"
    return {
        "good": good,
        "error": type(error).__name__,
        "message": str(error),
        "seconds": seconds,
        "again": again,
        "pids": ray.pids,
        "left": sorted(filter(running, family)),
        "family": len(family),
        "ray": ray_is_up(),
    }


def quiet() -> Seen:
    variables = dict(os.environ)
    with open_session(FakeProgram(2)) as ray:
        y = ray.step(FEEDS)["y"].tolist()
        with open_session(FakeProgram(3)) as larger:
            y_of_three = larger.step(FEEDS)["y"].tolist()
        family = descendants(os.getpid())
        addresses = family_addresses()
        state = {name: tensor.tolist() for name, tensor in ray.state().items()}
        traffic = [one.bytes_sent for one in ray.traffic]
        modes = sorted({auth_mode(pid) for pid in ray.pids})
    warnings.simplefilter("error", RuntimeWarning)
    with open_session(FakeProgram(1)):  # a new cluster, in a process that knows Ray by now
        addresses_again = family_addresses()
    changed = sorted(name for name in {*variables, *os.environ} if variables.get(name) != os.environ.get(name))
    return {
        "y": y,
        "y of three": y_of_three,
        "state": state,
        "traffic": traffic,
        "addresses": addresses,
        "addresses again": addresses_again,
        "auth": modes,
        "left": sorted(filter(running, family)),
        "changed": changed,
        "ray": ray_is_up(),
    }


def family_addresses() -> list[str]:
    """What this process and its descendants listen on."""
    family = {os.getpid(), *descendants(os.getpid())}
    return sorted({address for pid in family for address in listening(pid)})


def auth_mode(pid: int) -> str:
    with open(f"/proc/{pid}/environ") as environment:
        return dict(entry.split("=", 1) for entry in environment.read().split("\0") if entry).get("RAY_AUTH_MODE", "")


def killed() -> Seen:
    program = FakeProgram(3, trouble="sleep", at_step=2, device=2)
    return mishap(program, lambda ray: os.kill(ray.pids[1], signal.SIGKILL))


def mistaken() -> Seen:
    return mishap(FakeProgram(2, trouble="raise", at_step=2))


def frozen() -> Seen:
    return mishap(FakeProgram(2, trouble="freeze", at_step=2), timeout_seconds=4)


def interrupted() -> Seen:
    return mishap(FakeProgram(2, trouble="sleep", at_step=2), lambda _: os.kill(os.getpid(), signal.SIGINT))


def forgotten() -> Seen:
    """The process ends with the session open."""
    global keep
    keep = open_session(FakeProgram(2))
    return {"family": sorted(descendants(os.getpid()))}


def guest() -> Seen:
    """The user has initialised Ray before, with too few CPUs for some programs."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    with open_session(FakeProgram(2)) as small:
        y = small.step(FEEDS)["y"].tolist()
    try:
        open_session(FakeProgram(3), start_timeout_seconds=5)
        room = ""
    except Exception as caught:
        room = f"{type(caught).__name__}: {caught}"
    seen = mishap(FakeProgram(2, trouble="raise", at_step=2))
    gone = not any(running(pid) for pid in seen["pids"])
    return {"y": y, "room": room, "error": seen["error"], "gone": gone, "ray": ray_is_up()}


def shut_down() -> Seen:
    """The user shuts Ray down under a session, and starts it anew."""
    import ray

    seen: Seen = {"warnings": []}
    for name in ("gone", "another"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            opened = open_session(FakeProgram(1))
        seen["warnings"] = [str(warning.message) for warning in caught if warning.category is RuntimeWarning]
        ray.shutdown()
        if name == "another":
            ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
        try:
            opened.step(FEEDS)
        except Exception as error:
            seen[name] = f"{type(error).__name__}: {error}"
    seen["ray"] = ray_is_up()
    with open_session(FakeProgram(1)) as guest:
        seen["y"] = guest.step(FEEDS)["y"].tolist()
    seen["ray after"] = ray_is_up()
    return seen


CASES = {case.__name__: case for case in (quiet, killed, mistaken, frozen, interrupted, forgotten, guest, shut_down)}

if __name__ == "__main__":
    session.cut, session.assemble = fake_cut, fake_assemble
    cluster.Worker = FakeWorker
    print(json.dumps(CASES[sys.argv[1]]()), flush=True)
