"""The checks of a plan for a graph, in the order in which one builds on another.

They share nothing with the search and its price but the Graph that is planned: labels are put into classes, joins are
judged, blocks are held, collectives are counted and nodes are priced by code of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from einsplit.graph import Graph, Label
from einsplit.solver.check.counted.prices import Prices
from einsplit.solver.check.extents import Extent, extents_of, table_faults
from einsplit.solver.check.faults import Check, Fault
from einsplit.solver.check.figures import (
    bound_faults,
    byte_faults,
    machine_faults,
    runner_up_price_faults,
    second_faults,
)
from einsplit.solver.check.legal import cut_faults, end_faults, row_faults, runner_up_faults, sum_faults
from einsplit.solver.plan import Plan
from einsplit.solver.prepare import computed, prepare_computed
from einsplit.solver.units import bytes_text, seconds_text


def check_plan(plan: Plan, graph: Graph) -> tuple[Check, ...]:
    """Every check; the plan is sound if all are `ok`. What has no meaning without an earlier one is not looked at."""
    of = _Judged(plan, graph)
    found: dict[str, Check] = {}
    for step in STEPS:
        missing = next((name for name in step.needs if found[name].verdict != "ok"), None)
        if missing is not None:
            found[step.name] = Check(step.name, "not checked", f"means nothing while {missing} is not ok")
            continue
        faults = tuple(step.faults(of))
        if faults:
            about = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
            found[step.name] = Check(step.name, "wrong", about, faults)
        else:
            found[step.name] = Check(step.name, "ok", step.about(of))
    return tuple(found.values())


class _Judged:
    """A plan, its graph, and what follows from both; each is made when it is first asked for."""

    def __init__(self, plan: Plan, graph: Graph) -> None:
        self.plan = plan
        self.computed = computed(graph)

    @cached_property
    def graph(self) -> Graph:
        """The graph that is planned."""
        return prepare_computed(self.computed)

    @cached_property
    def extents(self) -> dict[Label, Extent]:
        return extents_of(self.graph, self.plan.machine, self.plan.digits)

    @cached_property
    def prices(self) -> Prices:
        return Prices(self.graph, self.plan.machine, self.extents)


@dataclass(frozen=True, slots=True)
class _Step:
    """One check: those that must hold before it, what it found where all is well, and what is wrong."""

    name: str
    needs: tuple[str, ...]
    about: Callable[[_Judged], str]
    faults: Callable[[_Judged], Iterator[Fault]]


def _hash_faults(of: _Judged) -> Iterator[Fault]:
    if of.plan.graph != of.computed.hash:
        mistake = f"the plan is for {of.plan.graph[:12]!a}, and this graph is {of.computed.hash[:12]!r}"
        yield Fault("$.graph", "", mistake)


def _digit_faults(of: _Judged) -> Iterator[Fault]:
    for label, mistake in table_faults(of.graph, of.plan.machine, of.plan.digits):
        yield Fault(f"$.digits[{label!r}]", "", mistake)


def _bound_text(of: _Judged) -> str:
    plan = of.plan
    return "none is claimed" if plan.bound is None else f"{seconds_text(plan.bound)}, gap {plan.gap:.2g}"


STEPS = (
    _Step("graph", (), lambda of: f"{of.computed.hash[:12]}, {len(of.graph.nodes)} nodes", _hash_faults),
    _Step(
        "machine",
        (),
        lambda of: f"{of.plan.machine.name}, {of.plan.machine.num_devices} devices",
        lambda of: machine_faults(of.plan.machine),
    ),
    _Step("nodes", ("graph",), lambda of: "what each row does and reads", lambda of: row_faults(of.plan, of.graph)),
    _Step("digits", ("graph", "machine"), lambda of: f"{len(of.plan.digits)} tables", _digit_faults),
    _Step(
        "cuts",
        ("nodes", "digits"),
        lambda of: "by labels that each node has and that have a digit",
        lambda of: cut_faults(of.plan, of.graph, of.extents),
    ),
    _Step(
        "sums", ("nodes",), lambda of: "only where joins are jointly linear", lambda of: sum_faults(of.plan, of.graph)
    ),
    _Step(
        "addends",
        ("cuts", "sums"),
        lambda of: f"none at the {len(of.graph.outputs)} outputs and {len(of.graph.updates)} states",
        lambda of: end_faults(of.plan, of.graph),
    ),
    _Step(
        "bytes",
        ("cuts", "sums"),
        lambda of: f"{bytes_text(of.plan.bytes)} sent by each device",
        lambda of: byte_faults(of.plan, of.prices),
    ),
    _Step(
        "seconds",
        ("cuts", "sums"),
        lambda of: f"{seconds_text(of.plan.seconds)} a step",
        lambda of: second_faults(of.plan, of.prices),
    ),
    _Step(
        "runners-up",
        ("cuts", "sums"),
        lambda of: "choices that each node has",
        lambda of: runner_up_faults(of.plan, of.graph, of.extents),
    ),
    _Step(
        "their cost",
        ("runners-up",),
        lambda of: "so much more, all else as it is",
        lambda of: runner_up_price_faults(of.plan, of.prices),
    ),
    _Step("bound", (), _bound_text, lambda of: bound_faults(of.plan)),
)
