"""Networks too wide for one contraction: what is held, and that nothing gets dearer."""

from itertools import product
from random import Random

import numpy as np
import pytest

from einsplit.solver.contraction.around import minimise_around
from einsplit.solver.contraction.tropical import PriceTable, TooWide, minimise


def dense(random: Random, num_variables: int) -> tuple[list[int], list[PriceTable]]:
    """Every variable shares a table with every other: no order of elimination is narrow."""
    numbers = [random.randint(2, 4) for _ in range(num_variables)]
    tables = []
    for a in range(num_variables):
        tables += [PriceTable((a, b), filled(random, numbers[a], numbers[b])) for b in range(a)]
    return numbers, tables


def filled(random: Random, rows: int, columns: int) -> np.ndarray:
    return np.array([[random.random() for _ in range(columns)] for _ in range(rows)])


def price(tables: list[PriceTable], choices: tuple[int, ...]) -> float:
    return sum(float(table.prices[tuple(choices[v] for v in table.variables)]) for table in tables)


def test_what_is_not_held_is_the_best_beside_what_is():
    random = Random(0)
    for _ in range(40):
        numbers, tables = dense(random, 6)
        standing = tuple(random.randrange(number) for number in numbers)
        found, held = minimise_around(numbers, tables, standing, max_entries=30)
        assert held
        assert all(found.choices[v] == standing[v] for v in held)
        free = [range(number) if v not in held else (standing[v],) for v, number in enumerate(numbers)]
        assert found.price == pytest.approx(min(price(tables, choices) for choices in product(*free)))
        assert found.price == pytest.approx(price(tables, found.choices))
        assert found.price <= price(tables, standing) + 1e-12


def test_a_network_that_is_narrow_enough_is_solved_as_ever():
    numbers, tables = dense(Random(1), 5)
    found, held = minimise_around(numbers, tables, (0,) * 5)
    assert not held
    assert found == minimise(numbers, tables)


def test_what_was_held_moves_in_the_next_call():
    numbers, tables = dense(Random(2), 8)
    with pytest.raises(TooWide):
        minimise(numbers, tables, 100)
    standing = (0,) * 8
    first, held = minimise_around(numbers, tables, standing, max_entries=100)
    second, then_held = minimise_around(numbers, tables, first.choices, held, max_entries=100)
    assert then_held != held
    assert second.price <= first.price + 1e-12


def test_a_hub_is_held_before_its_neighbours():
    """A star of pairs: with the hub held, all else is narrow."""
    numbers = [4] * 9
    random = Random(3)
    ring = [PriceTable((v, v % 8 + 1), filled(random, 4, 4)) for v in range(1, 9)]
    tables = [*ring, *(PriceTable((0, v), filled(random, 4, 4)) for v in range(1, 9))]
    assert minimise_around(numbers, tables, (0,) * 9, max_entries=64)[1] == {0}
