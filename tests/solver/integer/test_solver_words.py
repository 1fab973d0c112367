"""No word of a solver is believed: what it may say or do wrongly, done by real solvers or by one that lies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pulp
import pytest

from einsplit.solver.contraction.tropical import PriceTable
from einsplit.solver.integer import Answer, Outcome, Row, process, solve
from einsplit.solver.integer.child import Limits, Program, by_cbc, by_highs
from einsplit.solver.integer.child import model as in_pulp
from einsplit.solver.integer.model import model
from einsplit.solver.integer.process import bounds_of_log
from einsplit.solver.integer.reduce import reduce

# The cheapest is (1, 0, 1) at 4; (0, 0, 0) costs 9. No option is dominated.
NUM_OPTIONS = [2, 2, 2]
START = (0, 0, 0)
TABLES = [
    PriceTable((0, 1), np.array([[3.0, 1.0], [1.0, 4.0]])),
    PriceTable((1, 2), np.array([[3.0, 1.0], [1.0, 3.0]])),
    PriceTable((0, 2), np.array([[3.0, 1.0], [2.5, 2.0]])),
]
LEAST = 4.0


def hard(num_classes: int = 40, num_options: int = 12) -> tuple[list[int], list[PriceTable]]:
    """No solver is done with it in seconds."""
    rng = np.random.default_rng(0)
    pairs = [tuple(int(k) for k in rng.choice(num_classes, 2, replace=False)) for _ in range(3 * num_classes)]
    return [num_options] * num_classes, [PriceTable(pair, rng.random((num_options,) * 2)) for pair in pairs]


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def of_group(group: int) -> dict[int, str]:
    """Name by id of the living processes of a group."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text()
        except OSError:
            continue
        state, _, of = text.rpartition(")")[2].split()[:3]
        if int(of) == group and state != "Z":
            found[int(entry.parent.name)] = text[text.index("(") + 1 : text.rindex(")")]
    return found


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process groups that solve starts, as they are started; and their folders must be gone at the end."""
    started: list[int] = []
    start = subprocess.Popen

    def noted(*arguments: Any, **others: Any) -> Any:
        running = start(*arguments, **others)
        started.append(running.pid)
        return running

    monkeypatch.setattr(process.subprocess, "Popen", noted)
    return started


@pytest.fixture(autouse=True)
def nothing_stays(groups: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """After every test, no process of a solver is alive, and no file of it is left."""
    folder = tmp_path / "solvers"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))  # where PuLP would put the files of CBC
    monkeypatch.delenv("TMP", raising=False)
    yield
    assert not any(of_group(group) for group in groups)
    assert not list(folder.iterdir())


@pytest.fixture
def liar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Makes a Python text the solver's process."""

    def set_(text: str) -> None:
        script = tmp_path / "liar.py"
        script.write_text(textwrap.dedent(text))
        monkeypatch.setattr(process, "CHILD", (sys.executable, "-P", str(script)))

    return set_


# --- what a liar says

COLUMNS = {(v, c): 2 * v + c for v in range(3) for c in range(2)}


def incumbent(*values: tuple[int, int, float]) -> dict[str, Any]:
    return {"kind": "incumbent", "values": [[COLUMNS[v, c], value] for v, c, value in values]}


def bound(of_price: float) -> dict[str, Any]:
    """The start costs 9 and is scaled to 1,000."""
    return {"kind": "bound", "bound": of_price * 1000 / 9}


def done(status: str) -> dict[str, Any]:
    return {"kind": "done", "status": status}


CHEAPEST = incumbent((0, 1, 1.0), (1, 0, 1.0), (2, 1, 1.0))
ALMOST = incumbent((0, 1, 1 - 1e-7), (0, 0, 1e-7), (1, 0, 1.0), (2, 1, 1 + 1e-7))
TWO_OF_ONE = incumbent((0, 0, 1.0), (0, 1, 1.0), (1, 0, 1.0), (2, 1, 1.0))
HALVES = incumbent(*((v, c, 0.5) for v in range(3) for c in range(2)))


