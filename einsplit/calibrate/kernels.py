"""Nodes to measure, carried out by the runtime's own kernels: a multiplication, a pass, a join of many operations."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch

from einsplit.builder import Builder
from einsplit.calibrate.samples import Shape
from einsplit.einsum import einsum
from einsplit.graph import Graph
from einsplit.runtime.kernels import Call, compute
from einsplit.scalar import num_operations, parse_join
from einsplit.solver.machine import cpu
from einsplit.solver.plan import realise
from einsplit.solver.planner import make_plan
from einsplit.solver.program import Compute
from einsplit.solver.program.lower import lower
from einsplit.torch_dtypes import torch_dtype

PASS = "x + 1"
POINTWISE = "x * y + x - y * 0.5 + x * x"  # one operation after the other, each over all elements


@dataclass(frozen=True, slots=True)
class Made:
    """A kernel ready to be called, its scalar operations, and the bytes that it reads and writes."""

    run: Callable[[], object]
    operations: int
    nbytes: int


def matmul(dtype: str, shape: Shape, device: torch.device) -> Made:
    """A multiplication of m x k by k x n."""
    m, n, k = shape
    builder = Builder()
    x, y = builder.input("x", (m, k), dtype), builder.input("y", (k, n), dtype)
    return _made(builder.build({"z": einsum("m k, k n -> m n", x, y)}), device, 2 * m * n * k)


def one_pass(nbytes: int, device: torch.device) -> Made:
    """One operation on a float32 tensor of so many bytes, into new storage as every node of a Program."""
    return _join(PASS, nbytes // 4, device)


def pointwise(elements: int, device: torch.device) -> Made:
    """Several operations, one after the other."""
    return _join(POINTWISE, elements, device)


def _join(text: str, elements: int, device: torch.device) -> Made:
    builder = Builder()
    operands = [builder.input(name, (elements,), "float32") for name in ("x", "y") if name in text]
    signature = f"{', '.join(['i'] * len(operands))} -> i"
    graph = builder.build({"z": einsum(signature, *operands, join=text)})
    return _made(graph, device, elements * num_operations(parse_join(text, len(operands))))


def _made(graph: Graph, device: torch.device, operations: int) -> Made:
    program = lower(realise(make_plan(graph, cpu(1), "whole"), graph))
    (instruction,) = (step for step in program.instructions if isinstance(step, Compute))
    call = Call(instruction, ())
    buffers = [program.buffers[buffer] for buffer in (*instruction.operands, instruction.output)]
    tensors = [torch.rand(buffer.shape, device=device).to(torch_dtype(buffer.dtype)) for buffer in buffers[:-1]]
    nbytes = sum(prod(buffer.shape) * torch_dtype(buffer.dtype).itemsize for buffer in buffers)

    def run() -> None:
        compute(call, tensors)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return Made(run, operations, nbytes)


def least_seconds(run: Callable[[], object], seconds: float, repeats: int) -> float:
    """The fastest of as many calls as fit in the time after one to warm up, but at least `repeats`.

    Not their median: what else the machine does only adds to a call.
    """
    run()
    taken: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(taken) < repeats or time.perf_counter() < deadline:
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return min(taken)
