"""The (min,+) contraction against oracles that share no code with it: enumeration, a program by hand."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsplit.errors import EinsplitError, PlanError, ShapeError
from einsplit.solver.contraction.elimination import elimination_order
from einsplit.solver.contraction.tropical import Optimum, PriceTable, TooWide, minimise

Network = tuple[list[int], list[PriceTable]]


def price_of(choices: Sequence[int], tables: Sequence[PriceTable]) -> float:
    return math.fsum(float(t.prices[tuple(choices[v] for v in t.variables)]) for t in tables)


def brute_force(num_choices: Sequence[int], tables: Sequence[PriceTable]) -> float:
    """The least price over all assignments; +inf if all are forbidden."""
    assignments = itertools.product(*map(range, num_choices))
    return min(price_of(choices, tables) for choices in assignments)


@st.composite
def networks(draw: st.DrawFn, whole: bool = True) -> Network:
    """Up to 6 variables of 1 to 4 choices, up to 9 tables over 0 to 3 of them, repeats and +inf included.

    Prices are whole numbers, so that every order of adding gives the same bits, or floats.
    """
    num_choices = draw(st.lists(st.integers(1, 4), max_size=6))
    longest = 3 if num_choices else 0
    scope = st.lists(st.integers(0, max(0, len(num_choices) - 1)), max_size=longest).map(tuple)
    scopes = draw(st.lists(scope, max_size=9))
    forbidden = draw(st.sampled_from([0.0, 0.1, 0.4]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tables = []
    for variables in scopes:
        shape = tuple(num_choices[v] for v in variables)
        # Few different values: ties are common, and ties are where choices go wrong.
        prices = random.integers(-2, 6, shape) if whole else random.normal(size=shape)
        tables.append(PriceTable(variables, np.where(random.random(shape) < forbidden, np.inf, prices)))
    return num_choices, tables


def layers(num_layers: int, seed: int) -> Network:
    """A decoder's shape: 12 values a layer, a residual stream that skips over attention and over the MLP."""
    edges_in_layer = [
        *[
            (0, 1),
            (1, 2),
            (1, 3),
            (1, 4),
            (2, 5),
            (3, 5),
            (5, 6),
            (4, 6),
            (6, 7),
        ],  # norm, q, k, v, scores, mix
        *[(7, 8), (0, 8), (8, 9), (9, 10), (9, 11), (10, 11), (11, 12), (8, 12)],  # out + x, norm, gate, up
    ]
    random = np.random.default_rng(seed)
    num_choices = [int(n) for n in random.integers(3, 9, 12 * num_layers + 1)]
    edges = [(12 * k + a, 12 * k + b) for k in range(num_layers) for a, b in edges_in_layer]
    scopes = [*edges, *((v,) for v in range(len(num_choices)))]
    return num_choices, [
        PriceTable(s, random.integers(0, 1000, [num_choices[v] for v in s]).astype(float)) for s in scopes
    ]


# --- the optimum


@settings(max_examples=400, deadline=None)
@given(networks())
def test_the_price_is_the_least_of_all_assignments(network: Network) -> None:
    num_choices, tables = network
    least = brute_force(num_choices, tables)
    if least == math.inf:
        with pytest.raises(PlanError, match="no assignment has a finite price"):
            minimise(num_choices, tables)
    else:
        assert minimise(num_choices, tables).price == least


@settings(max_examples=200, deadline=None)
@given(networks(whole=False))
def test_prices_that_round_are_least_up_to_rounding(network: Network) -> None:
    num_choices, tables = network
    least = brute_force(num_choices, tables)
    if least < math.inf:
        assert minimise(num_choices, tables).price == pytest.approx(least, rel=1e-12, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.booleans().flatmap(networks))
def test_the_choices_priced_again_give_the_price_to_the_bit(network: Network) -> None:
    num_choices, tables = network
    try:
        optimum = minimise(num_choices, tables)
    except PlanError:
        return
    assert len(optimum.choices) == len(num_choices)
    assert all(0 <= choice < num for choice, num in zip(optimum.choices, num_choices, strict=True))
    assert optimum.price == price_of(optimum.choices, tables)


@settings(max_examples=200, deadline=None)
@given(networks(), st.randoms(use_true_random=False))
def test_the_order_of_the_tables_changes_nothing(network: Network, random: Random) -> None:
    num_choices, tables = network
    shuffled = list(tables)
    random.shuffle(shuffled)
    try:
        optimum = minimise(num_choices, tables)
    except PlanError:
        with pytest.raises(PlanError):
            minimise(num_choices, shuffled)
    else:
        assert minimise(num_choices, shuffled) == optimum