@pytest.mark.parametrize(
    "said, outcome, choices, has_bound",
    [
        # an honest one
        ([CHEAPEST, bound(LEAST), done("optimal")], Outcome.OPTIMAL, (1, 0, 1), True),
        # out of time with an incumbent, and called optimal all the same
        ([CHEAPEST, bound(3.0), done("optimal")], Outcome.FEASIBLE, (1, 0, 1), True),
        ([CHEAPEST, done("optimal")], Outcome.FEASIBLE, (1, 0, 1), False),
        # values that are no choice
        ([HALVES, bound(3.0), done("optimal")], Outcome.FEASIBLE, START, True),
        ([incumbent((0, 1, 1.0), (1, 0, 1.0), (2, 1, 1 - 2e-6)), done("stopped")], Outcome.FEASIBLE, START, False),
        ([incumbent((0, 1, 1.0), (1, 0, 1.0)), done("stopped")], Outcome.FEASIBLE, START, False),
        ([TWO_OF_ONE, done("stopped")], Outcome.FEASIBLE, START, False),
        ([incumbent((0, 1, 2.0), (1, 0, 1.0), (2, 1, 1.0)), done("stopped")], Outcome.FEASIBLE, START, False),
        ([{"kind": "incumbent", "values": [[99, 1.0]]}, done("stopped")], Outcome.FEASIBLE, START, False),
        ([{"kind": "incumbent", "values": [[-1, 1.0], [0, 1.0]]}, done("stopped")], Outcome.FEASIBLE, START, False),
        # whole but for a rounding
        ([ALMOST, bound(LEAST), done("optimal")], Outcome.OPTIMAL, (1, 0, 1), True),
        # bounds that cannot be
        ([CHEAPEST, bound(LEAST * 1.001), done("optimal")], Outcome.FAILED, (1, 0, 1), False),
        ([bound(1e300), done("optimal")], Outcome.FAILED, START, False),
        ([bound(-1e300), done("stopped")], Outcome.FEASIBLE, START, True),
        # a bound that is above choices only when those are found
        ([bound(8.0), CHEAPEST, done("stopped")], Outcome.FAILED, (1, 0, 1), False),
        # infeasible, where choices are known of
        ([bound(3.0), done("infeasible")], Outcome.FAILED, START, False),
        ([CHEAPEST, bound(3.0), done("infeasible")], Outcome.FAILED, (1, 0, 1), False),
        # it dies, or gives up: what was said before stays
        ([CHEAPEST, bound(3.0)], Outcome.FAILED, (1, 0, 1), True),
        ([CHEAPEST, bound(3.0), {"kind": "failed", "reason": "no more memory"}], Outcome.FAILED, (1, 0, 1), True),
        ([CHEAPEST, bound(LEAST), {"kind": "failed", "reason": "late"}], Outcome.OPTIMAL, (1, 0, 1), True),
        ([], Outcome.FAILED, START, False),
        # words without meaning
        ([CHEAPEST, {"kind": "done", "status": "splendid"}], Outcome.FAILED, (1, 0, 1), False),
        ([{"kind": "sum", "values": []}], Outcome.FAILED, START, False),
        ([{"kind": "bound", "bound": "high"}], Outcome.FAILED, START, False),
        ([{"kind": "incumbent", "values": [[0]]}], Outcome.FAILED, START, False),
        ([[], 3], Outcome.FAILED, START, False),
    ],
)  # fmt: skip
def test_what_cannot_be_is_not_believed(
    said: Sequence[object],
    outcome: Outcome,
    choices: tuple[int, ...],
    has_bound: bool,
    liar: Callable[[str], None],
) -> None:
    lines = "\n".join(json.dumps(word) for word in said)
    liar(f"import sys\nsys.stdin.readline()\nprint({lines!r}, flush=True)\n")
    answer = solve(NUM_OPTIONS, TABLES, START)
    assert (answer.outcome, answer.choices) == (outcome, choices)
    assert answer.price == (LEAST if choices == (1, 0, 1) else 9.0)
    assert (answer.bound is not None) is has_bound
    assert answer.bound is None or answer.bound <= LEAST
    assert bool(answer.reason) is (outcome is Outcome.FAILED)


def test_an_incumbent_that_breaks_a_row_or_is_forbidden_is_none(liar: Callable[[str], None]) -> None:
    lines = "\n".join(json.dumps(word) for word in (CHEAPEST, done("optimal")))
    liar(f"import sys\nsys.stdin.readline()\nprint({lines!r}, flush=True)\n")
    row = Row((PriceTable((0,), np.array([0.0, 5.0])), PriceTable((1,), np.array([0.0, -5.0]))), 4.0)
    answer = solve(NUM_OPTIONS, TABLES, START, [row])
    assert (answer.choices, answer.price) == (START, 9.0)
    forbidden = PriceTable((0, 2), np.array([[0.0, 0.0], [0.0, np.inf]]))
    answer = solve(NUM_OPTIONS, [*TABLES, forbidden], START)
    assert (answer.choices, answer.price) == (START, 9.0)


