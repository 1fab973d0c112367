"""Cases -> what they show: how near to the best, never dearer than a rival, what failed; and a row for each."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmarks.planning.case import LEAST_LEAD, Case, Rival
from benchmarks.planning.machines import COARSER, HOST_BYTES, MACHINES
from benchmarks.report import Table
from einsplit.solver.units import bytes_text, seconds_text

NEAR = 0.01  # the gap that is asked for
MAX_CERTIFIED_AXES = 2
COLUMNS = (
    *("cases", "planned", "gap at most 1 %", "largest gap", "rivals cheaper"),
    *("best expert, median", "best expert, largest", "bound by memory", "CPU, median", "CPU, most"),
)


def summary(cases: Sequence[Case]) -> list[Table]:
    """Shares, medians and extremes; then all that is not as it should be."""
    few = [case for case in cases if _num_axes(case) <= MAX_CERTIFIED_AXES]
    many = [case for case in cases if _num_axes(case) > MAX_CERTIFIED_AXES]
    note = (
        "`gap`: by how much a plan may be dearer than the cheapest there is, as the search proved it. `rivals "
        "cheaper`: plans of experts and of the EinDecomp dynamic program that cost less than ours under the same "
        "price, and fit into the same memory. `best expert`: seconds of the cheapest expert's plan that fits, as a "
        "multiple of ours. `bound by memory`: the cheapest plan of all would not fit. `CPU`: of planning one case, "
        "without tracing. "
        f"A core of cpu-4 has {bytes_text(HOST_BYTES)}."
    )
    by_model = _grouped(few, lambda case: case.model)
    by_machine = _grouped(few, lambda case: case.machine)
    finer = _grouped(many, lambda case: case.machine)
    found = [
        Table("Optimal and never worse, by model", note, ("model", *COLUMNS), by_model),
        Table("The same by machine", "Meshes of at most two axes.", ("machine", *COLUMNS), by_machine),
    ]
    if many:
        found.append(Table("Finer meshes", _finer_note(cases), ("machine", *COLUMNS), finer))
    return [*found, failures(cases)]


def _finer_note(cases: Sequence[Case]) -> str:
    """A plan over a coarse mesh is one over a finer mesh: what the finer ones gain."""
    at = {(case.subject, case.machine): case for case in cases if not case.error}
    pairs = [(case, at.get((case.subject, COARSER.get(case.machine, "")))) for case in at.values()]
    gains = [coarse.seconds / fine.seconds for fine, coarse in pairs if coarse is not None]
    said = "Planned over meshes of three axes, for which there is no certificate: no single axis improves the plan."
    if not gains:
        return said
    dearer = sum(gain < 1 - LEAST_LEAD for gain in gains)
    return (
        f"{said} The coarse mesh's plan of {len(gains)} cases takes {statistics.median(gains):.3f} times the finer "
        f"mesh's in the median, {max(gains):.3f} times at most, {min(gains):.3f} times at least: {dearer} of the plans "
        "over the finer mesh are dearer than what they could have been."
    )


def _grouped(cases: Sequence[Case], key: Callable[[Case], str]) -> list[tuple[str, ...]]:
    names = list(dict.fromkeys(map(key, cases)))
    rows = [(name, *_figures([case for case in cases if key(case) == name])) for name in names]
    return [*rows, ("**all**", *_figures(cases))] if len(rows) > 1 else rows


def _figures(cases: Sequence[Case]) -> tuple[str, ...]:
    planned = [case for case in cases if not case.error]
    gaps = [case.gap for case in planned if case.gap is not None]
    near = sum(gap <= NEAR for gap in gaps)
    advantages = [found for found in (case.advantage() for case in planned) if found is not None]
    cheaper = sum(len(case.cheaper()) for case in planned)
    rivals = sum(rival.seconds is not None for case in planned for rival in case.rivals)
    cpu = [case.cpu_seconds for case in planned]
    return (
        str(len(cases)),
        str(len(planned)),
        f"{near} of {len(planned)}" if gaps else "no bound",
        gap_text(max(gaps, default=None)),
        f"{_bold(str(cheaper)) if cheaper else '0'} of {rivals}",
        f"{statistics.median(advantages):.2f}" if advantages else "-",
        f"{max(advantages):.2f}" if advantages else "-",
        str(sum(case.is_bound_by_memory for case in planned)),
        seconds_text(statistics.median(cpu)) if cpu else "-",
        seconds_text(max(cpu)) if cpu else "-",
    )


def failures(cases: Sequence[Case]) -> Table:
    """What is not as it is meant to be, a row for each."""
    rows = [(*case.subject, case.machine, what) for case in cases for what in _failures(case)]
    note = "No plan; a gap above 1 %, or none on a mesh of at most two axes; a rival cheaper; memory limits raised."
    columns = ("model", "shape", "mode", "machine", "what")
    return Table("What fell short", note, columns, rows or [("none", "", "", "", "")])


def _failures(case: Case) -> Iterable[str]:
    if case.error:
        yield " ".join(case.error.split()).replace("|", "/")
        return
    if case.gap is None and _num_axes(case) <= MAX_CERTIFIED_AXES:
        yield "no bound"
    if case.gap is not None and case.gap > NEAR:
        yield f"gap {gap_text(case.gap)}{', bound by memory' if case.is_bound_by_memory else ''}"
    for rival in case.cheaper():
        yield f"{rival.name} is cheaper: {_times(case, rival)} times ours"
    if case.status == "stopped":
        yield "stopped by its time limit"
    if case.limit_raised > 1:
        own = bytes_text(case.limit_bytes / case.limit_raised)
        yield f"no plan fits in {own}: planned for {case.limit_raised} times that"


def every_case(cases: Sequence[Case]) -> Table:
    """A row for each case, a column for each rival."""
    rivals = list(dict.fromkeys(rival.name for case in cases for rival in case.rivals))
    note = (
        "`by X`: seconds of X's plan as a multiple of ours; (in brackets) where it does not fit into memory; bold "
        "where it fits and is cheaper; - where X has no plan for the model. `nodes` are those of the Graph. Rows of "
        "one model, shape and mode are planned in one process, which traces the model once."
    )
    columns = (
        *("model", "shape", "mode", "machine", "mesh", "nodes", "planned in (CPU)", "a step", "bound", "gap"),
        *("status", "held", "bound by memory", *(f"by {name}" for name in rivals)),
    )
    return Table("Every case", note, columns, [_row(case, rivals) for case in cases])


def _row(case: Case, rivals: Sequence[str]) -> tuple[str, ...]:
    mesh, nodes = "x".join(map(str, case.mesh)), str(case.nodes or "-")
    if case.error:
        return (*case.subject, case.machine, mesh or "-", nodes, *("-" for _ in range(7 + len(rivals))))
    found = {rival.name: rival for rival in case.rivals}
    raised = f" (limit raised x {case.limit_raised})" * (case.limit_raised > 1)
    return (
        *case.subject,
        case.machine,
        mesh,
        nodes,
        f"{seconds_text(case.wall_seconds)} ({seconds_text(case.cpu_seconds)})",
        seconds_text(case.seconds),
        "none" if case.bound is None else seconds_text(case.bound),
        gap_text(case.gap),
        case.status,
        bytes_text(case.peak_bytes),
        ("yes" if case.is_bound_by_memory else "no") + raised,
        *(_times(case, found[name]) if name in found else "-" for name in rivals),
    )


def _times(case: Case, rival: Rival) -> str:
    if rival.seconds is None:
        return "-"
    ratio = rival.seconds / case.seconds
    if rival in case.cheaper():
        return _bold(f"{ratio:.4f}")
    return f"{ratio:.2f}" if case.fits(rival) else f"({ratio:.2f})"


def gap_text(gap: float | None) -> str:
    """`0.45 %`; what is rounding is 0."""
    return "none" if gap is None else f"{100 * gap:.2g} %" if gap > LEAST_LEAD else "0 %"


def _num_axes(case: Case) -> int:
    """Of a case that failed early, too."""
    return len(case.mesh or MACHINES[case.machine]().axes)


def _bold(text: str) -> str:
    return f"**{text}**"