def test_rounding_does_not_let_the_order_of_tables_of_different_scopes_choose() -> None:
    random = Random(11)
    for _ in range(100):
        scopes = [(v,) for v in range(4)] + list(itertools.combinations(range(4), 2))
        # Tenths tie in decimal and not in binary: (0.1 + 0.2) + 0.3 is not 0.1 + (0.2 + 0.3).
        tables = [
            PriceTable(
                scope,
                np.array(random.choices([0.1, 0.2, 0.3, 0.7], k=3 ** len(scope))).reshape([3] * len(scope)),
            )
            for scope in scopes
        ]
        optimum = minimise([3] * 4, tables)
        random.shuffle(tables)
        assert minimise([3] * 4, tables) == optimum


def test_a_chain_of_600_with_skips_equals_the_dynamic_program_by_hand() -> None:
    random = np.random.default_rng(7)
    num_choices = [int(n) for n in random.integers(3, 9, 600)]
    price = {
        (v, v + d): random.integers(0, 10_000, (num_choices[v], num_choices[v + d])).astype(float)
        for v, d in [*((v, 1) for v in range(599)), *((v, 2) for v in range(0, 598, 2))]
    }

    # least[a, b]: the cheapest way to have v - 1 at a and v at b, all tables up to v paid.
    least = price[0, 1]
    for v in range(2, 600):
        grown = least[:, :, None] + price[v - 1, v][None, :, :]
        if (v - 2, v) in price:
            grown = grown + price[v - 2, v][:, None, :]
        least = grown.min(axis=0)

    assert minimise(num_choices, [PriceTable(scope, prices) for scope, prices in price.items()]).price == least.min()


def test_fifty_decoder_layers_are_solved_within_a_second_in_narrow_tables() -> None:
    num_choices, tables = layers(num_layers=50, seed=3)
    assert len(num_choices) == 601
    start = time.process_time()
    minimise(num_choices, tables, max_entries=8**4)
    assert time.process_time() - start < 1.0


def test_a_variable_that_hundreds_share_does_not_slow_the_order_down() -> None:
    num_choices = [3] * 1500
    start = time.process_time()
    steps = list(elimination_order(num_choices, [{0, v} for v in range(1, 1500)]))
    assert time.process_time() - start < 2.0
    assert max(step.entries for step in steps) == 9


# --- ties and determinism


def test_of_equal_prices_the_smallest_choices_are_taken() -> None:
    free = [PriceTable((v, v + 1), np.zeros((3, 3))) for v in range(4)]
    assert minimise([3] * 5, free) == Optimum(0.0, (0, 0, 0, 0, 0))
    assert minimise([4], [PriceTable((0,), np.array([2.0, 1.0, 1.0, 1.0]))]).choices == (1,)


def test_the_choices_do_not_depend_on_the_hash_seed() -> None:
    program = (
        "import numpy as np\n"
        "from einsplit.solver.contraction.tropical import PriceTable, minimise\n"
        "random = np.random.default_rng(5)\n"
        "scopes = [tuple(int(v) for v in random.integers(0, 40, 2)) for _ in range(60)]\n"
        # Two prices only: there are many optima, and any dependence on an order would show.
        "tables = [PriceTable(s, random.integers(0, 2, (4, 4)).astype(float)) for s in scopes]\n"
        "print(minimise([4] * 40, tables))\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(printed) == 1
    assert printed.pop().startswith("Optimum(price=")


# --- the order of elimination


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(0, 30))
def test_every_step_has_the_least_fill_when_counted_afresh(seed: int, num: int, num_scopes: int) -> None:
    random = np.random.default_rng(seed)
    num_choices = [int(n) for n in random.integers(1, 6, num)]
    scopes = [{int(v) for v in random.integers(0, num, random.integers(1, 4))} for _ in range(num_scopes)]

    near = {v: {u for s in scopes if v in s for u in s} - {v} for v in range(num)}

    def rank(v: int) -> tuple[int, int, int]:
        missing = [(a, b) for a, b in itertools.combinations(near[v], 2) if b not in near[a]]
        fill = sum(num_choices[a] * num_choices[b] for a, b in missing)
        return fill, math.prod(num_choices[u] for u in (v, *near[v])), v

    for step in elimination_order(num_choices, scopes):
        best = min(map(rank, near))
        assert (step.entries, step.variable) == best[1:]
        others = near.pop(step.variable)
        assert step.others == tuple(sorted(others))
        for u in others:
            near[u] = (near[u] | others) - {u, step.variable}
    assert not near


# --- shapes that are easy to forget