def test_a_bound_is_lowered_by_what_tolerances_may_hide(liar: Callable[[str], None]) -> None:
    lines = "\n".join(json.dumps(word) for word in (CHEAPEST, bound(3.0), done("stopped")))
    liar(f"import sys\nsys.stdin.readline()\nprint({lines!r}, flush=True)\n")
    answer = solve(NUM_OPTIONS, TABLES, START)
    assert answer.bound is not None and 3.0 - 1e-6 < answer.bound < 3.0 - 1e-9


def test_infeasible_is_not_believed_of_a_solver_out_of_time(liar: Callable[[str], None]) -> None:
    everything = [np.ones(2, dtype=np.bool_)] * 3
    for seconds, outcome in ((0.0, Outcome.INFEASIBLE), (0.8, Outcome.UNKNOWN)):
        word = json.dumps(done("infeasible"))
        liar(f"import sys, time\nsys.stdin.readline()\ntime.sleep({seconds})\nprint({word!r}, flush=True)\n")
        assert solve(NUM_OPTIONS, TABLES, keep=everything, limit_seconds=0.7) == Answer(outcome)


@pytest.mark.parametrize(
    "said, times, end",
    [
        ("x" * 100, 1, "\\n"),
        ("{", 1, "\\n"),
        ("\0", 1, "\\n"),
        ("[", 5000, "\\n"),
        ('{"kind": "bound", "bound": NaN}', 1, "\\n"),
        ("x", 2**23, ""),
    ],
)
def test_noise_is_a_failure_with_its_reason(said: str, times: int, end: str, liar: Callable[[str], None]) -> None:
    liar(f"import sys\nsys.stdin.readline()\nprint({said!r} * {times}, end='{end}', flush=True)\n")
    answer = solve(NUM_OPTIONS, TABLES, START)
    assert answer.outcome is Outcome.FAILED and answer.choices == START and answer.reason.startswith("it ")


# --- what a real one does


def claims(by: Callable[..., None], program: Program, folder: Path, seconds: float = 20.0) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    by(
        program,
        Limits(time.monotonic() + seconds, 1e-4, folder),
        lambda kind, **what: said.append({"kind": kind, **what}),
    )
    return said


def program_of(
    num_options: list[int], tables: list[PriceTable], rows: list[Row], start: Sequence[int] | None = None
) -> Program:
    found = model(reduce(num_options, tables, rows, start, np.inf, None))
    arrays: dict[str, Any] = dict(found.arrays)
    return Program(**arrays, num_choices=len(found.owner), num_equal=found.num_equal)


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_an_incumbent_of_a_solver_out_of_time_is_not_called_optimal(solver: str, tmp_path: Path) -> None:
    num_options, tables = hard()
    began = time.monotonic()
    answer = solve(num_options, tables, [0] * len(num_options), solver=solver, limit_seconds=2.0)
    assert time.monotonic() - began < 3.5
    assert answer.outcome is Outcome.FEASIBLE and answer.price is not None
    assert answer.bound is None or answer.bound < 0.99 * answer.price
    if solver == "highs":  # PuLP's word for the very same
        problem, _ = in_pulp(program_of(num_options, tables, [], [0] * len(num_options)))
        assert problem.solve(pulp.HiGHS(msg=False, timeLimit=1.0)) == pulp.LpStatusOptimal


def halves() -> tuple[list[int], list[PriceTable], list[Row]]:
    """Bytes that only halves of options keep to: both of a pair are too large, one is too small."""
    tables = [PriceTable((v,), np.array([0.0, -1.0])) for v in range(4)]
    more = Row(tuple(PriceTable((v,), np.array([2.0, 0.0])) for v in range(4)), 5.0)
    less = Row(tuple(PriceTable((v,), np.array([-2.0, 0.0])) for v in range(4)), -5.0)
    return [2] * 4, tables, [more, less]


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_fractional_and_stale_values_of_an_infeasible_program_are_no_choice(solver: str, tmp_path: Path) -> None:
    assert solve(*halves()[:2], rows=halves()[2], solver=solver) == Answer(Outcome.INFEASIBLE)
    # What PuLP leaves on the variables of CBC: halves, and with a start, that start.
    bare = program_of(*halves())
    said = claims(by_cbc, bare, tmp_path)
    assert said[-1] == {"kind": "done", "status": "infeasible"}
    assert any(0.1 < value < 0.9 or value > 1.5 for word in said[:-1] for _, value in word["values"])
    begun = claims(by_highs, replace(bare, known=np.array([0, 2, 4, 6])), tmp_path)
    assert begun[-1] == {"kind": "done", "status": "infeasible"}


