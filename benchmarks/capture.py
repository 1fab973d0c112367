"""Tracing, differentiating and adding AdamW to Llama-3-8B at several depths: seconds, and the memory it takes.

No weight is allocated: the model is made on torch's meta device. Every depth has a process of its own, since the peak
of a process never falls.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import msgspec

from benchmarks.report import ROOT, Table
from einsplit.graph import Graph
from einsplit.huggingface import Config, Workload
from einsplit.solver.units import seconds_text

TITLE = "A train step of Llama-3-8B as one Graph"
LAYERS = (1, 2, 4, 8, 16, 32)
BATCH, SEQ = 4, 2048
TURNS = 3
LLAMA: dict[str, object] = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
}


@dataclass(frozen=True, slots=True)
class Taken:
    """One process: seconds of each part, nodes of the Graphs, and peak bytes, those of the imports among them."""

    import_bytes: int
    trace_seconds: float
    grad_seconds: float
    adamw_seconds: float
    tidy_seconds: float
    forward_nodes: int
    train_nodes: int
    peak_bytes: int

    @property
    def seconds(self) -> float:
        return self.trace_seconds + self.grad_seconds + self.adamw_seconds + self.tidy_seconds


def measure(quick: bool) -> list[Table]:
    """The table; `quick` only sees that everything runs."""
    depths = LAYERS[:2] if quick else LAYERS
    rows = [(layers, _best([_taken(layers) for _ in range(1 if quick else TURNS)])) for layers in depths]
    note = (
        f"Loss of a batch of {BATCH} x {SEQ} tokens, every parameter trained, float32; the best of {TURNS} processes. "
        "`tidied in` are the passes that keep the Graph small, before the gradient and after the update. `loading` is "
        "the memory that Python, torch and transformers take before anything is traced; `peak` includes it."
    )
    columns = ("layers", "traced in", "differentiated in", "AdamW in", "tidied in", "in all", "per layer more")
    columns += ("nodes", "with update", "loading", "peak")
    return [Table("By depth", note, columns, _rows(rows))]


def _rows(taken: Sequence[tuple[int, Taken]]) -> list[tuple[str, ...]]:
    found = []
    for k, (layers, row) in enumerate(taken):
        before = taken[k - 1] if k else None
        more = "-" if before is None else seconds_text((row.seconds - before[1].seconds) / (layers - before[0]))
        parts = (row.trace_seconds, row.grad_seconds, row.adamw_seconds, row.tidy_seconds, row.seconds)
        nodes = (str(row.forward_nodes), str(row.train_nodes))
        memory = (f"{nbytes / 2**20:,.0f} MiB" for nbytes in (row.import_bytes, row.peak_bytes))
        found.append((str(layers), *map(seconds_text, parts), more, *nodes, *memory))
    return found


def _best(found: Sequence[Taken]) -> Taken:
    return min(found, key=lambda taken: taken.seconds)


def _taken(layers: int) -> Taken:
    command = [sys.executable, "-m", "benchmarks.capture", str(layers)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return msgspec.json.decode(done.stdout, type=Taken)


def train_step_of(layers: int) -> tuple[Taken, Graph]:
    """Llama-3-8B's config with that many layers: traced, differentiated, and given AdamW, here; and its Graph."""
    from einsplit.autodiff import grad
    from einsplit.capture import capture
    from einsplit.optim import AdamW, Group, with_updates
    from einsplit.passes import drop_stops, tidy

    config = Config("Llama-3-8B", "llama", ("LlamaForCausalLM",), "float32", LLAMA | {"num_hidden_layers": layers})
    called = Workload(config, BATCH, SEQ, train=True).called()
    loaded = peak_bytes()

    times = [time.perf_counter()]
    captured = capture(called.function, (), called.inputs, training=True)
    times.append(time.perf_counter())
    forward = tidy(captured.graph)
    times.append(time.perf_counter())
    names = [name for name, tensor in captured.tensors.items() if tensor.requires_grad]
    differentiated = grad(forward, "output", names)
    times.append(time.perf_counter())
    short = tidy(differentiated)
    times.append(time.perf_counter())
    stepped = with_updates(short, "output", [Group(AdamW(), tuple(names), "rate")])
    times.append(time.perf_counter())
    train = tidy(drop_stops(stepped))
    times.append(time.perf_counter())
    traced, tidied, grads, shortened, updated, finished = (b - a for a, b in pairwise(times))
    taken = Taken(
        import_bytes=loaded,
        trace_seconds=traced,
        grad_seconds=grads,
        adamw_seconds=updated,
        tidy_seconds=tidied + shortened + finished,
        forward_nodes=len(forward.nodes),
        train_nodes=len(train.nodes),
        peak_bytes=peak_bytes(),
    )
    return taken, train


def peak_bytes() -> int:
    """The most memory this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    print(msgspec.json.encode(asdict(train_step_of(int(sys.argv[1]))[0])).decode())
