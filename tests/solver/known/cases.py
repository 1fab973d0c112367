"""What the known plans are tested with: machines, train steps of small nets, and what a Program of a plan moves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

from einsplit.autodiff import grad
from einsplit.builder import Builder
from einsplit.builder.views import Value
from einsplit.graph import Graph, Label
from einsplit.optim import SGD, Group
from einsplit.passes import tidy
from einsplit.scalar import Expr, call, operand
from einsplit.solver.check import check_plan
from einsplit.solver.machine import Machine, MeshAxis
from einsplit.solver.plan import Plan, realise
from einsplit.solver.planner import make_plan
from einsplit.solver.prepare import prepare
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Solution
from einsplit.solver.program import Program
from einsplit.solver.program.lower import lower
from einsplit.solver.program.memory import peak_bytes
from einsplit.solver.published.experts import EXPERTS
from einsplit.solver.search import sweep as search
from einsplit.solver.search.starts import digit_tables
from einsplit.solver.sharding import Choice, extent_classes
from einsplit.training.graph import train_graph
from tests.support.searches import whole
from tests.support.spelled import spelled

OPTIMAL = 1e-6  # share by which a plan may be above its bound and still be the cheapest
DTYPE, ITEMSIZE = "float32", 4


def machine(
    *sizes: int,
    bytes_per_second: float = 1e9,
    flops_per_second: float = 1e10,
    memory_bytes_per_second: float = 1e11,
) -> Machine:
    """Devices joined by one kind of link."""
    return Machine(
        name="one link",
        axes=tuple(MeshAxis(f"axis{k}", n, bytes_per_second, 1e-7) for k, n in enumerate(sizes)),
        flops_per_second=flops_per_second,
        memory_bytes_per_second=memory_bytes_per_second,
        memory_bytes=1e12,
        launch_seconds=1e-8,
    )


class Net:
    """A Builder of float32 that knows its parameters."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.names: list[str] = []

    def data(self, name: str, *shape: int, dtype: str = DTYPE) -> Value:
        return self.builder.input(name, shape, dtype)

    def weight(self, name: str, *shape: int) -> Value:
        self.names.append(name)
        return self.builder.input(name, shape, DTYPE, role="parameter")

    def inference(self, y: Value) -> Graph:
        return self.builder.build({"y": y})

    def gradients(self, loss: Value, *others: str) -> Graph:
        """The loss, and its gradients by all parameters and by other inputs."""
        graph = tidy(self.builder.build({"loss": loss}))
        return tidy(grad(graph, "loss", [*self.names, *others]))

    def step(self, loss: Value, momentum: float = 0.0) -> Graph:
        """A train step: the parameters go down the gradient."""
        graph = self.builder.build({"loss": loss})
        return train_graph(graph, [Group(SGD(lr=0.1, momentum=momentum), tuple(self.names), "rate")])


def acted(labels: str, x: Value, join: Expr | None = None) -> Value:
    """A function of every element, tanh unless given."""
    return spelled(f"{labels} -> {labels}", x, join=call("tanh", operand(0)) if join is None else join)


def squares(labels: str, x: Value) -> Value:
    """A loss."""
    return spelled(f"{labels} -> ", x, join=operand(0) * operand(0), name="loss")


@dataclass(frozen=True)
class Found:
    """A plan, and what it does."""

    plan: Plan
    graph: Graph

    @cached_property
    def solution(self) -> Solution:
        return realise(self.plan, self.graph)

    @cached_property
    def program(self) -> Program:
        return lower(self.solution)

    @property
    def is_optimal(self) -> bool:
        """Whether it is proven that no plan is cheaper."""
        return self.plan.bound is not None and self.plan.seconds <= self.plan.bound * (1 + OPTIMAL)

    def kinds(self, *sizes: int) -> dict[str, int]:
        """How often which collective moves a value of these true sizes, be it in pieces; of one are left out."""
        return dict(Counter(kind for kind, of, _ in moved(self.program) if of == sizes))

    def nbytes(self, *sizes: int) -> int:
        """Bytes that a device sends of values of these sizes."""
        return sum(sent for _, of, sent in moved(self.program) if of == sizes)

    def cut(self, name: str) -> tuple[Choice, ...]:
        """What the mesh axes do at a node."""
        (row,) = [row for row in self.plan.nodes if row.name == name]
        return row.cut

    def rests(self, name: str) -> int:
        """The elements of an input that a device holds."""
        (port,) = [port for port in self.program.inputs if port.name == name]
        return prod(self.program.buffers[port.buffer].shape)


def planned(graph: Graph, on: Machine, memory_bytes: int | None = None) -> Found:
    """A plan that the independent check finds sound, and that fits."""
    plan = make_plan(graph, on, memory_bytes=memory_bytes)
    assert all(each.verdict == "ok" for each in check_plan(plan, graph))
    found = Found(plan, graph)
    assert plan.peak_bytes == peak_bytes(found.program)
    assert memory_bytes is None or plan.peak_bytes <= memory_bytes
    return found


def moved(program: Program) -> list[tuple[str, tuple[int, ...], int]]:
    """Of every collective: its kind, the true sizes of the whole value, and the bytes that a device sends."""
    every = program.collectives
    sizes = [tuple(extent.size for extent in program.buffers[step.source].extents) for step in every]
    return [(step.kind, of, program.predicted_bytes(step)) for step, of in zip(every, sizes, strict=True)]


def ring_bytes(shape: Sequence[int], devices: int) -> int:
    """Bytes that each device sends in a ring's all-reduce: 2 (n - 1) / n of the tensor (Thakur et al. 2005)."""
    assert prod(shape) % devices == 0
    return 2 * (devices - 1) * (prod(shape) // devices) * ITEMSIZE


def expert_seconds(name: str, graph: Graph, on: Machine) -> float:
    """The price of the plan of an expert, memory left aside."""
    return EXPERTS[name](Memo(prepare(graph), on)).seconds


def seconds_without(label: Label, graph: Graph, on: Machine) -> float:
    """The price of the best plan on one mesh axis in which no node cuts the class of a label of the prepared graph."""
    gone = extent_classes(graph)[label]
    tables = [{**table, gone: ()} for table in digit_tables(graph, on) if table[gone]]
    assert tables, f"{label} could not be cut anyway"
    return min(search._solve(whole(graph, on, table), (0,)).seconds for table in tables)
