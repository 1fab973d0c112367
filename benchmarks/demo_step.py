"""A step of the demo's model: einsplit on threads and on Ray workers beside PyTorch, in turns; and planning time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from transformers import LlamaForCausalLM

from benchmarks.report import Table
from demo.__main__ import CASES
from demo.case import Planned, make_planned, median_seconds, parallel, parallel_logits, torch_logits
from demo.setting import llama, token_ids
from einsplit.solver.units import bytes_text, seconds_text

TITLE = "A step of the demo's Llama"
RUNS = (("einsplit, 1 thread", 1, "local"), ("einsplit, 2 threads", 2, "local"), ("einsplit, 2 Ray workers", 2, "ray"))


def measure(quick: bool) -> list[Table]:
    """The tables; `quick` only sees that everything runs."""
    model = llama(1 if quick else 8)
    turns = 1 if quick else 15
    config = model.config
    loads = CASES[-1:] if quick else CASES
    steps, plans = [], []
    for batch, seq in loads:
        planned, seconds = measure_load(model, batch, seq, turns)
        baseline = seconds["PyTorch, 1 thread"]
        load = f"{batch} x {seq}"
        steps += [(load, who, seconds_text(taken), f"{baseline / taken:.2f}") for who, taken in seconds.items()]
        plans.append(plan_row(load, planned))
    model_text = f"Llama of {config.num_hidden_layers} layers, hidden {config.hidden_size}, float32, forward"
    note = (
        f"{model_text}; median of {turns}, all of them in turns. einsplit's steps begin and end with whole tensors in "
        "the calling process. The last column is the speed against PyTorch on one thread."
    )
    times = Table("Steps", note, ("batch x bytes", "who", "step", "speed"), steps)
    columns = (
        "batch x bytes",
        "nodes",
        "traced in",
        "planned in",
        "priced at",
        "data parallel",
        "all whole",
        "each sends",
    )
    plan_note = "For two devices; the prices are what the optimizer believes a step takes on the preset `cpu-2`."
    return [times, Table("Plans", plan_note, columns, plans)]


def measure_load(model: LlamaForCausalLM, batch: int, seq: int, turns: int) -> tuple[Planned, dict[str, float]]:
    """The plan for two devices, and median seconds of a step by who makes it."""
    ids = token_ids(batch, seq)
    planned = {devices: make_planned(model, ids, devices) for devices in (1, 2)}
    who: dict[str, Callable[[], object]] = {
        "PyTorch, 1 thread": lambda: torch_logits(model, ids, 1),
        "PyTorch, 2 threads": lambda: torch_logits(model, ids, 2),
    }
    with ExitStack() as sessions:
        for name, devices, backend in RUNS:
            fast = sessions.enter_context(parallel(model, planned[devices], backend))
            who[name] = partial(parallel_logits, fast, ids)
        return planned[2], median_seconds(who, turns)


def plan_row(load: str, planned: Planned) -> tuple[str, ...]:
    seconds = (
        planned.trace_seconds,
        planned.plan_seconds,
        planned.plan.seconds,
        planned.data_parallel.seconds,
        planned.whole.seconds,
    )
    return (load, str(len(planned.graph.nodes)), *map(seconds_text, seconds), bytes_text(planned.plan.bytes))
