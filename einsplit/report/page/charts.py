"""Plan -> small charts: memory over the nodes, bytes by mesh axes, seconds by kind of work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from einsplit.report.page.text import quoted
from einsplit.solver.plan import NodePlan, Plan
from einsplit.solver.plan.kinds import node_title, total_seconds, work_of
from einsplit.solver.units import bytes_text, seconds_text

__all__ = ["bytes_bars", "memory_chart", "work_bars"]

NUM_POINTS = 600  # across the memory chart: of more nodes, the most that any of a stretch holds
TALL = 100
MAX_BARS = 24


def memory_chart(plan: Plan) -> str:
    """Bytes that a device holds while each node runs, as an area, its peak marked; empty where they are unknown."""
    live = [node.live_bytes for node in plan.nodes]
    most = max(live, default=0)
    if most <= 0:
        return ""
    peak_at = live.index(most)
    points = _thinned(live)
    step = NUM_POINTS / len(points)
    heights = [TALL * (1 - value / most) for value in points]
    line = "".join(f"V{height:.1f}H{(k + 1) * step:.1f}" for k, height in enumerate(heights))
    x = (peak_at + 0.5) / len(live) * NUM_POINTS
    held = max(plan.peak_bytes, most)
    share = 100 * held / plan.machine.memory_bytes
    part = f"{share:.3g} %" if share >= 0.1 else "less than 0.1 %"
    name = quoted(node_title(plan.nodes[peak_at]))
    return (
        '<section id="memory"><h2>Memory over the step</h2>'
        f"<p>Peak <b>{bytes_text(held)}</b>, {part} of a device&#x27;s "
        f"{bytes_text(plan.machine.memory_bytes)}; most is held at <code>{name}</code>, "
        f"node {peak_at + 1:,} of {len(live):,}.</p>"
        f'<svg class="area" viewBox="0 0 {NUM_POINTS} {TALL}" preserveAspectRatio="none" role="img" '
        f'aria-label="Bytes held along the nodes"><path class="held" d="M0 {TALL}{line}V{TALL}Z"/>'
        f'<path class="peak" d="M{x:.1f} 0V{TALL}"/></svg>'
        '<p class="ends"><span>first node</span><span>last node</span></p></section>'
    )


def _thinned(values: Sequence[int]) -> list[int]:
    """At most NUM_POINTS of them: the greatest of each stretch."""
    size = -(-len(values) // NUM_POINTS)
    return [max(values[k : k + size]) for k in range(0, len(values), size)]


def bytes_bars(plan: Plan) -> str:
    """Bytes that each device sends, by the mesh axes that a collective is over; empty where none are sent."""
    rows = [(axes, float(sent), bytes_text(sent)) for axes, sent in plan.bytes_by_axis.items()]
    return _bars("Bytes by mesh axis", rows)


def work_bars(plan: Plan) -> str:
    """Seconds by kind of work, those of bringing the operands included."""
    by_work: dict[str, list[NodePlan]] = {}
    for node in plan.nodes:
        by_work.setdefault(work_of(node.does), []).append(node)
    seconds = {work: total_seconds(nodes) for work, nodes in by_work.items()}
    rows = [(work, value, seconds_text(value)) for work, value in seconds.items()]
    return _bars("Seconds by kind of work, with what it reads", rows)


def _bars(title: str, rows: Iterable[tuple[str, float, str]]) -> str:
    found = sorted((row for row in rows if row[1] > 0), key=lambda row: -row[1])[:MAX_BARS]
    if not found:
        return ""
    most = found[0][1]
    lines = [
        f'<tr><th scope="row">{quoted(name)}</th><td class="bar"><svg viewBox="0 0 100 1" preserveAspectRatio="none" '
        f'aria-hidden="true"><rect width="{100 * value / most:.2f}" height="1"/></svg></td><td>{text}</td></tr>'
        for name, value, text in found
    ]
    return f'<section><h2>{title}</h2><table class="bars"><tbody>{"".join(lines)}</tbody></table></section>'
