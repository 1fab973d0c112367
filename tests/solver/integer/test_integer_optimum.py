"""The integer program against enumeration: price, bound, side rows, for both solvers."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

from einsplit.errors import PlanError, ShapeError
from einsplit.solver.contraction.tropical import PriceTable, minimise
from einsplit.solver.integer import Answer, Outcome, Row, solve
from einsplit.solver.integer.child import SOLVERS, Limits, Program
from einsplit.solver.integer.model import Model, model
from einsplit.solver.integer.process import _DECODER, Said, bounds_of_log
from einsplit.solver.integer.reduce import Reduced, reduce

Network = tuple[list[int], list[PriceTable]]


def dense(rng: np.random.Generator, num_classes: int, num_options: int, whole: bool = False) -> Network:
    """A table for each class, and for two of three pairs of them; milliseconds."""
    sizes = [int(n) for n in rng.integers(2, num_options + 1, num_classes)]
    scopes: list[tuple[int, ...]] = [(v,) for v in range(num_classes)]
    scopes += [pair for pair in itertools.permutations(range(num_classes), 2) if rng.random() < 1 / 3]
    shapes = [[sizes[v] for v in scope] for scope in scopes]
    prices = [rng.integers(-2, 9, shape) if whole else rng.random(shape) for shape in shapes]
    return sizes, [PriceTable(scope, 1e-3 * table) for scope, table in zip(scopes, prices, strict=True)]


def with_holes(rng: np.random.Generator, network: Network) -> Network:
    """Some prices are inf, some tables are diagonals, constants or repeat another's classes."""
    sizes, tables = network
    holed = [
        PriceTable(t.variables, np.where(rng.random(t.prices.shape) < 0.05 * len(t.variables), np.inf, t.prices))
        for t in tables
    ]
    return sizes, [
        *holed,
        PriceTable((0, 0), rng.random((sizes[0], sizes[0]))),
        PriceTable((), np.array(0.5)),
        PriceTable(tables[-1].variables, rng.random(tables[-1].prices.shape)),
    ]


def some_rows(rng: np.random.Generator, network: Network, price: float = 2.0e9) -> list[Row]:
    """Bytes of classes and of a pair, with limits of which about half bind."""
    sizes, _ = network
    found = []
    for _ in range(int(rng.integers(1, 4))):
        tables = [PriceTable((v,), rng.integers(0, int(price), size).astype(float)) for v, size in enumerate(sizes)]
        v, w = (int(k) for k in rng.choice(len(sizes), 2, replace=False))
        tables.append(PriceTable((v, w), rng.integers(0, int(price), (sizes[v], sizes[w])).astype(float)))
        found.append(Row(tuple(tables), float(rng.uniform(0.3, 0.7) * price * len(tables))))
    return found


def entry_sum(tables: Sequence[PriceTable], choices: Sequence[int]) -> float:
    return math.fsum(float(t.prices[tuple(choices[v] for v in t.variables)]) for t in tables)


def enumerated(network: Network, rows: Sequence[Row] = ()) -> dict[tuple[int, ...], float]:
    """The price of every choice that is allowed."""
    sizes, tables = network
    every = itertools.product(*map(range, sizes))
    allowed = (c for c in every if all(entry_sum(row.tables, c) <= row.limit for row in rows))
    priced = {c: entry_sum(tables, c) for c in allowed}
    return {c: price for c, price in priced.items() if price < math.inf}


def judge(answer: Answer, priced: dict[tuple[int, ...], float], gap: float = 1e-4) -> None:
    """An answer found in time, against enumeration."""
    if not priced:
        assert answer == Answer(Outcome.INFEASIBLE)
        return
    least = min(priced.values())
    assert answer.outcome is Outcome.OPTIMAL and answer.reason == ""
    assert answer.choices is not None and answer.bound is not None
    assert answer.price == priced[answer.choices]
    assert answer.bound <= least + 1e-15 * abs(least)
    assert least <= answer.price <= least + gap * abs(least) + 1e-5 * 1e-3 * len(priced)
    assert answer.price - answer.bound <= gap * abs(answer.price) + 1e-5


class Inside:
    """A conversation without a process: the same solver functions, called here."""

    num_asked = 0

    def __init__(self, solver: str, folder: Path) -> None:
        self._solver, self._folder = solver, folder

    def ask(self, program: Model, seconds: float, gap: float) -> Iterator[Said]:
        Inside.num_asked += 1
        said: list[Said] = []

        def say(kind: str, **what: object) -> None:
            said.append(_DECODER.decode(json.dumps({"kind": kind, **what}, allow_nan=False)))

        arrays: dict[str, Any] = dict(program.arrays)
        of = Program(**arrays, num_choices=len(program.owner), num_equal=program.num_equal)
        SOLVERS[self._solver](of, Limits(monotonic() + seconds, gap, self._folder), say)
        log = self._folder / "solver.log"
        yield from said[:-1]
        yield from bounds_of_log(log.read_text(), gap / 2) if log.exists() else ()
        yield said[-1]


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], int]:
    """Solvers run in this process; gives the number of times that one was asked."""

    @contextmanager
    def conversation(solver: str) -> Iterator[Inside]:
        yield Inside(solver, tmp_path)

    monkeypatch.setattr("einsplit.solver.integer.answer.conversation", conversation)
    before = Inside.num_asked
    return lambda: Inside.num_asked - before


