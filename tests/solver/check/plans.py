"""Plans of every kind: what the planner makes, and any legal choice at any node."""

from __future__ import annotations

from random import Random

import msgspec

from einsplit.graph import Graph, Label
from einsplit.solver.check import Check
from einsplit.solver.machine import Machine
from einsplit.solver.plan import Plan
from einsplit.solver.plan.write import written
from einsplit.solver.prepare import computed, prepare_computed
from einsplit.solver.problem.fold import unfolded
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.problem import Problem, Solution
from einsplit.solver.sharding import Sharding, extent_classes, make_tables
from tests.support.cuttings import random_machine


def any_machine(random: Random, mesh: tuple[int, ...]) -> Machine:
    """Often with rates of its own for matrix multiplications, slower for thin ones."""
    machine = random_machine(random, mesh)
    if random.random() < 0.3:
        return machine
    rates = {dtype: 10.0 ** random.uniform(6, 9) for dtype in ("float32", "float64", "int64") if random.random() < 0.8}
    return msgspec.structs.replace(machine, matmul_flops_per_second=rates, half_size=random.choice((0.0, 3.0, 100.0)))


def random_plan(random: Random, graph: Graph, machine: Machine) -> Plan:
    """Any digit tables that do not pad too much, and any choice at any node."""
    own = computed(graph)
    prepared = prepare_computed(own)
    axes_of: dict[Label, list[int]] = {}
    for label in sorted(set(extent_classes(prepared).values())):
        axes_of[label] = []
        for axis in random.sample(range(len(machine.axes)), len(machine.axes)):
            pieces = machine.axes[axis].size
            for other in axes_of[label]:
                pieces *= machine.axes[other].size
            size = prepared.sizes[label]
            padding = -size % pieces
            if pieces <= size and 8 * padding <= size and random.random() < 0.9:
                axes_of[label].append(axis)
    memo = Memo(prepared, machine, unfolded(prepared))  # equal layers are cut anyhow
    problem = Problem(prepared, machine, make_tables(prepared, machine.sizes, axes_of), memo)
    shardings = tuple(random_sharding(random, problem, node) for node in range(len(prepared.nodes)))
    return written(own.hash, "sweep", "given", Solution(problem, shardings, problem.price(shardings).seconds), None)


def random_sharding(random: Random, problem: Problem, node: int) -> Sharding:
    """Whole is one choice of many, and the dullest."""
    rows = [problem.choices(node, axis) for axis in range(len(problem.machine.axes))]
    return tuple(random.choice(row[1:] if len(row) > 1 and random.random() < 0.6 else row) for row in rows)


def wrong(checks: tuple[Check, ...]) -> dict[str, list[str]]:
    """The faults of every check that found any."""
    return {row.name: [str(fault) for fault in row.faults] for row in checks if row.verdict == "wrong"}
