"""`plan.json:PATTERN`: nodes keep the cut that they have in a plan file."""

from __future__ import annotations

from pathlib import Path

from einsplit.errors import PlanError, type_text
from einsplit.solver.pins.text import FREE, KeptPin
from einsplit.solver.plan.format import Plan


def kept_from(plan: Plan | str | Path, pattern: str = "") -> KeptPin:
    """The pin that keeps the cut of every node whose name the pattern matches, as it is in a plan or a plan file.

    A pattern may also stand after the file's name: `plan.json:*.weight`. Nodes that the plan does not have are free.
    Raises PlanError where there is no such plan file.
    """
    if isinstance(plan, Plan):
        return KeptPin(f"the plan for {plan.machine.name}", pattern or FREE, plan)
    if not isinstance(plan, (str, Path)):
        raise PlanError(f"pins are kept from a Plan or a plan file, not {type_text(plan)}")
    file, given = str(plan), pattern
    if not given and not _is_there(file):
        head, colon, tail = file.rpartition(":")
        if colon and head:
            file, given = head, tail
    return KeptPin(str(plan), given or FREE, Plan.load(file))


def _is_there(file: str) -> bool:
    try:
        return Path(file).exists()
    except (OSError, ValueError):
        return False
