"""Tables and rows -> fewer options of the same least price: what is forbidden, too dear or dominated is left out.

Layer 0 are prices, layer r are the numbers of side row r - 1; all tables over the same one or two classes are one.

too dear    where a start of price P is known, an entry t of a table T cannot be in anything cheaper if
            t - min T > P - sum of the minima of all tables
dominated   option c of class v by c' if, in every layer, whatever its neighbours w choose, c' costs no more:
            own[c] - own[c'] + sum over w of min over b of (T[c, b] - T[c', b]) >= 0

Source of the latter: R. Goldstein, Efficient rotamer elimination applied to protein side-chains and related spin
glasses, Biophysical Journal 66, 1994.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isnan

import numpy as np
import numpy.typing as npt

from einsplit.errors import PlanError
from einsplit.solver.contraction.tropical import PriceTable, check_tables

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

CHUNK = 2**21  # entries of an array of differences


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The sum of the chosen entries of `tables`, bytes say, is at most `limit`. Tables as those of prices."""

    tables: tuple[PriceTable, ...]
    limit: float


class NothingLeft(Exception):
    """Every choice is forbidden, or breaks a row."""


@dataclass(slots=True)
class Reduced:
    """`options[v]` are those left to class v, `own[v]` is [layer, option left], `pairs[v, w][layer]` [of v, of w].

    `start` are choices of a price at most that of the start given, by place among the options left.
    """

    options: list[Places]
    own: list[Numbers]
    pairs: dict[tuple[int, int], dict[int, Numbers]]
    limits: list[float]
    start: list[int] | None
    constant: float = 0.0  # of all choices, beside what the tables say

    def keep(self, v: int, mask: Mask) -> None:
        """Leave the masked options to class v, and no others."""
        if not mask.any():
            raise NothingLeft
        if self.start is not None:
            self.start[v] = int(mask[: self.start[v]].sum())
        self.options[v], self.own[v] = self.options[v][mask], self.own[v][:, mask]
        for pair, layers in self.pairs.items():
            if v in pair:
                axis = pair.index(v)
                self.pairs[pair] = {layer: np.compress(mask, table, axis) for layer, table in layers.items()}

    def around(self, v: int) -> list[dict[int, Numbers]]:
        """The tables of class v with others, its own options first."""
        return [
            layers if pair[0] == v else {layer: table.T for layer, table in layers.items()}
            for pair, layers in self.pairs.items()
            if v in pair
        ]


def check_question(num_options: Sequence[int], tables: Sequence[PriceTable], rows: Sequence[Row]) -> None:
    """Raises PlanError or ShapeError unless all tables fit, over two classes at most, and all numbers are such."""
    bytes_ = [table for row in rows for table in row.tables]
    # A table that forbids all is no mistake here but an answer: it is left to the solver.
    check_tables(num_options, [table for table in [*tables, *bytes_] if not (table.prices == inf).all()])
    for table in [*tables, *bytes_]:
        if len(set(table.variables)) > 2:
            raise PlanError(
                f"a table over the variables {table.variables}: the integer program takes two at most.",
                "Contract such a network instead: einsplit.solver.contraction.tropical.",
            )
    for at, row in enumerate(rows):
        if isnan(row.limit):
            raise PlanError(f"side row {at} has the limit {row.limit}.", "A limit is a number, or inf for none.")
        if not all(np.isfinite(np.asarray(table.prices, dtype=np.float64)).all() for table in row.tables):
            raise PlanError(f"side row {at} holds inf.", "To forbid an option, give it the price inf.")


def greedy(num_options: Sequence[int], tables: Sequence[PriceTable]) -> tuple[int, ...]:
    """An option for each class, one after the other: the cheapest beside those before, if all later ones were free."""
    seen: list[list[PriceTable]] = [[] for _ in num_options]
    for table in tables:
        for v in set(table.variables):
            seen[v].append(table)
    choices: list[int] = []
    for v, num in enumerate(num_options):
        prices = np.zeros(num)
        for table in seen[v]:
            for c in range(num):
                known = [*choices, c]
                place = tuple(known[w] if w <= v else slice(None) for w in table.variables)
                with np.errstate(over="ignore"):  # a sum beyond float64 is inf: as good as forbidden
                    prices[c] += table.prices[place].min()
        choices.append(int(prices.argmin()))
    return tuple(choices)


