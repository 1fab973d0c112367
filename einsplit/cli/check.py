"""`einsplit check`: whether a plan file is what it says, by code that shares nothing with the search."""

from __future__ import annotations

import sys

import click

from einsplit.cli.common import as_json, print_json, progress
from einsplit.cli.subject import Subject, subject_options
from einsplit.errors import PlanError
from einsplit.solver.check import Check, Fault, check_plan
from einsplit.solver.plan import Plan

MOST_SHOWN = 5  # faults of one check, as text
UNSOUND = 2  # the exit code


@click.command(
    epilog="Example: einsplit check plan.json model.py:example\n\n"
    "Example: einsplit check plan.json --hf config.json --batch 8 --seq 4096 --train"
)
@click.argument("file", metavar="PLAN.json", type=click.Path(dir_okay=False))
@subject_options
@as_json
def check(subject: Subject, file: str, as_json: bool) -> None:
    """Check a plan file against the program that it is for, and print what holds and what does not.

    The plan is judged from the file and the program alone, by code that shares nothing with the search: that every
    node is cut legally, and that bytes, seconds, runners-up and bound are true. Exit code 0 only if all of it holds.
    """
    found = _checks(file, subject)
    is_sound = all(row.verdict == "ok" for row in found)
    if as_json:
        print_json({"sound": is_sound, "checks": [_fields(row) for row in found]})
    else:
        click.echo(_table(found))
    if not is_sound:
        sys.exit(UNSOUND)


def _checks(file: str, subject: Subject) -> tuple[Check, ...]:
    """Those of a file, then those of the plan in it."""
    try:
        plan = Plan.load(file)
    except PlanError as error:
        return (Check("file", "wrong", "1 fault", (Fault(file, "", error.mistake),)),)
    with progress(f"tracing {subject.name}") as say:
        graph = subject.graph(say)
    with progress(f"checking {len(plan.nodes)} nodes"):
        return (Check("file", "ok", f"a plan by {plan.method}, {plan.status}"), *check_plan(plan, graph))


def _table(checks: tuple[Check, ...]) -> str:
    names, verdicts = max(len(row.name) for row in checks), max(len(row.verdict) for row in checks)
    lines = []
    for row in checks:
        lines.append(f"{row.name.ljust(names)}  {row.verdict.ljust(verdicts)}  {_printable(row.about)}".rstrip())
        lines += [f"  {_printable(str(fault))}" for fault in row.faults[:MOST_SHOWN]]
        if len(row.faults) > MOST_SHOWN:
            lines.append(f"  and {len(row.faults) - MOST_SHOWN} more")
    return "\n".join(lines)


def _printable(text: str) -> str:
    """A plan file may come from anywhere: what would move a terminal's cursor does not reach it."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _fields(row: Check) -> dict[str, object]:
    faults = [{"place": fault.place, "node": fault.node, "mistake": fault.mistake} for fault in row.faults]
    return {"name": row.name, "verdict": row.verdict, "about": row.about, "faults": faults}
