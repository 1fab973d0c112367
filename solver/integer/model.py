"""The integer program of reduced tables, as arrays.

x[v, c] is 1 where class v chooses option c; y[e, a, b] is 1 where edge e has its writer's row a and its reader's column
b (rows and columns of a table that are equal in all its layers are one). With prices and, for side row t, numbers n_t:

    minimise    sum of price[v, c] x[v, c]  +  sum of price[e, a, b] y[e, a, b]
    choose      sum over c of x[v, c] = 1                                          for every v
    forbid      x[v, c] = 0                                                        where price[v, c] is inf
    leave       sum over b of y[e, a, b] = sum over c of row a of x[v, c]          for every e, a
    want        sum over a of y[e, a, b] = sum over c of column b of x[w, c]       for every e, b
    limit       sum of n_t[v, c] x[v, c]  +  sum of n_t[e, a, b] y[e, a, b] <= limit_t

x is binary; y, from 0 to 1, need not be, for where x is, leave and want leave it nothing else. A y whose price is inf
is not there. Prices are scaled so that a plan's is about 1,000, every limit so that its largest number is: solvers'
tolerances are absolute, about 1e-6 of a row and 1e-7 of a reduced cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import fsum, inf

import numpy as np

from einsplit.solver.integer.reduce import NothingLeft, Numbers, Places, Reduced

SCALE = 1e3
DUAL_TOLERANCE = 1e-7
GREATEST_COST = 1e15  # solvers take 1e20 for infinite. A price cut to this makes the bound lower, never higher.
LEAST_VALUE = 1e-9  # solvers drop smaller ones of a row


@dataclass(frozen=True, slots=True)
class Edge:
    """The tables of two classes, each [row, column]; `row` is by option of the writer, `column` of the reader."""

    writer: int
    reader: int
    layers: dict[int, Numbers]
    row: Places
    column: Places


@dataclass(frozen=True, slots=True)
class Model:
    """`arrays` as `einsplit.solver.integer.child.Program` has them; column k of x is `option[k]` of class `owner[k]`.

    A price is the objective divided by `factor`, plus `constant`; a bound is `margin` less, for what tolerances hide.
    """

    arrays: dict[str, Numbers | Places]
    num_equal: int
    owner: Places
    option: Places
    factor: float
    margin: float
    constant: float


def model(of: Reduced) -> Model:
    """The program. Raises NothingLeft where a side row is broken by the least numbers there are."""
    own = [layers.copy() for layers in of.own]
    edges = list(_edges(of, own))
    sizes = [len(options) for options in of.options]
    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    there = [np.isfinite(edge.layers[0]) for edge in edges]  # y by edge
    num_edges = [int(mask.sum()) for mask in there]
    first_edge = (first[-1] + np.concatenate([[0], np.cumsum(num_edges)])).astype(np.int64)
    places = [np.cumsum(mask).reshape(mask.shape) - 1 + at for mask, at in zip(there, first_edge, strict=False)]

    rows = _Rows()
    for v, size in enumerate(sizes):
        rows.add(np.arange(first[v], first[v] + size), np.ones(size), 1.0)
    price = np.concatenate([layers[0] for layers in own] + [e.layers[0][m] for e, m in zip(edges, there, strict=True)])
    for forbidden in np.flatnonzero(np.isinf(price)):
        rows.add(np.array([forbidden]), np.ones(1), 0.0)
    for edge, mask, place in zip(edges, there, places, strict=True):
        for number, (owner, of_option) in enumerate(((edge.writer, edge.row), (edge.reader, edge.column))):
            by, at = (mask, place) if number == 0 else (mask.T, place.T)
            for a in range(len(by)):
                options = first[owner] + np.flatnonzero(of_option == a)
                y = at[a][by[a]]
                rows.add(np.concatenate([y, options]), np.concatenate([np.ones(len(y)), -np.ones(len(options))]), 0.0)
    num_equal = len(rows.right)
    for layer, limit in enumerate(of.limits, 1):
        least = [o[layer].min() for o in own] + [e.layers[layer].min() for e in edges if layer in e.layers]
        most = [o[layer].max() for o in own] + [e.layers[layer].max() for e in edges if layer in e.layers]
        if fsum(least) > limit:
            raise NothingLeft
        if fsum(most) > limit:
            blank = [e.layers.get(layer, np.zeros(m.shape))[m] for e, m in zip(edges, there, strict=True)]
            rows.limit(np.concatenate([o[layer] for o in own] + blank), limit)

    factor = SCALE / _scale(of, own, edges)
    cost = np.minimum(np.where(np.isinf(price), 0.0, price) * factor, GREATEST_COST)
    arrays: dict[str, Numbers | Places] = {"cost": cost, **rows.arrays(), "known": _known(of, first, edges, places)}
    of_class = np.repeat(np.arange(len(sizes)), sizes)
    # A reduced cost may be below 0 by the tolerance, and a plan has one x of each class and one y of each edge.
    margin = 2 * DUAL_TOLERANCE * (len(sizes) + len(edges)) / factor
    return Model(
        arrays, num_equal, of_class, np.concatenate([np.zeros(0, np.int64), *of.options]), factor, margin, of.constant
    )


def _edges(of: Reduced, own: list[Numbers]) -> Iterator[Edge]:
    """The tables with equal rows and columns put together; one that has a single row or column is added to `own`."""
    for (writer, reader), layers in of.pairs.items():
        numbers = sorted(layers)
        row_of, row = _distinct(np.concatenate([layers[n] for n in numbers], axis=1))
        column_of, column = _distinct(np.concatenate([layers[n].T for n in numbers], axis=1))
        if len(row_of) == 1:
            for n in numbers:
                own[reader][n] += layers[n][0]
        elif len(column_of) == 1:
            for n in numbers:
                own[writer][n] += layers[n][:, 0]
        else:
            yield Edge(writer, reader, {n: layers[n][np.ix_(row_of, column_of)] for n in numbers}, row, column)


def _distinct(table: Numbers) -> tuple[Places, Places]:
    """The first of every kind of row, in their order, and the kind of each row."""
    _, first, kind = np.unique(table, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return first[order], rank[kind.reshape(-1)]


def _scale(of: Reduced, own: list[Numbers], edges: list[Edge]) -> float:
    """What a plan costs, about: that of the start, or what entries in the middle of all tables do."""
    if of.start is not None:
        found = [layers[0][c] for layers, c in zip(own, of.start, strict=True)]
        found += [e.layers[0][e.row[of.start[e.writer]], e.column[of.start[e.reader]]] for e in edges]
    else:
        tables = [layers[0] for layers in own] + [edge.layers[0] for edge in edges]
        found = [np.median(np.abs(table[np.isfinite(table)])) for table in tables if np.isfinite(table).any()]
    total = fsum(abs(float(value)) for value in found)
    return total if 0 < total < inf else 1.0


def _known(of: Reduced, first: Places, edges: list[Edge], places: list[Places]) -> Places:
    """The columns at 1 of the start, none where there is none."""
    if of.start is None:
        return np.zeros(0, np.int64)
    x = [int(first[v]) + c for v, c in enumerate(of.start)]
    y = [
        int(place[edge.row[of.start[edge.writer]], edge.column[of.start[edge.reader]]])
        for edge, place in zip(edges, places, strict=True)
    ]
    return np.array(x + y, dtype=np.int64)


class _Rows:
    """Rows as they are added: columns, values, right side."""

    def __init__(self) -> None:
        self._columns: list[Places] = []
        self._values: list[Numbers] = []
        self.right: list[float] = []

    def add(self, columns: Places, values: Numbers, right: float) -> None:
        self._columns.append(columns)
        self._values.append(values)
        self.right.append(right)

    def limit(self, values: Numbers, limit: float) -> None:
        """sum of values[k] z[k] <= limit, scaled; what a solver would drop is rounded so that no row is tightened."""
        factor = SCALE / np.abs(values).max()
        scaled = values * factor
        tiny = np.abs(scaled) < LEAST_VALUE
        scaled[tiny] = np.where(scaled[tiny] < 0, -LEAST_VALUE, 0.0)
        columns = np.flatnonzero(scaled)
        self.add(columns, scaled[columns], limit * factor)

    def arrays(self) -> dict[str, Numbers | Places]:
        sizes = np.array([0, *map(len, self._columns)], dtype=np.int64)
        column = np.concatenate([np.zeros(0, np.int64), *self._columns])
        return {
            "start": np.cumsum(sizes),
            "column": column,
            "value": np.concatenate([np.zeros(0), *self._values]),
            "right": np.array(self.right),
        }
