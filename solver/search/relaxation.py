"""A certificate: seconds below which no choice of all mesh axes at once is, by linear programming.

Over a network of tables (`einsplit.solver.search.network`), with x[v, c] the share of class v that chooses option c,
and y[e, a, b] that of edge e whose writer leaves layout a and whose reader wants b (equal rows and columns of a table
are one):

    minimise    sum over v, c of price[v, c] x[v, c]  +  sum over e, a, b of price[e, a, b] y[e, a, b]
    choose      sum over c of x[v, c] = 1                                          for every v
    leave       sum over b of y[e, a, b] = sum over c that leave a of x[v, c]      for every e, a    (dual: p[e, a])
    want        sum over a of y[e, a, b] = sum over c that want b of x[w, c]       for every e, b    (dual: q[e, b])

Every plan is an integral point of it, so its optimum is a bound. The solver's word for that is not taken: for any p and
q at all,

    sum over v of min over c of (price[v, c] + sum of p and q of the edges' rows and columns that c is of)
    + sum over e of min over a, b of (price[e, a, b] - p[e, a] - q[e, b])

is a bound too, by weak duality, and this is what is computed here from the duals that the solver gives.

Source: the local polytope relaxation; M. Wainwright and M. Jordan, Graphical models, exponential families, and
variational inference, 2008, chapter 8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import fsum

import highspy
import numpy as np
import numpy.typing as npt

from einsplit.solver.search.network import Network, network
from einsplit.solver.search.problem import Solution
from einsplit.solver.search.tropical import PriceTable

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

MAX_COLUMNS = 1_000_000  # of a program: a minute's work, and a gigabyte


make_solver: Callable[[], highspy.Highs] = highspy.Highs


@dataclass(frozen=True, slots=True)
class _Edge:
    """A table over two classes, its equal rows and columns put together."""

    writer: int
    reader: int
    prices: Numbers  # of every two different rows and columns
    row: Places  # by option of the writer
    column: Places  # by option of the reader


def lower_bound(found: Solution, limit_seconds: float = 60.0) -> float | None:
    """Seconds below which no plan of the Problem is, under its digit tables; None where the program is too large."""
    of = network(found, range(len(found.problem.machine.axes)), alike=False)
    program = _Program(of)
    return program.bound(found.seconds, limit_seconds) if program.num_columns <= MAX_COLUMNS else None


class _Program:
    """The linear program of a network; constraints in order: choose, and for each edge leave and want."""

    def __init__(self, of: Network) -> None:
        sizes = of.num_options
        self._prices = [np.zeros(size) for size in sizes]
        self._edges: list[_Edge] = []
        for table in of.tables:
            self._take(table)
        self._first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)  # column of each class's first option
        self._num_choices = int(self._first[-1])
        self.num_columns = self._num_choices + sum(edge.prices.size for edge in self._edges)

    def _take(self, table: PriceTable) -> None:
        first, *others = table.variables
        if not others:
            self._prices[first] += table.prices
        elif others == [first]:
            self._prices[first] += np.diagonal(table.prices)
        else:
            rows, row = np.unique(table.prices, axis=0, return_inverse=True)
            prices, column = np.unique(rows, axis=1, return_inverse=True)
            if prices.size == 1:
                self._prices[first] += prices.item()
            else:
                self._edges.append(_Edge(first, others[0], prices, row.reshape(-1), column.reshape(-1)))

    def bound(self, scale: float, limit_seconds: float) -> float:
        """The bound by the duals that the solver finds; prices are scaled so that a plan's is about 1,000."""
        duals = self._duals(1e3 / scale, limit_seconds) * (scale / 1e3)
        own = [prices.copy() for prices in self._prices]
        found: list[float] = []
        at = len(own)
        for edge in self._edges:
            num_rows, num_columns = edge.prices.shape
            p, q = duals[at : at + num_rows], duals[at + num_rows : at + num_rows + num_columns]
            at += num_rows + num_columns
            found.append(float((edge.prices - p[:, None] - q).min()))
            own[edge.writer] += p[edge.row]
            own[edge.reader] += q[edge.column]
        found.extend(float(prices.min()) for prices in own)
        return fsum(found)

    def _duals(self, factor: float, limit_seconds: float) -> Numbers:
        """One for each constraint, as good as the solver finds them in time."""
        solver = make_solver()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("time_limit", limit_seconds)
        solver.passModel(self._model(factor))
        solver.run()
        found = np.array(solver.getSolution().row_dual, dtype=np.float64)
        return np.where(np.isfinite(found), found, 0.0)

    def _model(self, factor: float) -> highspy.HighsLp:
        rows, columns, values, num_rows = self._constraints()
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = self.num_columns, num_rows
        model.col_cost_ = np.concatenate([*self._prices, *(edge.prices.reshape(-1) for edge in self._edges)]) * factor
        model.col_lower_ = np.zeros(self.num_columns)
        model.col_upper_ = np.full(self.num_columns, highspy.kHighsInf)
        right = np.zeros(num_rows)
        right[: len(self._prices)] = 1.0
        model.row_lower_ = model.row_upper_ = right
        order = np.lexsort((columns, rows))
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.searchsorted(rows[order], np.arange(num_rows + 1)).astype(np.int32)
        model.a_matrix_.index_ = columns[order].astype(np.int32)
        model.a_matrix_.value_ = values[order]
        return model

    def _constraints(self) -> tuple[Places, Places, Numbers, int]:
        """Row, column and value of every entry that is not 0, and the number of rows."""
        sizes = np.diff(self._first)
        rows, columns = [np.repeat(np.arange(len(sizes)), sizes)], [np.arange(self._num_choices)]
        values = [np.ones(self._num_choices)]
        row, column = len(sizes), self._num_choices
        for edge in self._edges:
            num_rows, num_columns = edge.prices.shape
            every = column + np.arange(edge.prices.size).reshape(edge.prices.shape)
            of_rows, of_columns = row + np.arange(num_rows), row + num_rows + np.arange(num_columns)
            rows += [np.repeat(of_rows, num_columns), np.tile(of_columns, num_rows)]
            columns += [every.reshape(-1)] * 2
            values += [np.ones(2 * edge.prices.size)]
            rows += [of_rows[edge.row], of_columns[edge.column]]
            columns += [self._options(edge.writer), self._options(edge.reader)]
            values += [-np.ones(len(edge.row) + len(edge.column))]
            row, column = row + num_rows + num_columns, column + edge.prices.size
        return np.concatenate(rows), np.concatenate(columns), np.concatenate(values), row

    def _options(self, variable: int) -> Places:
        return np.arange(self._first[variable], self._first[variable + 1])
