"""Random cuttings of a graph, and running them: digit tables chosen freely, one sharding per node."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
import torch

from einsplit.graph import Graph, Label
from einsplit.runtime.local import LocalSession
from einsplit.solver.machine import Machine, MeshAxis
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem, Solution
from einsplit.solver.program import Program
from einsplit.solver.program.lower import lower
from einsplit.solver.program.memory import peak_bytes
from einsplit.solver.sharding import Sharding, extent_classes, make_tables

MESHES = ((2,), (2, 2), (3, 2), (2, 2, 2))


def random_machine(random: Random, mesh: tuple[int, ...]) -> Machine:
    """Rates from so slow that everything else is free to so fast that it is free itself; some axes share a link."""

    def some(low: float, high: float) -> float:
        return 10.0 ** random.uniform(low, high)

    links = [(some(5, 9), some(-8, -4))]
    for _ in mesh[1:]:
        links.append(links[-1] if random.random() < 0.5 else (some(5, 9), some(-8, -4)))
    return Machine(
        name="random",
        axes=tuple(MeshAxis(f"axis{k}", n, *link) for k, (n, link) in enumerate(zip(mesh, links, strict=True))),
        flops_per_second=some(6, 9),
        memory_bytes_per_second=some(6, 10),
        memory_bytes=1e9,
        launch_seconds=some(-8, -5),
    )


@dataclass(frozen=True, slots=True)
class Cutting:
    """One plan, good or bad."""

    problem: Problem
    shardings: tuple[Sharding, ...]

    @property
    def program(self) -> Program:
        problem = self.problem
        return lower(Solution(problem, self.shardings, problem.price(self.shardings).seconds))

    def __repr__(self) -> str:
        nodes = zip(self.problem.graph.nodes, self.shardings, strict=True)
        lines = [f"  %{at} {node.name}: {sharding}" for at, (node, sharding) in enumerate(nodes)]
        tables = {label: digits for label, digits in self.problem.tables.items() if digits.axes}
        return "\n".join([f"Cutting on {self.problem.machine.sizes}, tables {tables}", *lines])


def random_cutting(random: Random, graph: Graph, machine: Machine, memo: Memo | None = None) -> Cutting:
    """Any digit tables: axes in any order, whatever they pad; any choice at any node."""
    axes_of: dict[Label, list[int]] = {}
    for label in sorted(set(extent_classes(graph).values())):
        order = list(range(len(machine.axes)))
        random.shuffle(order)
        axes_of[label] = [axis for axis in order if random.random() < 0.8]
    problem = Problem(graph, machine, make_tables(graph, machine.sizes, axes_of), memo)
    shardings = []
    for node in range(len(graph.nodes)):
        rows = [problem.choices(node, axis) for axis in range(len(machine.axes))]
        # Whole is one choice of many, and the dullest.
        shardings.append(
            tuple(random.choice(row[1:] if len(row) > 1 and random.random() < 0.6 else row) for row in rows)
        )
    return Cutting(problem, tuple(shardings))


def run_local(program: Program, feeds: dict[str, np.ndarray], num_steps: int = 1) -> dict[str, np.ndarray]:
    """Fetches, and updated states, after so many steps on threads; the bytes sent are held against those predicted."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in feeds.items()}
    with LocalSession(program, timeout_seconds=60) as session:
        for name in program.parameters:
            session.put(name, tensors[name])
        for _ in range(num_steps):
            found = session.step({name: tensors[name] for name in program.feeds})
            check_bytes(program, session)
        state = session.state()
    found |= {name: state[name] for name, _ in program.updates}
    return {name: tensor.numpy() for name, tensor in found.items()}


def check_bytes(program: Program, session: LocalSession) -> None:
    """Predicted bytes are the counted ones: of each device, of each collective, and in all on its transport.

    And so are the bytes that a device holds at most.
    """
    predicted = [(c.kind, c.axes, program.predicted_bytes(c)) for c in program.collectives]
    assert len(session.traffic) == program.num_devices
    for traffic in session.traffic:
        assert [(c.kind, c.axes, c.bytes_sent) for c in traffic.counters] == predicted
        assert traffic.bytes_sent == sum(nbytes for _, _, nbytes in predicted)
    assert session.peak_bytes == (peak_bytes(program),) * program.num_devices
