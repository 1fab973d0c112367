"""Lower bounds of words against closed forms, and against enumerated grids; best grids against enumeration."""

from __future__ import annotations

from itertools import permutations, product
from math import ceil, prod, sqrt

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from einsplit.solver.bounds import best_integer_grid, einsum, words_lower_bound
from einsplit.solver.bounds.grid import MAX_GRIDS, num_grids

MATMUL = ("mk", "kn", "mn")


def matmul_words(d1: int, d2: int, d3: int, num_devices: int) -> float:
    """Al Daas, Ballard, Grigori, Kumar, Rouse 2022, of sizes in falling order: three regimes."""
    assert d1 >= d2 >= d3
    if num_devices <= d1 / d2:
        seen = (d1 * d2 + d1 * d3) / num_devices + d2 * d3
    elif num_devices <= d1 * d2 / d3**2:
        seen = 2 * sqrt(d1 * d2 * d3**2 / num_devices) + d1 * d2 / num_devices
    else:
        seen = 3 * (d1 * d2 * d3 / num_devices) ** (2 / 3)
    return seen - (d1 * d2 + d1 * d3 + d2 * d3) / num_devices


@pytest.mark.parametrize(
    "shape, num_devices",
    [
        ((4096, 64, 64), 16),  # one face is seen whole
        ((10**6, 100, 10), 1000),
        ((65536, 4096, 512), 16),  # at the edge of two regimes
        ((4096, 4096, 256), 64),  # two faces are cut
        ((10**5, 10**4, 100), 500),
        ((4096, 4096, 4096), 64),  # cubes
        ((1000, 900, 800), 729),
    ],
)
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_of_a_matrix_product_it_is_the_closed_form(shape, num_devices, order):
    sizes = dict(zip("mkn", (shape[k] for k in order), strict=True))
    wanted = matmul_words(*shape, num_devices)
    assert words_lower_bound(MATMUL, sizes, num_devices) == pytest.approx(wanted, rel=1e-9)


def test_of_a_large_product_on_two_devices_bound_and_best_cut_differ():
    """3 / 2^(2/3) - 3/2 = 0.39 squares, where a cut of one label moves half of one."""
    sizes = dict.fromkeys("mkn", 4096)
    assert words_lower_bound(MATMUL, sizes, 2) / 4096**2 == pytest.approx(3 / 2 ** (2 / 3) - 1.5, rel=1e-9)
    best = best_integer_grid(MATMUL, sizes, 2)
    assert best.words == 4096**2 / 2
    assert [parts for _, parts in best.cuts] == [2]


def test_of_mttkrp_it_is_a_box_of_256_cubed_by_24():
    terms, sizes = ("abc", "br", "cr", "ar"), {"a": 1024, "b": 1024, "c": 1024, "r": 24}
    assert words_lower_bound(terms, sizes, 64) == pytest.approx(17280, rel=1e-9)
    best = best_integer_grid(terms, sizes, 64)
    assert best.words == 17280
    assert dict(best.cuts) == {"a": 4, "b": 4, "c": 4}


def test_batched_scores_need_not_move():
    terms, sizes = ("bhqd", "bhkd", "bhqk"), {"b": 2, "h": 4, "q": 128, "k": 128, "d": 64}
    assert words_lower_bound(terms, sizes, 8) == 0.0
    best = best_integer_grid(terms, sizes, 8)
    assert best.words == 0.0
    assert dict(best.cuts) == {"b": 2, "h": 4}


@pytest.mark.parametrize(
    "terms, sizes, num_devices, words",
    [
        (MATMUL, {"m": 8, "k": 8, "n": 8}, 1, 0.0),  # one device
        (MATMUL, {"m": 8, "k": 0, "n": 8}, 4, 0.0),  # nothing to do
        (("", ""), {}, 4, 1.5),  # one tuple, its two scalars held in quarters
        (("ij", "ij"), {"i": 8, "j": 3}, 6, 0.0),  # element by element
        (("i", ""), {"i": 64}, 4, 0.75),  # a sum: each device adds to the one number
        (("i", "i"), {"i": 3}, 7, 2 - 6 / 7),  # more devices than tuples
    ],
)
def test_small_cases_by_hand(terms, sizes, num_devices, words):
    assert words_lower_bound(terms, sizes, num_devices) == pytest.approx(words, abs=1e-9)


