"""Seconds of an exchange between two devices, by size: over threads, and over gloo between two processes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import torch

from einsplit.runtime.transport import Transport
from einsplit.runtime.transport.distributed import DistributedTransport, FileRendezvous
from einsplit.runtime.transport.threads import ThreadHub

SIZES = (4, 4096, 65536, 1 << 20, 1 << 23, 1 << 26)  # bytes that each device sends
PAIR = (0, 1)
TIMEOUT_SECONDS = 300.0


def exchange_seconds(transport: Transport, repeats: int) -> list[float]:
    """Median seconds of an all-to-all of two devices, for each size; both devices call this at the same time."""
    torch.set_num_threads(1)
    found = []
    for size in SIZES:
        pieces = [torch.ones(size // 4), torch.ones(size // 4)]
        taken = []
        for turn in range(repeats + 1):
            started = time.perf_counter()
            transport.all_to_all(pieces, PAIR)
            if turn:  # the first warms up
                taken.append(time.perf_counter() - started)
        found.append(statistics.median(taken))
    return found


def over_threads(repeats: int) -> list[float]:
    hub = ThreadHub(2, TIMEOUT_SECONDS)
    found: dict[int, list[float]] = {}

    def device(number: int) -> None:
        found[number] = exchange_seconds(hub.transports[number], repeats)

    threads = [threading.Thread(target=device, args=(number,)) for number in PAIR]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [max(pair) for pair in zip(found[0], found[1], strict=True)]


def over_gloo(repeats: int) -> list[float]:
    """Two processes of one machine, as the Ray workers are."""
    with tempfile.TemporaryDirectory(prefix="einsplit-") as directory:
        command = [sys.executable, "-m", "benchmarks.exchange", directory, str(repeats)]
        running = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True) for number in PAIR]
        try:
            answers = [process.communicate(timeout=TIMEOUT_SECONDS)[0] for process in running]
        finally:
            for process in running:
                process.kill()
                process.wait()
    first, second = (json.loads(answer) for answer in answers)
    return [max(pair) for pair in zip(first, second, strict=True)]


def main(directory: str, repeats: str, number: str) -> None:
    """One of the two processes: print the seconds as JSON."""
    transport = DistributedTransport(int(number), 2, FileRendezvous(directory), TIMEOUT_SECONDS)
    print(json.dumps(exchange_seconds(transport, int(repeats))))
    transport.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
