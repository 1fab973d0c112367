"""The core of a network of tables: variables with at most two neighbours are eliminated exactly, those left are linked.

    minimise over x    sum over v of own[v][x[v]]  +  sum over links a < b of table[a, b][x[a], x[b]]

A variable v with neighbours a and b goes by (min,+) contraction, and what it would choose is kept:

    table[a, b]  +=  min over x[v] of  own[v][x[v]] + table[v, a][x[v], x[a]] + table[v, b][x[v], x[b]]

so that the least price is that of the whole network. Of a Llama train step's 300 classes 150 are left.

Source: U. Bertelè and F. Brioschi, Nonserial dynamic programming, 1972: elimination of variables of low degree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import fsum, prod

import numpy as np
import numpy.typing as npt

from einsplit.solver.contraction.tropical import PriceTable

Prices = npt.NDArray[np.float64]

MAX_ENTRIES = 2_000_000  # of an elimination: a variable that needs more stays in the core


@dataclass(frozen=True, slots=True)
class Link:
    """The table of two variables of the core, `low` before `high`; one dimension each."""

    low: int
    high: int
    prices: Prices


@dataclass(frozen=True, slots=True)
class _Gone:
    """An eliminated variable, with its neighbours and tables when it went; a table's first dimension is its own."""

    variable: int
    own: Prices
    near: tuple[tuple[int, Prices], ...]


@dataclass(frozen=True, slots=True)
class Core:
    """`variables` are those left, `own` and `links` (numbered by their places among them) what they cost."""

    constant: float
    variables: tuple[int, ...]
    own: tuple[Prices, ...]
    links: tuple[Link, ...]
    gone: tuple[_Gone, ...]

    def price(self, choices: Sequence[int]) -> float:
        """Of a choice for each variable of the core, the others at their best."""
        own = (float(prices[choice]) for prices, choice in zip(self.own, choices, strict=True))
        linked = (float(link.prices[choices[link.low], choices[link.high]]) for link in self.links)
        return fsum((self.constant, *own, *linked))

    def expanded(self, choices: Sequence[int]) -> tuple[int, ...]:
        """A choice for each variable of the network."""
        found = dict(zip(self.variables, choices, strict=True))
        for gone in reversed(self.gone):
            total = gone.own + sum(prices[:, found[other]] for other, prices in gone.near)
            found[gone.variable] = int(np.argmin(total))
        return tuple(found[v] for v in range(len(found)))


def core_of(num_choices: Sequence[int], tables: Sequence[PriceTable]) -> Core:
    """The core of a network whose tables are over one or two variables."""
    own, near = _merged(num_choices, tables)
    constant, gone = 0.0, list[_Gone]()
    waiting = [(_entries(own, near, v), v) for v in range(len(own)) if len(near[v]) <= 2]
    heapify(waiting)
    left = set(range(len(own)))
    while waiting:
        entries, v = heappop(waiting)
        if v not in left or entries != _entries(own, near, v) or entries[1] > MAX_ENTRIES:
            continue
        left.remove(v)
        gone.append(_Gone(v, own[v], tuple(sorted(near[v].items()))))
        others = sorted(near[v])
        if not others:
            constant += float(own[v].min())
        elif len(others) == 1:
            own[others[0]] = own[others[0]] + (own[v][:, None] + near[v][others[0]]).min(axis=0)
        else:
            a, b = others
            table = _without(own[v], near[v][a], near[v][b])
            near[a][b] = near[a][b] + table if b in near[a] else table
            near[b][a] = near[a][b].T
        for other in others:
            del near[other][v]
            if len(near[other]) <= 2:
                heappush(waiting, (_entries(own, near, other), other))
    kept = sorted(left)
    place = {v: k for k, v in enumerate(kept)}
    links = [Link(place[a], place[b], np.ascontiguousarray(near[a][b])) for a in kept for b in sorted(near[a]) if a < b]
    return Core(constant, tuple(kept), tuple(own[v] for v in kept), tuple(links), tuple(gone))


def _merged(num_choices: Sequence[int], tables: Sequence[PriceTable]) -> tuple[list[Prices], list[dict[int, Prices]]]:
    """What every variable costs by itself, and with each neighbour; its own dimension first."""
    own = [np.zeros(number) for number in num_choices]
    near: list[dict[int, Prices]] = [{} for _ in num_choices]
    for table in tables:
        first, *others = table.variables
        if not others:
            own[first] += table.prices
        elif others == [first]:
            own[first] += np.diagonal(table.prices)
        else:
            (other,) = others
            near[first][other] = near[first].get(other, 0.0) + table.prices
            near[other][first] = near[first][other].T
    return own, near


def _entries(own: Sequence[Prices], near: Sequence[dict[int, Prices]], v: int) -> tuple[int, int]:
    """Neighbours of a variable, and what its elimination goes through."""
    return len(near[v]), len(own[v]) * prod(len(own[other]) for other in near[v])


def _without(own: Prices, left: Prices, right: Prices) -> Prices:
    """min over x of own[x] + left[x, a] + right[x, b]; choice after choice, so that no cube stands in memory."""
    first = left + own[:, None]
    found: Prices = first[0][:, None] + right[0][None, :]
    for choice in range(1, len(own)):
        np.minimum(found, first[choice][:, None] + right[choice][None, :], out=found)
    return found
