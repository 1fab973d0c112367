"""The exact least price of a network of tables: an einsum in the (min,+) semiring.

Variables v in 0 .. n-1, each with choices x[v] in 0 .. num_choices[v]-1. Tables T_k over scopes S_k, a scope
being a tuple of variables. Wanted, with the x that attains it:

    minimum over x of  sum over k of T_k[x[S_k]]

This is the contraction  Z[] = AGG of JOIN(T_1[S_1], ..., T_m[S_m])  with `+` as join and `min` as
aggregation. What makes every contraction path of an ordinary einsum right holds for it as well: both are
commutative and associative, and min(a, b) + c = min(a + c, b + c). So variables go one by one, in any order:

    bucket(v)  = the tables that name v, and no variable eliminated before it
    M_v[R]     = min over x[v] of  sum over T in bucket(v) of T[x[v], R]     R: the bucket's other variables
    first_v[R] = the smallest x[v] that attains it

M_v joins the tables in place of its bucket. Read backwards, x[v] = first_v[x[R]] gives the choices. Only
the order of elimination decides the cost: a bucket has as many entries as {v} and R have joint choices.
The order comes from weighted min-fill (`elimination_order`); the cost is known before the first addition.

Sources: R. Dechter, Bucket elimination: a unifying framework for reasoning, Artificial Intelligence 113,
1999; D. G. A. Smith and J. Gray, opt_einsum, JOSS 3(26), 2018: a contraction path is a thing of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import fsum, inf
from string import ascii_letters

import numpy as np
import numpy.typing as npt

from einsplit.errors import EinsplitError, PlanError, ShapeError
from einsplit.solver.contraction.elimination import Elimination, elimination_order

__all__ = ["Optimum", "PriceTable", "TooWide", "check_tables", "minimise"]

Prices = npt.NDArray[np.float64]

MAX_ENTRIES = 2**25  # of a bucket: no array of prices made for it is then larger than 128 MiB


class TooWide(EinsplitError):
    """The order of elimination that was found needs a bucket of more entries than allowed."""


# eq=False: arrays have no truth value, so a generated __eq__ could only raise.
@dataclass(frozen=True, slots=True, eq=False)
class PriceTable:
    """One addend: `prices` has one dimension per entry of `variables`, and +inf where a choice is forbidden.

    A variable that stands twice means the diagonal.
    """

    variables: tuple[int, ...]
    prices: Prices


@dataclass(frozen=True, slots=True)
class Optimum:
    """The least price, and one choice per variable that attains it."""

    price: float
    choices: tuple[int, ...]


def minimise(num_choices: Sequence[int], tables: Sequence[PriceTable], max_entries: int = MAX_ENTRIES) -> Optimum:
    """The least sum of the tables over all assignments, exact but for the rounding of float64 sums.

    Among equal sums every variable takes its smallest choice, the variable eliminated last first. The
    price is the correctly rounded sum of the chosen entries, in whatever order the tables come. No array
    of prices made here has more entries than its bucket divided by the choices of the bucket's variable.

    Raises TooWide, before the first addition, if a bucket has more than `max_entries` entries; PlanError if
    no assignment has a finite price, if a price is NaN or -inf, or if a variable has no choice; ShapeError
    if a table does not fit `num_choices`.
    """
    check_tables(num_choices, tables)
    order = []
    for elimination in elimination_order(num_choices, scopes_of(num_choices, tables)):
        if elimination.entries > max_entries:
            raise TooWide(_too_wide_message(num_choices, elimination, max_entries))
        order.append(elimination)
    return contracted(num_choices, tables, order)


def scopes_of(num_choices: Sequence[int], tables: Sequence[PriceTable]) -> list[set[int]]:
    """The variables of each table. One with one choice decides nothing, and numpy has few dimensions to give away."""
    return [{v for v in table.variables if num_choices[v] > 1} for table in tables]


def contracted(num_choices: Sequence[int], tables: Sequence[PriceTable], order: Sequence[Elimination]) -> Optimum:
    """`minimise`, of tables that are checked, in that order."""
    scopes = scopes_of(num_choices, tables)
    # From here on a scope is in order of elimination: the next variable to go is a table's first dimension.
    position = {elimination.variable: i for i, elimination in enumerate(order)}
    buckets: list[list[tuple[tuple[int, ...], Prices]]] = [[] for _ in num_choices]
    for table, scope_set in zip(tables, scopes, strict=True):
        scope = tuple(sorted(scope_set, key=position.__getitem__))
        if scope:
            buckets[scope[0]].append((scope, _arranged(table, scope)))

    firsts: list[tuple[tuple[int, ...], npt.NDArray[np.unsignedinteger]]] = []
    for elimination in order:
        rest = tuple(sorted(elimination.others, key=position.__getitem__))
        bucket, buckets[elimination.variable] = buckets[elimination.variable], []
        message, first = _eliminate((elimination.variable, *rest), num_choices, bucket)
        if not np.isfinite(message).any():
            raise PlanError(_infeasible_message(elimination))
        firsts.append((rest, first))
        if rest:
            buckets[rest[0]].append((rest, message))

    choices = [0] * len(num_choices)
    for elimination, (rest, first) in zip(reversed(order), reversed(firsts), strict=True):
        choices[elimination.variable] = int(first[tuple(choices[u] for u in rest)])
    chosen = (float(table.prices[tuple(choices[v] for v in table.variables)]) for table in tables)
    return Optimum(fsum(chosen), tuple(choices))


def _eliminate(
    scope: tuple[int, ...], num_choices: Sequence[int], bucket: Sequence[tuple[tuple[int, ...], Prices]]
) -> tuple[Prices, npt.NDArray[np.unsignedinteger]]:
    """M[R] = min over x[v] of sum over T in the bucket of T[x[v], R], and the smallest x[v] that attains it.

    `scope` is (v, *R). Choice after choice, so that the sum over all of (v, *R) never stands in memory.
    """
    shape = tuple(num_choices[u] for u in scope)
    message = np.full(shape[1:], inf)
    first = np.zeros(shape[1:], dtype=np.min_scalar_type(shape[0] - 1))
    if not bucket:
        return np.zeros(shape[1:]), first
    # Small tables first: their sums stay small, and only the last additions run over all of R. The scope as
    # second key makes the rounding, too, independent of the order in which tables of different scopes came.
    aligned = [
        prices.reshape([num_choices[u] if u in own else 1 for u in scope])
        for own, prices in sorted(bucket, key=lambda item: (item[1].size, item[0]))
    ]
    with np.errstate(over="ignore"):  # a sum beyond float64 is +inf, as good as forbidden
        for choice in range(shape[0]):
            total = reduce(np.add, [prices[choice] for prices in aligned])
            better = total < message  # strict: the smallest choice keeps a tie
            np.copyto(message, total, where=better)
            np.copyto(first, choice, where=better, casting="unsafe")
    return message, first


def _arranged(table: PriceTable, scope: tuple[int, ...]) -> Prices:
    """The table with one dimension per variable of `scope`, in its order; diagonals are taken."""
    prices = np.asarray(table.prices, dtype=np.float64)
    kept = prices[tuple(slice(None) if v in scope else 0 for v in table.variables)]
    letter = dict(zip(scope, ascii_letters, strict=False))
    labels = "".join(letter[v] for v in table.variables if v in letter)
    arranged: Prices = np.einsum(f"{labels}->{''.join(letter.values())}", kept)
    return arranged


def check_tables(num_choices: Sequence[int], tables: Sequence[PriceTable]) -> None:
    """Raises PlanError or ShapeError unless every table fits, and every price is a number or +inf."""
    for v, num in enumerate(num_choices):
        if num < 1:
            raise PlanError(f"variable {v} has {num} choices.\n  It needs one at least.")
    for k, table in enumerate(tables):
        unknown = [v for v in table.variables if not 0 <= v < len(num_choices)]
        if unknown:
            raise ShapeError(f"table {k} names variable {unknown[0]}.\n  Variables are 0 to {len(num_choices) - 1}.")
        expected = tuple(num_choices[v] for v in table.variables)
        if table.prices.shape != expected:
            raise ShapeError(
                f"table {k} has shape {table.prices.shape}.\n"
                f"  Its variables {table.variables} have {expected} choices: give one dimension per variable."
            )
    every = np.concatenate([table.prices.ravel() for table in tables]) if tables else np.zeros(0)
    if np.isfinite(every).all():
        return
    for k, table in enumerate(tables):
        if not (table.prices > -inf).all():  # False for NaN too
            raise PlanError(
                f"table {k} over variables {table.variables} holds NaN or -inf.\n"
                "  A price is a number of seconds; +inf forbids a choice."
            )
        # Elimination would find this out, except where no variable of the table has two choices.
        if (table.prices == inf).all():
            raise PlanError(
                f"no assignment has a finite price: table {k} over variables {table.variables} forbids all.\n"
                "  Look for pins that contradict each other near it."
            )


def _too_wide_message(num_choices: Sequence[int], elimination: Elimination, max_entries: int) -> str:
    factors = " x ".join(str(num_choices[v]) for v in (elimination.variable, *elimination.others))
    return (
        f"eliminating variable {elimination.variable} joins {1 + len(elimination.others)} variables"
        f" in a table of {elimination.entries} entries, {max_entries} are allowed.\n"
        f"  choices of {(elimination.variable, *elimination.others)}: {factors}\n"
        "  Fold repeated layers, give variables fewer choices, or allow more entries."
    )


def _infeasible_message(elimination: Elimination) -> str:
    given = f"\n  whatever the choices of variables {elimination.others}" if elimination.others else ""
    return (
        f"no assignment has a finite price: every choice of variable {elimination.variable} is forbidden{given}.\n"
        "  Look for pins that contradict each other near it."
    )
