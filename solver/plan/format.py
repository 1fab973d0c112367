"""Plan: one sharding per node of a prepared Graph, its price, and why; a JSON file of one node a line.

A plan file is data: it is decoded by a typed schema, within size limits, and never executes anything. What a
schema cannot say (that the labels exist, that the digits fit, that the prices are true) is checked against the
Graph when the plan is used.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from einsplit.errors import PlanError
from einsplit.graph import Graph, Label, node_text
from einsplit.solver.machine import Machine
from einsplit.solver.plan.explain import plan_table
from einsplit.solver.plan.rows import more_seconds, row_price
from einsplit.solver.plan.words import Words, check_words
from einsplit.solver.prepare import computed, prepare_computed
from einsplit.solver.problem.problem import Problem, Solution
from einsplit.solver.program.lower import lowered
from einsplit.solver.program.memory import held_by_node, held_bytes
from einsplit.solver.repeated import repeated_key
from einsplit.solver.sharding import Choice, Sharding, choice_text, extent_classes, make_tables
from einsplit.solver.shown import shown
from einsplit.solver.units import seconds_text

FORMAT = 2
MAX_FILE_BYTES = 64 * 2**20
MAX_COUNT = 10**30  # of bytes or words: sums of such are no more than a float holds
PLAN_AGAIN = "Plan again, or restore the file from version control."

# searched: the cheapest found. settled: no single mesh axis, changed at all nodes at once, makes it cheaper.
# folded: so, and in all repeated layers alike. exact: the cheapest over the digit tables tried. given: not searched.
# stopped: the cheapest found before time ran out.
Status = Literal["searched", "settled", "folded", "exact", "given", "stopped"]

Encoded = bytes  # a Plan has a field of that name


class NodePlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, gc=False):
    """What one node does: one choice per mesh axis, its own seconds and those of what it reads, the next best."""

    name: str
    does: str  # the node in the notation
    cut: tuple[Choice, ...]
    seconds: float
    bytes: int  # sent by each device to bring the operands here
    runner_up: tuple[Choice, ...] | None = None
    runner_up_seconds: float = 0.0  # more than now, this node changed and all others fixed
    reads: tuple[int, ...] = ()  # whose values, by their positions among the nodes
    live_bytes: int = 0  # held by a device while the node runs
    words: Words | None = None  # moved by each device, beside their lower bound; None: nothing to say
    source: str = ""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a Graph is cut over a Machine.

    >>> plan = einsplit.plan(einsplit.trace(model, x), 4)
    >>> print(plan)                        # a table
    >>> plan.save("plan.json")
    >>> einsplit.parallelize(model, plan="plan.json")
    """

    format: int = FORMAT
    graph: str  # content hash of the Graph
    machine: Machine
    method: str
    status: Status
    bound: float | None = None  # seconds below which no plan under the digit tables tried is, where proven
    gap: float | None = None
    seconds: float
    bytes: int  # sent by each device in a step
    bytes_by_axis: dict[str, int] = {}  # likewise, by the mesh axes that a collective is over: "node", "gpu0 x gpu1"
    peak_bytes: int = 0  # held by a device at once, at most
    digits: dict[Label, tuple[int, ...]]  # extent class -> the mesh axes that may cut it
    nodes: tuple[NodePlan, ...]

    def __post_init__(self) -> None:
        fault = next(_faults(self), None)
        if fault:
            raise PlanError(fault)

    def __str__(self) -> str:
        return plan_table(self)

    __repr__ = __str__

    def to_json(self) -> Encoded:
        """Canonical JSON: the same plan gives the same bytes."""
        head = [f'  "{key}": {_compact(getattr(self, key))}' for key in self.__struct_fields__ if key != "nodes"]
        rows = ",\n".join("    " + _compact(node) for node in self.nodes)
        return ("{\n" + ",\n".join([*head, f'  "nodes": [\n{rows}\n  ]']) + "\n}\n").encode()

    def save(self, path: str | Path) -> None:
        """Write the plan file; the old one, if any, is replaced in one step. Raises PlanError if that fails."""
        try:
            target = Path(os.path.realpath(path))  # a link stays one
            if target.exists() and not target.is_file():  # a pipe, /dev/stdout
                target.write_bytes(self.to_json())
                return
            partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
            try:
                partial.write_bytes(self.to_json())
                partial.replace(target)
            finally:
                with suppress(OSError):
                    partial.unlink(missing_ok=True)
        except (OSError, ValueError) as error:
            raise PlanError(f"plan file {path} cannot be written: {_reason(error)}") from error

    @staticmethod
    def load(path: str | Path) -> Plan:
        """Read a plan file. Raises PlanError, with the place in the file, for anything that is not one."""
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            raise PlanError(f"plan file {path} cannot be read: {_reason(error)}") from error
        if len(data) > MAX_FILE_BYTES:
            raise PlanError(f"plan file {path} is too large: a plan has at most {MAX_FILE_BYTES:,} bytes")
        return decode_plan(data, str(path))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _faults(plan: Plan) -> Iterator[str]:
    """What is wrong with a plan by itself, whatever its Graph."""
    num_axes = len(plan.machine.axes)
    if plan.format != FORMAT:
        yield f"$.format: {plan.format}, and plans are made in format {FORMAT}"
    for key in ("seconds", "bytes", "bound", "gap", "peak_bytes"):
        yield from _not_counted(f"$.{key}", getattr(plan, key))
    for name, sent in plan.bytes_by_axis.items():
        yield from _not_counted(f"$.bytes_by_axis[{name!r}]", sent)
    gap = plan.seconds / plan.bound - 1.0 if plan.bound else 0.0
    if (plan.bound is None) != (plan.gap is None) or abs((plan.gap or 0.0) - gap) > 1e-9 * (1 + abs(gap)):
        yield f"$.bound: bound {plan.bound} and gap {plan.gap} do not fit a plan of {plan.seconds} s"
    if plan.bytes_by_axis and sum(plan.bytes_by_axis.values()) != plan.bytes:
        yield f"$.bytes_by_axis: {sum(plan.bytes_by_axis.values()):,} bytes in all, and the plan sends {plan.bytes:,}"
    for label, axes in plan.digits.items():
        if len(set(axes)) != len(axes) or not all(0 <= axis < num_axes for axis in axes):
            yield (f"$.digits[{label!r}]: {list(axes)} are not different axes of a machine that has {num_axes}")
    for at, row in enumerate(plan.nodes):
        for key in ("seconds", "bytes", "live_bytes"):
            yield from _not_counted(f"$.nodes[{at}].{key}", getattr(row, key))
        if row.words is not None:
            for key in ("moved", "bound", "grid"):
                yield from _not_counted(f"$.nodes[{at}].words.{key}", getattr(row.words, key))
        if not all(0 <= operand < at for operand in row.reads):
            yield f"$.nodes[{at}].reads: {list(row.reads)}, and a node reads earlier ones"
        if not math.isfinite(row.runner_up_seconds):
            yield f"$.nodes[{at}].runner_up_seconds: {row.runner_up_seconds}"
        for key in ("cut", "runner_up"):
            cut = getattr(row, key)
            if cut is not None and len(cut) != num_axes:
                yield f"$.nodes[{at}].{key}: {len(cut)} choices for {num_axes} mesh axes"


