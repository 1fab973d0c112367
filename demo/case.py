"""One shape of input: plan it, run it on devices, and compare logits, bytes and times with what they should be."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast

from einsplit.api import compile_plan, plan, trace
from einsplit.graph import Graph
from einsplit.parallelized import Parallelized, parallelize
from einsplit.runtime.session import DeviceTraffic
from einsplit.solver.machine import Machine
from einsplit.solver.plan import Plan
from einsplit.solver.program import Compute, Program

MAX_DIFFERENCE = 1e-4  # of float32 logits; sums are taken in another order
OURS = "einsplit"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Planned:
    """A Graph, the plan found for it, and what people would have written instead, under the same price."""

    graph: Graph
    plan: Plan
    program: Program
    data_parallel: Plan
    whole: Plan
    share: float  # operations of one device over those of the whole; every device of a Program does as many
    trace_seconds: float
    plan_seconds: float


@dataclass(frozen=True, slots=True)
class Compared:
    """What came out, beside what PyTorch says on one process."""

    logits: Tensor  # [batch, seq, vocabulary]
    max_difference: float
    loss: float  # mean next-byte cross-entropy, nats
    torch_loss: float
    predicted: tuple[int, ...]  # bytes that each device sends, per collective
    traffic: tuple[DeviceTraffic, ...]  # what each device counted
    start_seconds: float  # until the first step is done: devices started, parameters handed out
    seconds: Mapping[str, float]  # median of a step, by who made it

    @property
    def logits_agree(self) -> bool:
        return self.max_difference <= MAX_DIFFERENCE  # false for NaN too

    @property
    def bytes_agree(self) -> bool:
        """Per collective by the executor's count, and in all by the transport's."""
        return all(
            tuple(count.bytes_sent for count in device.counters) == self.predicted
            and device.bytes_sent == sum(self.predicted)
            for device in self.traffic
        )


def make_planned(
    model: LlamaForCausalLM, ids: Tensor, machine: Machine | int, say: Progress = lambda text: None
) -> Planned:
    """Trace the model for ids of this shape, and plan it for a machine or a number of devices."""
    started = time.perf_counter()
    say("tracing the model")
    graph = trace(model, ids)
    traced = time.perf_counter()
    say(f"planning {len(graph.nodes)} nodes")
    found = plan(graph, machine)
    planned = time.perf_counter()
    say("pricing data parallel and all whole")
    by_hand = {method: plan(graph, machine, method) for method in ("data-parallel", "whole")}
    program = compile_plan(found, graph)
    whole = compile_plan(by_hand["whole"], graph)
    return Planned(
        graph=graph,
        plan=found,
        program=program,
        data_parallel=by_hand["data-parallel"],
        whole=by_hand["whole"],
        share=num_operations(program) / num_operations(whole),
        trace_seconds=traced - started,
        plan_seconds=planned - traced,
    )


def num_operations(program: Program) -> int:
    """Scalar operations of each device in a step."""
    return sum(i.operations for i in program.instructions if isinstance(i, Compute))


def parallel(model: LlamaForCausalLM, planned: Planned, backend: str) -> Parallelized[..., object]:
    """The model, run by the plan."""
    return parallelize(model, machine=planned.plan.machine, backend=backend, plan=planned.plan)


def compare(
    model: LlamaForCausalLM,
    fast: Parallelized[..., object],
    ids: Tensor,
    planned: Planned,
    repeats: int = 1,
    say: Progress = lambda text: None,
) -> Compared:
    """Run both, check that they agree, and measure steps of both in turn."""
    say("starting the devices and handing out the parameters")
    started = time.perf_counter()
    logits = parallel_logits(fast, ids)
    start_seconds = time.perf_counter() - started
    reference = torch_logits(model, ids, torch.get_num_threads())
    who: dict[str, Callable[[], object]] = {
        OURS: lambda: parallel_logits(fast, ids),
        "PyTorch, 1 thread": lambda: torch_logits(model, ids, 1),
        "PyTorch, 2 threads": lambda: torch_logits(model, ids, 2),
    }
    return Compared(
        logits=logits,
        max_difference=(logits - reference).abs().max().item(),
        loss=next_byte_loss(logits, ids),
        torch_loss=next_byte_loss(reference, ids),
        predicted=tuple(map(planned.program.predicted_bytes, planned.program.collectives)),
        traffic=fast.session(ids).traffic,
        start_seconds=start_seconds,
        seconds=median_seconds(who, repeats, say),
    )


@torch.no_grad()
def parallel_logits(fast: Parallelized[..., object], ids: Tensor) -> Tensor:
    """The logits of the devices, as the original returns them."""
    result = fast(ids)
    assert isinstance(result, CausalLMOutputWithPast)
    assert result.logits is not None
    return result.logits


@torch.no_grad()
def torch_logits(model: LlamaForCausalLM, ids: Tensor, num_threads: int) -> Tensor:
    """The logits of PyTorch in this process."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        logits = model(ids).logits
    finally:
        torch.set_num_threads(before)
    assert isinstance(logits, Tensor)
    return logits


def next_byte_loss(logits: Tensor, ids: Tensor) -> float:
    """Mean cross-entropy of every byte but the first of each sequence, in nats; NaN for sequences of one byte."""
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).item()


def median_seconds(
    who: Mapping[str, Callable[[], object]], repeats: int, say: Progress = lambda text: None
) -> dict[str, float]:
    """Median seconds of each call. They take turns, so that what else the machine does hits all of them alike."""
    taken: dict[str, list[float]] = {name: [] for name in who}
    for turn in range(-1, repeats):  # one turn to warm up
        say(f"measuring: turn {max(turn + 1, 0)} of {repeats}")
        for name, call in who.items():
            started = time.perf_counter()
            call()
            if turn >= 0:
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}
