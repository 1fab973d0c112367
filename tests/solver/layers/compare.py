"""A plan made by the short form of a deep graph, held against the one made by the whole graph."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import msgspec
import pytest

from einsplit.errors import PlanError
from einsplit.graph import Graph
from einsplit.solver.check import check_plan
from einsplit.solver.layers.deep import Deep, deep
from einsplit.solver.machine import Machine
from einsplit.solver.plan import Plan, realise
from einsplit.solver.planner import make_plan
from einsplit.solver.prepare import computed
from tests.support.cuttings import random_machine

ROUNDING = 1e-9
_NUMBER = re.compile(r"[0-9][0-9,.]*")
_EXACT = ("graph", "status", "bytes", "bytes_by_axis", "peak_bytes", "digits")


@dataclass(frozen=True, slots=True)
class Refused:
    """That no plan was found: the numbers of what was said, for the nodes that it names may be of another layer."""

    numbers: tuple[str, ...]


def planned(graph: Graph, on: Machine, memory_bytes: int | None = None) -> Plan | Refused:
    try:
        return make_plan(graph, on, memory_bytes=memory_bytes)
    except PlanError as error:
        return Refused(tuple(_NUMBER.findall(re.sub("'[^']*'", "", str(error)))))


def planned_whole(graph: Graph, on: Machine, memory_bytes: int | None = None) -> Plan | Refused:
    """Likewise, by a search that knows of no layers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("einsplit.solver.planner.deep", lambda graph: None)
        return planned(graph, on, memory_bytes)


def assert_same(found: Plan | Refused, wanted: Plan | Refused) -> None:
    if isinstance(found, Refused) or isinstance(wanted, Refused):
        assert found == wanted
        return
    wrong = list(_differences(found, wanted))
    assert not wrong, "\n".join(wrong[:20])


def _differences(found: Plan, wanted: Plan) -> Iterator[str]:
    for key in _EXACT:
        if getattr(found, key) != getattr(wanted, key):
            yield f"{key}: {getattr(found, key)}, and of the whole graph {getattr(wanted, key)}"
    for key in ("seconds", "bound"):
        if getattr(found, key) != pytest.approx(getattr(wanted, key), rel=ROUNDING):
            yield f"{key}: {getattr(found, key)}, and of the whole graph {getattr(wanted, key)}"
    if found.gap != pytest.approx(wanted.gap, abs=ROUNDING):
        yield f"gap: {found.gap}, and of the whole graph {wanted.gap}"
    if len(found.nodes) != len(wanted.nodes):
        yield f"{len(found.nodes)} rows, and of the whole graph {len(wanted.nodes)}"
        return
    for at, rows in enumerate(zip(found.nodes, wanted.nodes, strict=True)):
        row, other = map(msgspec.structs.asdict, rows)
        for key, value in row.items():
            # What moves elsewhere at no cost is a runner-up for a rounding's sake.
            equal = (
                value == pytest.approx(other[key], rel=ROUNDING, abs=ROUNDING * wanted.seconds)
                if isinstance(value, float)
                else value == other[key]
            )
            if not equal:
                yield f"row {at} ({row['name']}) {key}: {value}, and of the whole graph {other[key]}"


def check_same(graph: Graph, on: Machine, memory_bytes: int | None = None) -> Plan | Refused:
    """The plan, once it is seen to be that of the whole graph, and sound in the eyes of who checks it node by node."""
    found = planned(graph, on, memory_bytes)
    assert_same(found, planned_whole(graph, on, memory_bytes))
    if isinstance(found, Plan):
        realise(found, graph)
        wrong = {row.name: row.faults for row in check_plan(found, graph) if row.verdict != "ok"}
        assert not wrong, wrong
    return found


def shortened(graph: Graph) -> Deep:
    """The short form that is planned instead."""
    own = computed(graph)
    found = deep(own)
    assert found is not None, "no short form"
    assert found.short.repeats >= 1 and len(found.short.graph.nodes) < len(own.nodes)
    return found


def some_machine(seed: int, mesh: tuple[int, ...]) -> Machine:
    return random_machine(Random(seed), mesh)
