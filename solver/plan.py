"""Plan: one sharding per node of a prepared Graph, its price, and why; a JSON file of one node a line.

A plan file is data: it is decoded by a typed schema, within size limits, and never executes anything. What a schema cannot
say (that the labels exist, that the digits fit) is checked against the Graph when the plan is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from einsplit.errors import PlanError
from einsplit.graph import Graph, Label
from einsplit.solver.explain import plan_table
from einsplit.solver.machine import Machine
from einsplit.solver.prepare import prepare
from einsplit.solver.problem import Problem
from einsplit.solver.sharding import Choice, Sharding, Tables, choice_text, extent_classes, make_tables

FORMAT = 1
MAX_FILE_BYTES = 256 * 2**20

# searched: no choice of one group of axes improves it. exact: the cheapest over the stated digit tables. given: not searched.
Status = Literal["searched", "exact", "given"]


class NodePlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one node does: one choice per mesh axis, its own seconds and those of what it reads, and the next best."""

    name: str
    does: str  # the node in the notation
    cut: tuple[Choice, ...]
    seconds: float
    bytes: int  # sent by each device to bring the operands here
    runner_up: tuple[Choice, ...] | None = None
    runner_up_seconds: float = 0.0  # more than now, this node changed and all others fixed
    source: str = ""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a Graph is cut over a Machine. `print(plan)` shows it as a table."""

    format: int = FORMAT
    graph: str  # content hash of the Graph
    machine: Machine
    method: str
    status: Status
    bound: float | None = None  # seconds below which no plan is, where one is proven
    gap: float | None = None
    seconds: float
    bytes: int  # sent by each device in a step
    digits: dict[Label, tuple[int, ...]]  # extent class -> the mesh axes that may cut it
    nodes: tuple[NodePlan, ...]

    def __str__(self) -> str:
        return plan_table(self)

    __repr__ = __str__

    def to_json(self) -> bytes:
        """Canonical JSON: the same plan gives the same bytes."""
        fields = msgspec.to_builtins(self)
        nodes = fields.pop("nodes")
        head = [f'  "{key}": {_compact(value)}' for key, value in fields.items()]
        rows = ",\n".join("    " + _compact(node) for node in nodes)
        return ("{\n" + ",\n".join([*head, f'  "nodes": [\n{rows}\n  ]']) + "\n}\n").encode()

    def save(self, path: str | Path) -> None:
        """Write the plan file; the old one, if any, is replaced in one step."""
        target = Path(path)
        partial = target.with_name(f".{target.name}.partial")
        try:
            partial.write_bytes(self.to_json())
            partial.replace(target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise PlanError(f"plan file {target} cannot be written: {error.strerror or error}") from error

    @staticmethod
    def load(path: str | Path) -> Plan:
        """Read a plan file. Raises PlanError, with the place in the file, for anything that is not one."""
        try:
            size = Path(path).stat().st_size
            if size > MAX_FILE_BYTES:
                raise PlanError(f"plan file {path} has {size:,} bytes; a plan has at most {MAX_FILE_BYTES:,}")
            data = Path(path).read_bytes()
        except OSError as error:
            raise PlanError(f"plan file {path} cannot be read: {error.strerror or error}") from error
        return decode_plan(data, str(path))


class _Versioned(msgspec.Struct, frozen=True):
    format: int


def decode_plan(data: bytes, place: str = "plan") -> Plan:
    """A Plan from the bytes of a plan file."""
    try:
        version = msgspec.json.decode(data, type=_Versioned).format
        if version > FORMAT:
            raise PlanError(
                f"plan file {place} has format {version}, and this einsplit reads up to {FORMAT}: "
                "use the einsplit that wrote it, or plan again"
            )
        if version < 1:
            raise PlanError(f"plan file {place} has format {version}, and formats count from 1")
        return msgspec.json.decode(data, type=Plan)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PlanError(f"plan file {place} is damaged: {error}\n  Plan again, or restore it from version control.") from error


def _compact(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


class Realised(msgspec.Struct, frozen=True):
    """A plan and its Graph, checked against each other: all that lowering needs."""

    problem: Problem
    shardings: tuple[Sharding, ...]

    @property
    def graph(self) -> Graph:
        return self.problem.graph

    @property
    def tables(self) -> Tables:
        return self.problem.tables


def realise(plan: Plan, graph: Graph) -> Realised:
    """The plan on the Graph it was made for. Raises PlanError where the two do not fit."""
    if plan.graph != graph.hash:
        raise PlanError(
            f"this plan was made for another graph: it is for {plan.graph[:12]}, and the graph at hand is {graph.hash[:12]}.\n"
            "  The model, its shapes or its dtypes have changed: plan again."
        )
    prepared = prepare(graph)
    tables = checked_tables(prepared, plan.machine, plan.digits)
    problem = Problem(prepared, plan.machine, tables)
    if len(plan.nodes) != len(prepared.nodes):
        raise PlanError(f"the plan has {len(plan.nodes)} nodes and the graph {len(prepared.nodes)}: plan again")
    for at, row in enumerate(plan.nodes):
        if row.name != prepared.nodes[at].name:
            raise PlanError(f"nodes[{at}]: the plan says {row.name!r} and the graph {prepared.nodes[at].name!r}")
        _check_row(problem, at, row)
    return Realised(problem, tuple(row.cut for row in plan.nodes))


def checked_tables(graph: Graph, machine: Machine, digits: Mapping[Label, tuple[int, ...]]) -> Tables:
    """Digit tables as a plan gives them. Raises PlanError for labels and axes that are not there."""
    classes = set(extent_classes(graph).values())
    for label, axes in digits.items():
        if label not in classes:
            raise PlanError(f"digits: {label!r} is no extent class of the graph")
        if len(set(axes)) != len(axes) or not all(0 <= axis < len(machine.axes) for axis in axes):
            raise PlanError(f"digits[{label!r}]: {list(axes)} are not different axes of a machine that has {len(machine.axes)}")
    return make_tables(graph, machine.sizes, digits)


def _check_row(problem: Problem, at: int, row: NodePlan) -> None:
    num_axes = len(problem.machine.axes)
    if len(row.cut) != num_axes:
        raise PlanError(f"nodes[{at}] ({row.name}): {len(row.cut)} choices for {num_axes} mesh axes")
    for axis, choice in enumerate(row.cut):
        allowed = problem.choices(at, axis)
        if choice not in allowed:
            listed = ", ".join(choice_text(c) for c in allowed)
            raise PlanError(
                f"nodes[{at}] ({row.name}): axis {problem.machine.axes[axis].name!r} cannot be {choice_text(choice)}; "
                f"it can be {listed}"
            )