def _not_counted(place: str, value: float | None) -> Iterator[str]:
    if value is not None and not 0 <= value < (MAX_COUNT if isinstance(value, int) else math.inf):
        yield f"{place}: {value}, and must be finite and not negative"


class _Versioned(msgspec.Struct, frozen=True):
    format: int


# Made here, not in `decode_plan`: msgspec compiles the annotations of its types when a decoder is made.
_VERSION = msgspec.json.Decoder(_Versioned)
_PLAN = msgspec.json.Decoder(Plan)


def decode_plan(data: bytes, place: str = "plan") -> Plan:
    """A Plan from the bytes of a plan file."""
    try:
        version = _VERSION.decode(data).format
        if version > FORMAT:
            raise PlanError(
                f"plan file {place} has format {version}, and this einsplit reads up to {FORMAT}.",
                "Use the einsplit that wrote it, or plan again.",
            )
        if version < 1:
            raise PlanError(f"plan file {place} has format {version}, and formats count from 1")
        plan = _PLAN.decode(data)
        repeated = repeated_key(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PlanError(f"plan file {place} is damaged: {shown(str(error))}", PLAN_AGAIN) from error
    if repeated:
        raise PlanError(f"plan file {place} is damaged: {shown(repeated)} stands twice", PLAN_AGAIN)
    return plan


def _compact(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def realise(plan: Plan, graph: Graph) -> Solution:
    """The plan on the Graph it was made for. Raises PlanError where the two do not fit, or a price is not true."""
    own = computed(graph)
    if plan.graph != own.hash:
        raise PlanError(
            f"this plan was made for another graph: it is for {plan.graph[:12]!a}, "
            f"and the graph at hand is {own.hash[:12]!r}.",
            "The model, its shapes or its dtypes have changed: plan again.",
        )
    prepared = prepare_computed(own)
    classes = set(extent_classes(prepared).values())
    for label in plan.digits:
        if label not in classes:
            raise PlanError(f"$.digits: {shown(label)!r} is no extent class of the graph", PLAN_AGAIN)
    problem = Problem(prepared, plan.machine, make_tables(prepared, plan.machine.sizes, plan.digits))
    if len(plan.nodes) != len(prepared.nodes):
        raise PlanError(f"$.nodes: {len(plan.nodes)} of the graph's {len(prepared.nodes)}", PLAN_AGAIN)
    for at in range(len(plan.nodes)):
        _check_choices(problem, at, plan.nodes[at])
    shardings = tuple(row.cut for row in plan.nodes)
    for at, row in enumerate(plan.nodes):
        _check_price(problem, shardings, at, row)
    price = problem.price(shardings)
    _check_figures("$", plan.seconds, price.seconds, plan.bytes, price.bytes_sent)
    check_words([(row.name, row.words) for row in plan.nodes], problem, shardings)
    found = Solution(problem, shardings, price.seconds)
    _check_memory(plan, found)
    return found


def _check_memory(plan: Plan, found: Solution) -> None:
    """Raises PlanError where devices hold other than the plan says; 0 bytes say nothing."""
    if not plan.peak_bytes:
        return
    program = lowered(found).program
    held = held_bytes(program)
    rows = zip(plan.nodes, held_by_node(program, held, len(plan.nodes)), strict=True)
    wrong = [(f"$.nodes[{at}].live_bytes", row.live_bytes, true) for at, (row, true) in enumerate(rows)]
    for place, said, true in (("$.peak_bytes", plan.peak_bytes, max(held)), *wrong):
        if said != true:
            raise PlanError(f"{place}: the plan says {said:,} bytes, and a device holds {true:,}", PLAN_AGAIN)


def _check_choices(problem: Problem, at: int, row: NodePlan) -> None:
    node, place = problem.graph.nodes[at], f"$.nodes[{at}]"
    # Names of inner nodes are not part of what a graph computes: a model may have been renamed since.
    if row.does != node_text(node):
        raise PlanError(
            f"{place} ({shown(row.name)}): the plan says {shown(row.does)!r}, the graph {node_text(node)!r}"
        )
    for key, cut in (("cut", row.cut), ("runner_up", row.runner_up or ())):
        for axis, choice in enumerate(cut):
            allowed = problem.choices(at, axis)
            if choice not in allowed:
                name = problem.machine.axes[axis].name
                raise PlanError(
                    shown(f"{place}.{key}[{axis}] ({row.name}): axis {name!r} cannot be {choice_text(choice)}"),
                    f"It can be {', '.join(choice_text(c) for c in allowed)}.",
                )


def _check_price(problem: Problem, shardings: tuple[Sharding, ...], at: int, row: NodePlan) -> None:
    price = row_price(problem, shardings, at)
    place = f"$.nodes[{at}]"
    _check_figures(f"{place} ({shown(row.name)})", row.seconds, price.seconds, row.bytes, price.bytes_sent)
    if row.runner_up is None:
        return
    more = more_seconds(problem, shardings, at, row.runner_up)
    if abs(more - row.runner_up_seconds) > 1e-9 * (abs(more) + price.seconds):
        raise PlanError(
            shown(
                f"{place}.runner_up_seconds ({row.name}): the plan says {row.runner_up_seconds:g}, and it is {more:g}"
            )
        )


def _check_figures(place: str, seconds: float, true_seconds: float, sent: int, true_sent: int) -> None:
    if abs(seconds - true_seconds) > 1e-9 * true_seconds or sent != true_sent:
        raise PlanError(
            f"{place}: the plan says {seconds_text(seconds)} and {sent:,} bytes; these choices on this machine "
            f"are {seconds_text(true_seconds)} and {true_sent:,} bytes.",
            "The file was changed by hand, or written by an einsplit that prices otherwise: plan again.",
        )