# --- price and bound


def test_price_and_bound_are_those_of_enumeration(inside: Callable[[], int]) -> None:
    rng = np.random.default_rng(1)
    for at in range(120):
        network = dense(rng, int(rng.integers(3, 7)), 5, whole=at % 2 == 0)
        if at % 3 == 0:
            network = with_holes(rng, network)
        judge(solve(*network), enumerated(network))
    assert inside() > 50  # of the others no option but the best was left


def test_with_side_rows_price_and_bound_are_those_of_enumeration(inside: Callable[[], int]) -> None:
    rng, met = np.random.default_rng(2), Counter[Outcome]()
    for at in range(90):
        network = dense(rng, int(rng.integers(3, 7)), 4)
        if at % 3 == 0:
            network = with_holes(rng, network)
        rows = some_rows(rng, network)
        answer = solve(*network, rows=rows)
        judge(answer, enumerated(network, rows))
        met[answer.outcome] += 1
    assert inside() > 40 and met[Outcome.INFEASIBLE] > 5 and met[Outcome.OPTIMAL] > 40


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_processes_of_both_solvers_say_what_enumeration_says(solver: str) -> None:
    rng = np.random.default_rng(3)
    for at in range(10):
        network = dense(rng, 5, 4)
        rows = some_rows(rng, network) if at % 2 else []
        judge(solve(*network, rows=rows, solver=solver), enumerated(network, rows))


def test_the_integer_program_agrees_with_elimination(inside: Callable[[], int]) -> None:
    rng = np.random.default_rng(4)
    for _ in range(3):
        num_options = [int(n) for n in rng.integers(3, 7, 20)]
        scopes = [(v,) for v in range(20)] + [(v, v + d) for v in range(20) for d in (1, 2) if v + d < 20]
        tables = [PriceTable(s, rng.random([num_options[v] for v in s])) for s in scopes]
        exact = minimise(num_options, tables).price
        answer = solve(num_options, tables, gap=0.0)
        assert answer.outcome is Outcome.OPTIMAL and answer.price == pytest.approx(exact, rel=1e-6)
        assert answer.bound is not None and exact * (1 - 1e-5) <= answer.bound <= exact * (1 + 1e-12)
    assert inside() == 3


# --- starts, masks, edges of the question


def test_the_answer_is_never_dearer_than_the_start(inside: Callable[[], int]) -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        network = dense(rng, 4, 5)
        rows = some_rows(rng, network)
        priced = enumerated(network, rows)
        start = tuple(int(rng.integers(0, n)) for n in network[0])  # some break a row, and are none then
        judge(solve(*network, start, rows), priced)
        late = solve(*network, start, rows, limit_seconds=0.0)
        assert late.price is None or (late.choices in priced and late.price <= priced.get(start, math.inf))
        assert (late.price is not None) or start not in priced


def test_with_a_mask_choices_are_of_what_is_kept_and_of_the_start(inside: Callable[[], int]) -> None:
    rng = np.random.default_rng(6)
    for _ in range(60):
        network = dense(rng, 4, 5)
        start = tuple(int(rng.integers(0, n)) for n in network[0])
        keep = [rng.random(n) < 0.6 for n in network[0]]
        kept = {
            choices: price
            for choices, price in enumerated(network).items()
            if all(mask[c] or c == s for mask, c, s in zip(keep, choices, start, strict=True))
        }
        judge(solve(*network, start, keep=keep), kept)


def test_what_is_left_out_is_never_all_of_the_best() -> None:
    rng, fewer = np.random.default_rng(7), 0
    for at in range(150):
        network = with_holes(rng, dense(rng, 4, 5, whole=True))
        rows = some_rows(rng, network) if at % 2 else []
        priced = enumerated(network, rows)
        if not priced:
            continue
        start, price = list(priced.items())[int(rng.integers(0, len(priced)))]
        for given in (None, start):
            left = reduce(*network, rows, given, price if given else math.inf, None)
            options = [set(row.tolist()) for row in left.options]
            least = min(p for c, p in priced.items() if all(o in row for o, row in zip(c, options, strict=True)))
            assert least <= min(priced.values()) + 1e-12
            fewer += sum(map(len, options)) < sum(network[0])
            if left.start is not None:
                moved = tuple(int(row[c]) for row, c in zip(left.options, left.start, strict=True))
                assert priced[moved] <= price + 1e-12
    assert fewer > 100


def one(prices: Sequence[float]) -> PriceTable:
    return PriceTable((0,), np.array(prices))


def two(prices: Sequence[Sequence[float]]) -> PriceTable:
    return PriceTable((0, 1), np.array(prices))


INF = math.inf