# ------------------------------------------------------------------------------------------------ random einsums


@st.composite
def einsums(draw, largest: int = 40):
    labels = "abcde"[: draw(st.integers(1, 5))]
    sizes = {label: draw(st.integers(1, largest)) for label in labels}
    terms = draw(st.lists(st.sets(st.sampled_from(labels)).map(lambda s: "".join(sorted(s))), min_size=1, max_size=4))
    return terms, sizes


def factorisations(number: int, length: int) -> list[tuple[int, ...]]:
    """By trial: every tuple of divisors whose product is the number."""
    divisors = [n for n in range(1, number + 1) if number % n == 0]
    return [row for row in product(divisors, repeat=length) if prod(row) == number]


def grid_words(terms, sizes, num_devices, parts) -> float:
    found = 0.0
    for term in terms:
        block = prod(ceil(sizes[label] / parts[label]) for label in term)
        found += block - prod(sizes[label] for label in term) / num_devices
    return found


@given(einsums(), st.sampled_from([2, 3, 4, 6, 8, 12]))
def test_no_grid_moves_less_than_the_bound_and_the_best_is_the_least(case, num_devices):
    terms, sizes = case
    bound = words_lower_bound(terms, sizes, num_devices)
    every = [
        grid_words(terms, sizes, num_devices, dict(zip(sizes, row, strict=True)))
        for row in factorisations(num_devices, len(sizes))
    ]
    assert bound <= min(every) + 1e-9
    best = best_integer_grid(terms, sizes, num_devices)
    assert best.words == pytest.approx(min(every), rel=1e-9, abs=1e-9)
    if any(size > 1 for size in sizes.values()):
        parts = dict.fromkeys(sizes, 1) | dict(best.cuts)
        assert prod(parts.values()) == num_devices
        assert grid_words(terms, sizes, num_devices, parts) == pytest.approx(best.words, rel=1e-9, abs=1e-9)


@given(einsums(largest=10**5), st.integers(2, 2**16), st.randoms())
def test_the_order_of_labels_and_terms_and_their_names_do_not_matter(case, num_devices, random):
    terms, sizes = case
    names = dict(zip(sizes, random.sample("uvwxyz", len(sizes)), strict=True))
    renamed = [[names[label] for label in term] for term in terms]
    shuffled = list(sizes)
    random.shuffle(renamed)
    random.shuffle(shuffled)
    again = words_lower_bound(renamed, {names[label]: sizes[label] for label in shuffled}, num_devices)
    seen = sum(prod(sizes[label] for label in term) for term in terms)
    assert again == pytest.approx(words_lower_bound(terms, sizes, num_devices), rel=1e-8, abs=1e-9 * seen)


@given(einsums(largest=10**5), st.integers(2, 64))
def test_it_is_tight_no_feasible_real_box_is_needed_below_it(case, num_devices):
    """Against a search of its own: boxes found by moving size between two labels, from the corners of the box."""
    terms, sizes = case
    volume = prod(sizes.values()) / num_devices
    if volume < 1:
        return
    own = sum(prod(sizes[label] for label in term) for term in terms) / num_devices
    least = descend(terms, sizes, num_devices)
    bound = words_lower_bound(terms, sizes, num_devices)
    assert bound <= max(0.0, least - own) + 1e-9 * least
    assert bound >= max(0.0, least - own) - 1e-4 * least


def descend(terms, sizes, num_devices) -> float:
    """Coordinate descent over pairs with shrinking factors; the problem is convex in logarithms."""
    box = {label: size * (1 / num_devices) ** (1 / len(sizes)) for label, size in sizes.items()}
    box = {label: max(1.0, b) for label, b in box.items()}
    for label in sizes:  # back onto the plane
        excess = prod(box.values()) / (prod(sizes.values()) / num_devices)
        box[label] = min(float(sizes[label]), max(1.0, box[label] / excess))

    def seen(b: dict[str, float]) -> float:
        return sum(prod(b[label] for label in term) for term in terms)

    best, factor = seen(box), 2.0
    groups = [(up, down) for size in (1, 2) for up in subsets(sizes, size) for down in subsets(sizes, size)]
    while factor > 1 + 1e-6:
        improved = False
        for up, down in groups:
            if set(up) & set(down):
                continue
            moved = dict(box)
            for label in up:
                moved[label] *= factor
            for label in down:
                moved[label] /= factor
            inside = all(1.0 <= moved[label] <= sizes[label] for label in (*up, *down))
            if inside and seen(moved) < best * (1 - 1e-12):
                box, best, improved = moved, seen(moved), True
        if not improved:
            factor = sqrt(factor)
    return best


