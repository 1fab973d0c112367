"""Distances of points, and the nearest of them."""

from __future__ import annotations

from math import inf

from einsplit.einsum import einsum
from einsplit.errors import EinsplitError
from einsplit.functional.operands import X
from einsplit.kernels.door import kernel

_NORMS = {1.0: ("abs(x - y)", "sum"), 2.0: ("(x - y) * (x - y)", "sum"), inf: ("abs(x - y)", "max")}


def all_pairs_distances(x: X, y: X, *, p: float = 2.0) -> X:
    """`z_ij = (sum over d of |x_id - y_jd|^p)^(1/p)`; of p = inf, `max over d of |x_id - y_jd|`.

    Shapes: `x` `... i d`, `y` `... j d`; the result `... i j`. p is 1 (Manhattan), 2 (Euclid) or inf (Chebyshev). The
    distance of equal points has the gradient 0. Raises EinsplitError for another p.
    """
    if p not in _NORMS:
        raise EinsplitError(f"p={p!r} is no norm here.", "Known: 1 2 inf.")
    join, agg = _NORMS[p]
    found = einsum("... i d, ... j d -> ... i j", x, y, join=join, agg=agg)
    if p != 2:
        return found
    # The slope of the root is infinite at 0: the inner where keeps it away from there.
    return einsum("... i j -> ... i j", found, join="where(x == 0, 0, sqrt(where(x == 0, 1, x)))")


def k_nearest(queries: X, points: X, k: int, *, p: float = 2.0) -> tuple[X, X]:
    """The distances `i k` of each query's k nearest points, smallest first, and which points these are, `i k` int64.

    Shapes: `queries` `i d`, `points` `j d`. Of points equally far the first one comes first. The distances may be cut
    along i, j and d; their order needs all j of a query on one device: top_k's bracketed label. p as in
    all_pairs_distances. Raises ShapeError for more neighbours than there are points.
    """
    distances = all_pairs_distances(queries, points, p=p)
    found = kernel("top_k", "i [j] -> i [k], i [k]", distances, k=k, largest=False)
    assert isinstance(found, tuple)
    nearest, places = found
    return nearest, places