@pytest.mark.parametrize(
    "num_options, tables, choices, price",
    [
        ([], [], (), 0.0),
        ([], [PriceTable((), np.array(2.0))], (), 2.0),
        ([1], [], (0,), 0.0),
        ([3], [], (0,), 0.0),
        ([3], [one([3.0, 1.0, 2.0])], (1,), 1.0),
        ([2, 2], [two([[INF, INF], [INF, 4.0]])], (1, 1), 4.0),
        # prices that no solver could hold beside each other
        ([2, 2], [two([[1e-9, 1e30], [1e300, 2e-9]]), one([1e20, 0.0])], (1, 1), 2e-9),
        ([2, 2], [two([[1e308, 1e308], [1e308, 1.0]]), one([1e308, 0.0]), one([1e308, 0.0])], (1, 1), 1.0),
    ],
)
def test_small_questions(
    num_options: list[int], tables: list[PriceTable], choices: tuple[int, ...], price: float
) -> None:
    assert solve(num_options, tables) == Answer(Outcome.OPTIMAL, choices, price, price)


@pytest.mark.parametrize(
    "tables, rows",
    [
        ([one([INF, INF])], []),
        ([two([[INF] * 2] * 2)], []),
        ([two([[INF, 1.0], [1.0, INF]]), two([[1.0, INF], [INF, 1.0]])], []),
        ([], [Row((one([1.0, 2.0]),), 0.5)]),
        ([], [Row((), -1.0)]),
        # each row alone leaves an option, both together none
        ([], [Row((one([1.0, 0.0]),), 0.5), Row((one([0.0, 1.0]),), 0.5)]),
        # halves would do
        ([two([[0.0, 2.0], [1.0, 3.0]])], [Row((two([[0.0, 4.0], [4.0, 9.0]]), one([9.0, 0.0])), 3.0)]),
    ],
)
@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_where_nothing_is_allowed_the_answer_says_so(solver: str, tables: list[PriceTable], rows: list[Row]) -> None:
    assert solve([2, 2], tables, rows=rows, solver=solver) == Answer(Outcome.INFEASIBLE)


def test_rows_are_kept_to_the_byte_where_numbers_are_whole() -> None:
    huge = 2**60  # one more is another number, but not in float64
    bytes_ = PriceTable((0,), np.array([huge + 1, huge]))
    prices = PriceTable((0,), np.array([1.0, 2.0]))
    answer = solve([2], [prices], rows=[Row((bytes_,), float(huge))])
    assert answer.choices in ((1,), None)  # never the option that is a byte too large


@pytest.mark.parametrize(
    "bad, error, text",
    [
        ({"tables": [PriceTable((0,), np.array([np.nan, 1.0]))]}, PlanError, "NaN"),
        ({"tables": [PriceTable((0,), np.array([-np.inf, 1.0]))]}, PlanError, "-inf"),
        ({"tables": [PriceTable((0,), np.array([1.0]))]}, ShapeError, "shape"),
        ({"tables": [PriceTable((0, 1, 2), np.zeros((2, 2, 2)))]}, PlanError, "two at most"),
        ({"rows": [Row((), np.nan)]}, PlanError, "limit nan"),
        ({"rows": [Row((PriceTable((0,), np.array([np.inf, 1.0])),), 1.0)]}, PlanError, "holds inf"),
        ({"standing": (0, 2, 0)}, ShapeError, "standing"),
        ({"standing": (0, -1, 0)}, ShapeError, "standing"),
        ({"standing": (0, 0)}, ShapeError, "standing"),
        ({"solver": "higs"}, PlanError, "Did you mean 'highs'"),
    ],
)
def test_bad_questions_are_refused(bad: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        solve(**{"num_options": [2, 2, 2], "tables": [], **bad})


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_the_same_question_has_the_same_answer(solver: str) -> None:
    network = dense(np.random.default_rng(8), 6, 5, whole=True)
    answers = {solve(*network, solver=solver) for _ in range(3)}
    assert len(answers) == 1 and answers.pop().outcome is Outcome.OPTIMAL


def test_what_is_told_gets_better_and_better(inside: Callable[[], int]) -> None:
    network = dense(np.random.default_rng(9), 7, 5)
    least = min(enumerated(network).values())
    told: list[Answer] = []
    final = solve(*network, (0,) * 7, tell=told.append)
    assert told
    for before, after in itertools.pairwise([*told, final]):
        assert before.price is not None and after.price is not None and least <= after.price <= before.price
        assert before.bound is None or (after.bound is not None and before.bound <= after.bound <= least)


def test_rows_and_columns_that_are_equal_in_all_layers_are_one() -> None:
    table = np.array([[1.0, 2.0, 1.0], [3.0, 0.0, 3.0], [1.0, 2.0, 1.0]])
    for layers, num_edges in (
        ({0: table}, 4),
        ({0: table, 1: table.T}, 4),
        ({0: table, 1: np.arange(9.0).reshape(3, 3)}, 9),
    ):
        own = [np.zeros((2, 3)), np.zeros((2, 3))]
        found = model(Reduced([np.arange(3)] * 2, own, {(0, 1): layers}, [7.0], None))
        assert len(found.arrays["cost"]) == 6 + num_edges
