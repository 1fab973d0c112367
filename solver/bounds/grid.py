"""The best cut of one einsum into equal boxes: the prime factors of P dealt to its labels in every way.

    b_i   = ceil(N_i / d_i),  prod d_i = P
    words = sum over terms t of ( prod_{i in t} b_i - |t| / P )

Each device is given the blocks of the operands that its box reads, less the share that it holds already (an all-gather
over the devices that need the same block: n (1 - 1/p) words for a block of n and p devices), and passes on the block of
the result that it adds to, less the share that it keeps (a reduce-scatter: as many). Where d_i divides N_i both say the
same. A box holds at least F / P tuples, so that no grid is below `words_lower_bound`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb, prod

import numpy as np
from numpy.typing import NDArray

from einsplit.graph import Label
from einsplit.solver.bounds.einsum import Terms
from einsplit.solver.machine import prime_factors

Grids = NDArray[np.int64]  # a row for each, a column for each label

MAX_GRIDS = 50_000  # 16,384 devices over 7 labels: 38,760


@dataclass(frozen=True, slots=True)
class Grid:
    """Into how many parts each label is cut, labels that stay whole left out, and the words that a device moves."""

    cuts: tuple[tuple[Label, int], ...]
    words: float


def best_integer_grid(terms: Terms, sizes: Mapping[Label, int], num_devices: int) -> Grid | None:
    """The grid of `num_devices` boxes that moves the fewest words; a label may be cut into more parts than it has.

    4096 x 4096 by 4096 x 4096 on 2 devices: one label in two, 0.50 * 4096^2 words. None where there are more than
    `MAX_GRIDS` to try.
    """
    if num_devices <= 1 or 0 in sizes.values():
        return Grid((), 0.0)
    labels = [label for label, size in sizes.items() if size > 1] or list(sizes)[:1]
    faces = [frozenset(term) for term in terms]
    own = sum(prod(sizes[label] for label in face) for face in faces) / num_devices
    if not labels:
        return Grid((), len(faces) - own)
    if num_grids(num_devices, len(labels)) > MAX_GRIDS:
        return None
    grids = _grids(num_devices, len(labels))
    extents = np.array([sizes[label] for label in labels])
    blocks = np.ceil(extents / grids)
    words = np.zeros(len(grids))
    for face in faces:
        block = np.ones(len(grids))
        for column, label in enumerate(labels):
            if label in face:
                block *= blocks[:, column]
        words += block
    best = int(np.argmin(words))
    cuts = tuple((label, int(d)) for label, d in zip(labels, grids[best], strict=True) if d > 1)
    return Grid(cuts, max(0.0, float(words[best]) - own))


def num_grids(num_devices: int, num_labels: int) -> int:
    """How many ways there are to write the number of devices as a product over the labels."""
    return prod(comb(power + num_labels - 1, power) for power in Counter(prime_factors(num_devices)).values())


@lru_cache(maxsize=16)  # by a mesh and by how many labels: the same for all einsums of a plan
def _grids(num_devices: int, num_labels: int) -> Grids:
    """Every way to write the number of devices as a product over the labels."""
    grids = np.ones((1, num_labels), dtype=np.int64)
    for prime, power in sorted(Counter(prime_factors(num_devices)).items()):
        dealt = prime ** _dealt(power, num_labels)
        grids = (grids[:, None, :] * dealt[None, :, :]).reshape(-1, num_labels)
    return grids


def _dealt(power: int, num_labels: int) -> Grids:
    """Every way to write `power` as a sum over the labels: bars between stars (Feller 1950, section II.5)."""
    places = power + num_labels - 1
    bars = np.array(list(combinations(range(places), num_labels - 1)), dtype=np.int64)
    walls = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, places)))
    return np.diff(walls, axis=1)[::-1] - 1
