"""What test_ray.py looks at: a user's program on Ray, told as one line of JSON."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import torch

from einsplit.errors import EinsplitError, RunError
from einsplit.parallelized import parallelize
from tests.runtime.processes import descendants, running


def main() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4)).eval()
    x = torch.randn(6, 8)
    seen: dict[str, object] = {}

    @parallelize(devices=3, backend="ray")
    def function(x, by):
        return {"scaled": x * by, "total": x.sum()}

    def function_is_right():
        found = function(x, 2.0)
        return torch.equal(found["scaled"], x * 2) and torch.allclose(found["total"], x.sum())

    fast = parallelize(net, devices=2, backend="ray")
    with torch.no_grad():
        # Two at a time, on one Ray.
        seen["module"] = torch.allclose(fast(x), net(x), atol=1e-6)
        seen["function"] = function_is_right()
        with parallelize(net, devices=2) as local:
            seen["bits"] = torch.equal(fast(x), local(x))
        net[0].weight.mul_(2)
        seen["changed"] = torch.allclose(fast(x), net(x), atol=1e-6)

        # A worker dies in the middle of a step.
        pids = fast.session(x).pids
        step = fast.session(x).num_steps + 1
        os.kill(pids[1], signal.SIGSTOP)  # so that the step is certainly not over when it comes to die
        threading.Timer(1.0, os.kill, (pids[1], signal.SIGKILL)).start()
        start = time.monotonic()
        try:
            fast(x)
        except EinsplitError as error:
            seen["death"] = [type(error).__name__, str(error).splitlines()[0], f"worker 1 (pid {pids[1]} on"]
            seen["told as a failed run"] = isinstance(error, RunError)
        seen["step"] = step
        seen["seconds"] = time.monotonic() - start
        time.sleep(1.0)
        seen["left of it"] = [pid for pid in pids if running(pid)]
        seen["the other goes on"] = function_is_right()
        seen["again"] = torch.allclose(fast(x), net(x), atol=1e-6)
        seen["new workers"] = set(fast.session(x).pids).isdisjoint(pids)

        # One is closed, the other goes on; then the program ends with that one open.
        fast.close()
        seen["after close"] = function_is_right()
    seen["family"] = sorted(descendants(os.getpid()))
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main()
