"""The process that solves: reads an integer program from a file, says on stdout what the solver finds, as it finds it.

    minimise  cost z    where  A z = right in the first rows, A z <= right in the others,
                               z[k] is 0 or 1 for k < num_choices, and 0 <= z[k] <= 1 for all others

A process of its own, and run as a file (it needs numpy, PuLP and highspy, nothing of einsplit): a solver that hangs
beyond its time limit, eats the memory or crashes is killed, with all that it has started, and its caller lives on with
what was said until then. This costs 0.1 s of loading, which the caller spends on building the program. In the caller's
own process neither could be had: nobody can end a thread that is inside HiGHS. The other way round, should the caller
die, stdin ends, and this process ends itself, its solver and its files.

Said, one JSON object a line, `kind` telling them apart:

    incumbent   values: [column, value] of the choices that are not 0
    bound       bound: the solver's dual bound; a line is said when it has risen
    done        status: what the solver says of itself, `optimal`, `infeasible` or `stopped`
    failed      reason

What is said here is the solver's word, and nothing more: einsplit.solver.integer.answer checks it.
"""

from __future__ import annotations

import gc
import json
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highspy
import numpy as np
import numpy.typing as npt
import pulp

Say = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Program:
    """A as rows: `column` and `value` of row r from start[r] to start[r + 1]. `known`: the columns at 1 of a start."""

    cost: npt.NDArray[np.float64]
    start: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    right: npt.NDArray[np.float64]
    known: npt.NDArray[np.int64]
    num_choices: int
    num_equal: int


PROGRAM, LOG = "program.npz", "solver.log"  # files in the folder


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop: at `end` (of the monotonic clock), or within `gap` of the bound (a ratio). `folder`: for files."""

    end: float
    gap: float
    folder: Path

    @property
    def seconds(self) -> float:
        return max(0.01, self.end - time.monotonic())


def model(program: Program) -> tuple[Any, list[Any]]:
    """The program in PuLP's words, and its variables by column."""
    problem = pulp.LpProblem("plan", pulp.LpMinimize)
    # Nine digits each: PuLP sorts variables by name, and columns should keep their order. The choices imply that the
    # others are at most 1; but without a bound the presolve of HiGHS 1.15 may tighten them for ever, its clock unseen.
    z = [problem.add_variable(f"z{k:09d}", 0, 1, pulp.LpInteger) for k in range(program.num_choices)]
    z += [problem.add_variable(f"z{k:09d}", 0, 1) for k in range(program.num_choices, len(program.cost))]
    problem.setObjective(pulp.LpAffineExpression(zip(z, program.cost.tolist(), strict=True)))
    start, column, value = program.start.tolist(), program.column.tolist(), program.value.tolist()
    for r, right in enumerate(program.right.tolist()):
        terms = [(z[column[k]], value[k]) for k in range(start[r], start[r + 1])]
        sense = pulp.LpConstraintEQ if r < program.num_equal else pulp.LpConstraintLE
        problem.addConstraint(pulp.LpConstraint(pulp.LpAffineExpression(terms), sense, rhs=right), f"r{r}")
    return problem, z


def by_highs(program: Program, limits: Limits, say: Say) -> None:
    """HiGHS, in this process. PuLP gives it no start and tells no bound: highspy's object, which PuLP makes, does."""
    problem, _ = model(program)
    solver = pulp.HiGHS(msg=False, gapRel=limits.gap, threads=1, random_seed=0)
    solver.createAndConfigureSolver(problem)
    solver.buildSolverModel(problem)
    highs: highspy.Highs = problem.solverModel
    if len(program.known):
        values = np.zeros(len(program.cost))
        values[program.known] = 1.0
        highs.setSolution(len(values), np.arange(len(values), dtype=np.int32), values)
    say_bound = _rising(say)

    def heard(kind: object, message: str, out: Any, into: object, data: object) -> None:
        if kind == highspy.cb.HighsCallbackType.kCallbackMipImprovingSolution:
            say_values(say, out.mip_solution[: program.num_choices])
        say_bound(out.mip_dual_bound)

    highs.setCallback(heard, None)
    highs.startCallback(highspy.cb.HighsCallbackType.kCallbackMipImprovingSolution)
    highs.startCallback(highspy.cb.HighsCallbackType.kCallbackMipInterrupt)
    highs.setOptionValue("time_limit", limits.seconds)
    solver.callSolver(problem)
    say_bound(highs.getInfo().mip_dual_bound)
    say_values(say, np.array(highs.getSolution().col_value)[: program.num_choices])
    status = {
        highspy.HighsModelStatus.kOptimal: "optimal",
        highspy.HighsModelStatus.kInfeasible: "infeasible",
        # No price is -inf and every variable is bounded: it can only be the latter.
        highspy.HighsModelStatus.kUnboundedOrInfeasible: "infeasible",
    }
    say("done", status=status.get(highs.getModelStatus(), "stopped"))


