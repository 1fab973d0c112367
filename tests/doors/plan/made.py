"""Plans made by hand, of nodes that need no graph: what the doors that only show a plan are tested with."""

from __future__ import annotations

import msgspec

from einsplit.solver.plan import NodePlan, Plan
from tests.doors.graphs import machine

MACHINE = machine(2, 2)


def node(name, cut=("b", None), seconds=1e-3, nbytes=0, does="b -> b, exp(x)", **others):
    return NodePlan(name=name, does=does, cut=cut, seconds=seconds, bytes=nbytes, **others)


def plan_of(*nodes, on=MACHINE, graph="0123456789abcdef", **others):
    return Plan(
        graph=graph,
        machine=on,
        method=others.pop("method", "search"),
        status=others.pop("status", "settled"),
        seconds=sum(one.seconds for one in nodes),
        bytes=sum(one.bytes for one in nodes),
        digits={},
        nodes=tuple(nodes),
        **others,
    )


def layered(num_layers: int, width: int = 6) -> Plan:
    """Layers of `width` nodes in a chain, each with a weight and a copy of it that costs nothing."""
    nodes = [node("x", seconds=0.0, does="input b f")]
    last = 0
    for layer in range(num_layers):
        for k in range(width):
            at = len(nodes)
            weight, name = f"layers.{layer}.part{k}.weight", f"layers.{layer}.part{k}.linear_{layer * width + k}"
            h = f"h_{layer}"
            nodes.append(node(weight, (h, None), 0.0, does=f"parameter f {h}"))
            nodes.append(node(f"{weight}.use", (h, None), 0.0, does=f"f {h} -> f {h}, x", reads=(at,)))
            cut, does = (h, "b"), f"b f, f {h} -> b {h}, x * y, sum"
            other = {"runner_up": ("b", "b"), "runner_up_seconds": 2e-4, "source": "model.py:7"}
            nodes.append(node(name, cut, 1e-3 * (k + 1), 1000 * k, does=does, reads=(last, at + 1), **other))
            last = at + 2
    return plan_of(*nodes)


def with_memory(plan: Plan, held: list[int]) -> Plan:
    nodes = tuple(msgspec.structs.replace(one, live_bytes=value) for one, value in zip(plan.nodes, held, strict=True))
    return msgspec.structs.replace(plan, nodes=nodes, peak_bytes=max(held))