def test_terms_that_share_no_label_are_seen_alike_and_the_digits_are_right():
    """a + c with a c = F / P is least where the two are equal, and flat there."""
    sizes, num_devices = {"a": 759080, "c": 718267}, 19373
    side = sqrt(759080 * 718267 / num_devices)
    wanted = 1 + 2 * side - (1 + 759080 + 718267) / num_devices
    assert words_lower_bound(("a", "", "c"), sizes, num_devices) == pytest.approx(wanted, rel=1e-10)


@given(einsums(largest=10**4), st.integers(2, 64), st.integers(0, 2**32 - 1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_the_iteration_stops_what_it_gives_is_a_bound(monkeypatch, case, num_devices, seed):
    terms, sizes = case
    tight = words_lower_bound(terms, sizes, num_devices)
    draw = np.random.default_rng(seed)
    with monkeypatch.context() as patched:
        patched.setattr(einsum, "_minimiser", lambda in_face, room, volume: room * draw.uniform(0.05, 0.95, len(room)))
        loose = words_lower_bound(terms, sizes, num_devices)
    assert loose <= tight + 1e-9 * sum(prod(sizes[label] for label in term) for term in terms)


def subsets(sizes, count):
    return [row for row in product(sizes, repeat=count) if list(row) == sorted(set(row))]


@given(einsums(largest=200), st.integers(2, 64), st.integers(2, 50))
def test_a_batch_of_as_many_times_the_devices_moves_the_same_each(case, num_devices, times):
    """A new label in every term, cut by all the new devices: nobody has to move more than before."""
    terms, sizes = case
    batched = words_lower_bound([term + "z" for term in terms], sizes | {"z": times}, num_devices * times)
    plain = words_lower_bound(terms, sizes, num_devices)
    assert batched <= plain + 1e-9 * (1 + sum(prod(sizes[label] for label in term) for term in terms))


@pytest.mark.parametrize("num_devices", [8, 64, 512])
def test_cubes_follow_the_law_of_two_thirds(num_devices):
    sizes = dict.fromkeys("mkn", 4096)
    seen = words_lower_bound(MATMUL, sizes, num_devices) + 3 * 4096**2 / num_devices
    again = words_lower_bound(MATMUL, sizes, 8 * num_devices) + 3 * 4096**2 / (8 * num_devices)
    assert seen / again == pytest.approx(4.0, rel=1e-9)
    doubled = words_lower_bound(MATMUL, dict.fromkeys("mkn", 8192), num_devices)
    assert doubled == pytest.approx(4 * words_lower_bound(MATMUL, sizes, num_devices), rel=1e-9)


# ---------------------------------------------------------------------------------------------- what is not looked at


@given(einsums(largest=30), st.integers(2, 2**10), st.integers(1, 40))
def test_a_label_split_in_two_that_stand_in_the_same_terms_has_the_same_bound(case, num_devices, times):
    terms, sizes = case
    split = [term + "z" if "a" in term else term for term in terms]
    whole = words_lower_bound(terms, sizes | {"a": sizes["a"] * times}, num_devices)
    assert words_lower_bound(split, sizes | {"z": times}, num_devices) == whole


@pytest.mark.parametrize("num_devices, num_labels", [(2, 1), (8, 3), (12, 3), (36, 2), (60, 4)])
def test_grids_are_counted_before_they_are_made(num_devices, num_labels):
    assert num_grids(num_devices, num_labels) == len(factorisations(num_devices, num_labels))


def test_of_too_many_grids_none_is_called_the_best():
    labels = "abcdefgh"
    sizes = dict.fromkeys(labels, 64)
    assert num_grids(2**14, 7) <= MAX_GRIDS < num_grids(2**14, 8)
    assert best_integer_grid((labels[:7],), dict.fromkeys(labels[:7], 64), 2**14).words == 0.0
    assert best_integer_grid((labels,), sizes, 2**14) is None
    assert words_lower_bound((labels, labels[:4]), sizes, 2**14) == 0.0