def reduce(
    num_options: Sequence[int],
    tables: Sequence[PriceTable],
    rows: Sequence[Row],
    start: Sequence[int] | None,
    price: float,
    keep: Sequence[Mask] | None,
) -> Reduced:
    """What is left of the tables; `price` is that of `start`. Raises NothingLeft where that is nothing."""
    own = [np.zeros((1 + len(rows), num)) for num in num_options]
    limits = [row.limit for row in rows]
    found = Reduced([np.arange(num) for num in num_options], own, {}, limits, None if start is None else list(start))
    found.constant = float(np.sum([_take(found, table, 0) for table in tables]))
    for layer, row in enumerate(rows, 1):
        found.limits[layer - 1] -= float(np.sum([_take(found, table, layer) for table in row.tables]))
    for v in range(len(num_options)):
        mask = np.isfinite(found.own[v][0])
        if keep is not None:
            mask &= keep[v]
            if start is not None:
                mask[start[v]] = True
        if not mask.all():
            found.keep(v, mask)
    for _ in range(2):
        _drop_dear(found, price - found.constant)
        _drop_dominated(found)
    return found


def _take(found: Reduced, table: PriceTable, layer: int) -> float:
    """Add a table to its layer; one over no class is a constant and returned."""
    prices = np.asarray(table.prices, dtype=np.float64)
    variables = table.variables
    distinct = tuple(sorted(set(variables)))
    if not distinct:
        return float(prices)
    letter = dict(zip(distinct, "ab", strict=False))
    arranged = np.einsum(f"{''.join(letter[v] for v in variables)}->{''.join(letter.values())}", prices)
    with np.errstate(over="ignore"):
        if len(distinct) == 1:
            found.own[distinct[0]][layer] += arranged
        else:
            layers = found.pairs.setdefault((distinct[0], distinct[1]), {0: np.zeros(arranged.shape)})
            layers[layer] = layers[layer] + arranged if layer in layers else arranged
    return 0.0


def _drop_dear(found: Reduced, price: float) -> None:
    prices = [own[0] for own in found.own] + [layers[0] for layers in found.pairs.values()]
    least = [float(table.min()) for table in prices]
    if not all(np.isfinite(least)):
        raise NothingLeft
    if found.start is None:
        return
    slack = price - float(np.sum(least))
    slack += 1e-9 * (abs(price) + float(np.sum(np.abs(least))))  # what rounding may have taken
    for v, lowest in enumerate(least[: len(found.own)]):
        mask = found.own[v][0] - lowest <= slack
        mask[found.start[v]] = True
        if not mask.all():
            found.keep(v, mask)
    for (pair, layers), lowest in zip(found.pairs.items(), least[len(found.own) :], strict=True):
        dear = layers[0] - lowest > slack
        dear[found.start[pair[0]], found.start[pair[1]]] = False
        if dear.any():
            layers[0] = np.where(dear, inf, layers[0])


def _drop_dominated(found: Reduced) -> None:
    """Until no class loses an option: what one loses, its neighbours need not reckon with."""
    waiting = dict.fromkeys(range(len(found.own)))
    neighbours: list[set[int]] = [set() for _ in found.own]
    for v, w in found.pairs:
        neighbours[v].add(w)
        neighbours[w].add(v)
    while waiting:
        v = next(iter(waiting))
        del waiting[v]
        if len(found.options[v]) == 1:
            continue
        own = found.own[v]
        with np.errstate(invalid="ignore"):
            saved = own[:, :, None] - own[:, None, :]
            for layers in found.around(v):
                for layer, table in layers.items():
                    saved[layer] += _least_differences(table)
        worse = (saved >= 0).all(axis=0)  # by what: a NaN, the sum of inf and -inf, is no proof
        np.fill_diagonal(worse, False)
        mask = np.ones(len(worse), dtype=np.bool_)
        for c in range(len(worse)):
            if mask[c]:
                if found.start is not None and worse[found.start[v], c] and mask[found.start[v]]:
                    found.start[v] = c
                mask &= ~worse[:, c]
        if not mask.all():
            found.keep(v, mask)
            waiting.update(dict.fromkeys(sorted(neighbours[v])))


def _least_differences(table: Numbers) -> Numbers:
    """min over b of (T[c, b] - T[c', b]), by c and c'; where c forbids b, b says nothing against c'."""
    num, width = table.shape
    found = np.empty((num, num))
    step = max(1, CHUNK // max(1, num * width))
    forbidden = np.isinf(table)[:, None, :]
    for at in range(0, num, step):
        difference = table[:, None, :] - table[None, at : at + step, :]
        found[:, at : at + step] = np.where(forbidden, inf, difference).min(axis=2)
    return found