@pytest.mark.parametrize(
    "num_choices, tables, optimum",
    [
        # nothing at all, and nothing but constants
        ([], [], Optimum(0.0, ())),
        ([], [((), 2.5), ((), 0.5)], Optimum(3.0, ())),
        # variables in no table, or with a single choice
        ([3, 1], [], Optimum(0.0, (0, 0))),
        ([1, 2, 1], [((2, 1, 0), [[[4.0], [3.0]]])], Optimum(3.0, (0, 1, 0))),
        # a variable twice in a table: only the diagonal counts
        ([2], [((0, 0), [[5.0, 0.0], [0.0, 4.0]])], Optimum(4.0, (1,))),
        ([2, 2], [((0, 1, 0), [[[3.0, 0], [1.0, 0]], [[0, 2.0], [0, 9.0]]])], Optimum(1.0, (0, 1))),
        # components that do not touch, and a constant
        ([2, 2], [((0,), [1.0, 2.0]), ((1,), [7.0, 4.0]), ((), 10.0)], Optimum(15.0, (0, 1))),
        # the same scope in both orders; the cheapest entries of each are forbidden by the other
        ([2, 2], [((0, 1), [[np.inf, 1], [2, 9]]), ((1, 0), [[0, 5], [np.inf, 1]])], Optimum(7.0, (1, 0))),
        # prices below zero
        ([2, 2], [((0, 1), [[0.0, -3.0], [-4.0, -4.0]]), ((0,), [0.0, 2.0])], Optimum(-3.0, (0, 1))),
    ],
)
def test_small_networks_have_the_optimum_known_by_hand(
    num_choices: list[int], tables: list[tuple[tuple[int, ...], object]], optimum: Optimum
) -> None:
    assert minimise(num_choices, [PriceTable(v, np.array(p, dtype=float)) for v, p in tables]) == optimum


def test_more_single_choice_variables_than_numpy_has_dimensions_are_no_obstacle() -> None:
    complete = [PriceTable(pair, np.ones((1, 1))) for pair in itertools.combinations(range(1, 81), 2)]
    tables = [*complete, PriceTable((0, 1), np.array([[1.0], [0.5]]))]
    assert minimise([2] + [1] * 80, tables) == Optimum(80 * 79 / 2 + 0.5, (1,) + (0,) * 80)


def test_a_variable_may_have_more_choices_than_a_byte_can_count() -> None:
    prices = np.arange(300.0, 0.0, -1.0)
    assert minimise([300, 2], [PriceTable((0,), prices), PriceTable((0, 1), np.zeros((300, 2)))]).choices == (299, 0)


# --- what is refused


def test_a_table_too_wide_is_refused_by_name_and_width() -> None:
    complete = [PriceTable(pair, np.zeros((2, 2))) for pair in itertools.combinations(range(5), 2)]
    assert minimise([2] * 5, complete, max_entries=32).price == 0.0
    with pytest.raises(TooWide) as caught:
        minimise([2] * 5, complete, max_entries=31)
    assert isinstance(caught.value, EinsplitError)
    assert str(caught.value) == (
        "eliminating variable 0 joins 5 variables in a table of 32 entries, 31 are allowed.\n"
        "  choices of (0, 1, 2, 3, 4): 2 x 2 x 2 x 2 x 2\n"
        "  Fold repeated layers, give variables fewer choices, or allow more entries."
    )


def test_a_contradiction_is_an_error_that_names_its_variables() -> None:
    equal = np.where(np.eye(2) == 1, 0.0, np.inf)
    tables = [
        PriceTable((0, 1), equal),
        PriceTable((0,), np.array([0.0, np.inf])),
        PriceTable((1,), np.array([np.inf, 0.0])),
    ]
    with pytest.raises(PlanError) as caught:
        minimise([2, 2], tables)
    assert str(caught.value) == (
        "no assignment has a finite price: every choice of variable 1 is forbidden.\n"
        "  Look for pins that contradict each other near it."
    )


@pytest.mark.parametrize(
    "num_choices, table, error, message",
    [
        ([2], PriceTable((1,), np.zeros(2)), ShapeError, "table 0 names variable 1.\n  Variables are 0 to 0."),
        ([2], PriceTable((-1,), np.zeros(2)), ShapeError, "table 0 names variable -1.\n  Variables are 0 to 0."),
        (
            [2, 3],
            PriceTable((1, 0), np.zeros((2, 3))),
            ShapeError,
            "table 0 has shape (2, 3).\n  Its variables (1, 0) have (3, 2) choices: give one dimension per variable.",
        ),
        (
            [2],
            PriceTable((0,), np.array([0.0, np.nan])),
            PlanError,
            "table 0 over variables (0,) holds NaN or -inf.\n  A price is a number of seconds; +inf forbids a choice.",
        ),
        (
            [2],
            PriceTable((0,), np.array([0.0, -np.inf])),
            PlanError,
            "table 0 over variables (0,) holds NaN or -inf.\n  A price is a number of seconds; +inf forbids a choice.",
        ),
        (
            [2],
            PriceTable((), np.array(np.inf)),
            PlanError,
            "no assignment has a finite price: table 0 over variables () forbids all.\n"
            "  Look for pins that contradict each other near it.",
        ),
        (
            [1, 2],
            PriceTable((0,), np.array([np.inf])),
            PlanError,
            "no assignment has a finite price: table 0 over variables (0,) forbids all.\n"
            "  Look for pins that contradict each other near it.",
        ),
        ([0], PriceTable((), np.array(0.0)), PlanError, "variable 0 has 0 choices.\n  It needs one at least."),
    ],
)
def test_what_is_no_network_is_refused_with_its_place(
    num_choices: list[int], table: PriceTable, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        minimise(num_choices, [table])
    assert str(caught.value) == message