def by_cbc(program: Program, limits: Limits, say: Say) -> None:
    """CBC, in a process of its own below this one. Its bound stands in its log, which the caller reads."""
    problem, z = model(program)
    for k in program.known.tolist():
        z[k].setInitialValue(1)
    solver = pulp.COIN_CMD(
        path=pulp.PULP_CBC_CMD.pulp_cbc_path,
        msg=False,
        timeLimit=max(0.1, 0.95 * limits.seconds - 0.2),  # it looks at the clock now and then
        gapRel=limits.gap / 2,  # where it stops for the gap it does not say at which
        warmStart=len(program.known) > 0,
        logPath=str(limits.folder / LOG),
    )
    solver.tmpDir = str(limits.folder)
    problem.solve(solver)
    say_values(say, np.array([math.nan if q.varValue is None else q.varValue for q in z[: program.num_choices]]))
    # PuLP's word for an incumbent of a solver that ran out of time is `optimal` too; the log knows.
    status = {pulp.LpStatusOptimal: "optimal", pulp.LpStatusInfeasible: "infeasible"}
    say("done", status=status.get(problem.status, "stopped"))


SOLVERS: dict[str, Callable[[Program, Limits, Say], None]] = {"highs": by_highs, "cbc": by_cbc}


def say_values(say: Say, values: npt.NDArray[np.float64]) -> None:
    """All values that are not 0, whole or not; nothing where there are none, or one is no number."""
    if len(values) and np.isfinite(values).all():
        say("incumbent", values=[[int(k), float(values[k])] for k in np.flatnonzero(np.abs(values) > 1e-9)])


def _rising(say: Say) -> Callable[[float], None]:
    """Says a bound where it is a number, and higher than the last one."""
    last = -math.inf

    def say_bound(bound: float) -> None:
        nonlocal last
        if last < bound < math.inf:
            last = bound
            say("bound", bound=bound)

    return say_bound


def end_with_caller(folder: Path) -> None:
    """Waits for the end of stdin, which the caller holds open as long as it lives; ends this process group then."""
    sys.stdin.buffer.read()
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Arguments: the folder, and the name of the solver. stdin: a line with `seconds`, `gap` and the two numbers."""
    # What a solver prints must not get between the lines.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Hundreds of thousands of objects, none of them garbage: collecting doubles the time.
    gc.disable()

    def say(kind: str, **what: object) -> None:
        out.write(json.dumps({"kind": kind, **what}, allow_nan=False) + "\n")
        out.flush()

    folder = Path(sys.argv[1])
    line = sys.stdin.buffer.readline()
    if not line:
        return
    threading.Thread(target=end_with_caller, args=(folder,), daemon=True).start()
    order = json.loads(line)
    limits = Limits(time.monotonic() + order["seconds"], order["gap"], folder)
    try:
        with np.load(folder / PROGRAM, allow_pickle=False) as arrays:
            program = Program(**arrays, num_choices=order["num_choices"], num_equal=order["num_equal"])
        SOLVERS[sys.argv[2]](program, limits, say)
    except Exception as error:  # a word to the caller, who cannot see into this process
        say("failed", reason=f"{type(error).__name__}: {error}")
    out.flush()
    # Not by returning: the thread that waits for stdin would be waited for, or cut off in the middle of a read.
    os._exit(0)


if __name__ == "__main__":
    main()
