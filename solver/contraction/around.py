"""Where a network of tables is too wide to be contracted: some variables stand still, the others are solved."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from einsplit.solver.contraction.elimination import Elimination, elimination_order
from einsplit.solver.contraction.tropical import (
    MAX_ENTRIES,
    Optimum,
    PriceTable,
    check_tables,
    contracted,
    scopes_of,
)


def minimise_around(
    num_choices: Sequence[int],
    tables: Sequence[PriceTable],
    standing: Sequence[int],
    avoid: Collection[int] = (),
    max_entries: int = MAX_ENTRIES,
) -> tuple[Optimum, frozenset[int]]:
    """No more than the price of the `standing` choices: the least over all assignments that agree with them in the
    variables that are also returned, those that had to be held for the network to be narrow enough.

    None is held where `minimise` would do. The hubs are held first, and those in `avoid` last: calling again with what
    was held before lets others move.
    """
    check_tables(num_choices, tables)
    order, held = _held(num_choices, scopes_of(num_choices, tables), max_entries, avoid)
    if not held:
        return contracted(num_choices, tables, order), held
    fixed = [standing[v] if v in held else slice(None) for v in range(len(num_choices))]
    left = [
        PriceTable(
            tuple(v for v in table.variables if v not in held),
            np.asarray(table.prices[tuple(fixed[v] for v in table.variables)]),
        )
        for table in tables
    ]
    own = [1 if v in held else number for v, number in enumerate(num_choices)]
    found = contracted(own, left, order)
    choices = tuple(standing[v] if v in held else choice for v, choice in enumerate(found.choices))
    return Optimum(found.price, choices), held


def _held(
    num_choices: Sequence[int], scopes: Sequence[set[int]], max_entries: int, avoid: Collection[int]
) -> tuple[list[Elimination], frozenset[int]]:
    """Variables without which no bucket has more than `max_entries` entries, and the order of elimination then."""
    own = list(num_choices)
    held: set[int] = set()
    degree = [0] * len(own)
    for scope in scopes:
        for v in scope:
            degree[v] += len(scope) - 1
    while True:
        left = [scope - held for scope in scopes]
        order, wide = [], None
        for elimination in elimination_order(own, left):
            order.append(elimination)
            if elimination.entries > max_entries:
                wide = elimination
                break
        if wide is None:
            return order, frozenset(held)
        entries = wide.entries
        for v in sorted((wide.variable, *wide.others), key=lambda v: (v in avoid, -degree[v], v)):
            if entries <= max_entries:
                break
            held.add(v)
            entries //= own[v]
            own[v] = 1