@pytest.mark.parametrize("victim", ["cbc", "python"])
def test_a_solver_that_is_killed_is_a_failure_and_the_start_stays(victim: str, groups: list[int]) -> None:
    num_options, tables = hard()

    def kill() -> None:
        wait_until(lambda: bool(groups) and "cbc" in of_group(groups[0]).values())
        for at, name in of_group(groups[0]).items():
            if name.startswith(victim):
                os.kill(at, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    answer = solve(num_options, tables, [0] * len(num_options), solver="cbc", limit_seconds=30.0)
    killer.join()
    assert answer.outcome is Outcome.FAILED and answer.price is not None and answer.choices is not None
    assert ("PulpSolverError" if victim == "cbc" else "SIGKILL") in answer.reason


def test_a_solver_that_is_not_there_is_a_failure(liar: Callable[[str], None]) -> None:
    child = Path(process.__file__).with_name("child.py")
    liar(f"""
        import pulp, runpy
        pulp.PULP_CBC_CMD.pulp_cbc_path = {str(child)!r}  # not executable
        runpy.run_path({str(child)!r}, run_name="__main__")
    """)
    answer = solve(NUM_OPTIONS, TABLES, START, solver="cbc")
    assert answer.outcome is Outcome.FAILED and answer.choices == START and "cannot execute" in answer.reason


@pytest.mark.parametrize("before", ["", "sys.stdin.readline()", "sys.stdin.readline(); print(end='{', flush=True)"])
def test_a_solver_that_hangs_is_ended_at_its_limit(before: str, liar: Callable[[str], None]) -> None:
    liar(f"""
        import signal, subprocess, sys, time
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        subprocess.Popen(["sleep", "600"])
        {before}
        time.sleep(600)
    """)
    began = time.monotonic()
    answer = solve(NUM_OPTIONS, TABLES, START, limit_seconds=0.7)
    assert 0.5 < time.monotonic() - began < 1.9
    assert answer == Answer(Outcome.FEASIBLE, START, 9.0)


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_ctrl_c_ends_the_solver_at_once(solver: str, groups: list[int]) -> None:
    num_options, tables = hard()
    pressed: list[float] = []

    def press() -> None:
        wait_until(lambda: bool(groups) and bool(of_group(groups[0])))
        time.sleep(1.0)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    told: list[Answer] = []
    with pytest.raises(KeyboardInterrupt):
        solve(num_options, tables, [0] * len(num_options), solver=solver, tell=told.append)
    presser.join()
    assert time.monotonic() - pressed[0] < 0.9


def test_a_solver_does_not_outlive_its_caller(tmp_path: Path) -> None:
    text = f"""
        import numpy as np, tempfile
        from einsplit.solver.integer import process, solve
        from einsplit.solver.contraction.tropical import PriceTable
        tempfile.tempdir = {str(tmp_path / "solvers")!r}
        start = process.subprocess.Popen
        def noted(*arguments, **others):
            running = start(*arguments, **others)
            print(running.pid, flush=True)
            return running
        process.subprocess.Popen = noted
        rng = np.random.default_rng(0)
        pairs = [rng.choice(40, 2, replace=False) for _ in range(120)]
        solve([12] * 40, [PriceTable((int(a), int(b)), rng.random((12, 12))) for a, b in pairs], [0] * 40)
    """
    caller = subprocess.Popen([sys.executable, "-c", textwrap.dedent(text)], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    group = int(caller.stdout.readline())
    time.sleep(1.0)
    assert of_group(group)
    caller.kill()
    caller.wait()
    caller.stdout.close()
    wait_until(lambda: not of_group(group) and not list((tmp_path / "solvers").iterdir()), 5.0)


# --- the log of CBC


@pytest.mark.parametrize(
    "log, bounds",
    [
        ("", []),
        ("Continuous objective value is 100 - 0.01 seconds\n", [100 - 1e-3 - 1e-3]),
        ("Result - Stopped on time limit\n\nObjective value:   120.0\nLower bound:   110.0\n", [110 - 1e-3 - 110e-6]),
        ("Result - Optimal solution found\n\nObjective value:   120.0\n", [120 - 1e-3 - 120 * 0.01 - 120e-6]),
        # an incumbent, a part of the tree, a heuristic: no bounds
        ("Cbc0012I Integer solution of 99 found\n  Lower bound: 99\nObjective value:   120.0\n", []),
        ("Cbc0010I After 0 nodes, 1 on tree, 1615.5835 best solution, best possible 1600.0395 (0.91 seconds)\n", []),
        ("Lower bound: high\nLower bound:\n", []),
    ],
)
def test_only_dual_bounds_are_read_from_a_log(log: str, bounds: list[float]) -> None:
    assert [found.bound for found in bounds_of_log(log, 0.01)] == pytest.approx(bounds)
