"""The one formula for the bytes of a collective: of the price, of the Program, and of what a device will have sent.

A collective is an exchange of blocks between the `n = prod(sizes)` devices of a group, each sending straight to every
other. Reductions are exchanges followed by a local sum in coordinate order, so that they add in a fixed order
everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

CollectiveKind = Literal["reduce_scatter", "all_to_all", "all_reduce", "all_gather"]


def piece_elements(elements: int, sizes: Sequence[int]) -> int:
    """Elements of one of the n equal pieces of a payload, the last one padded."""
    return -(-elements // prod(sizes))


def reduces_by_gather(elements: int, sizes: Sequence[int]) -> bool:
    """Whether an all-reduce gathers whole partials (one round) rather than exchanging pieces (two rounds)."""
    return elements <= 2 * piece_elements(elements, sizes)


def collective_bytes(kind: CollectiveKind, elements: int, itemsize: int, sizes: Sequence[int]) -> int:
    """Bytes each device sends; `elements` are those it holds before, `sizes` the group's extent on each axis.

    reduce_scatter and all_to_all send n - 1 of the n pieces; all_gather sends its block n - 1 times; all_reduce is the
    cheaper of a gather of whole partials and of an exchange of pieces, a local sum and a gather (the bytes of a ring:
    Thakur, Rabenseifner, Gropp 2005).
    """
    others = prod(sizes) - 1
    if kind == "all_gather":
        return others * elements * itemsize
    piece = piece_elements(elements, sizes)
    if kind != "all_reduce":
        return others * piece * itemsize
    return others * (elements if reduces_by_gather(elements, sizes) else 2 * piece) * itemsize


def collective_rounds(kind: CollectiveKind, elements: int, sizes: Sequence[int]) -> int:
    """Exchanges one after the other: each pays the latency once."""
    return 2 if kind == "all_reduce" and not reduces_by_gather(elements, sizes) else 1
