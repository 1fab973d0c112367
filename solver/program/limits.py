"""How much a kernel takes at once. What is planned and what is run go by the same figures."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

MAX_JOINED = 1 << 22  # elements of a join that stand in memory at once
MAX_SCORES = 1 << 22  # of attention, likewise; and elements of a mask that is made for it

# Kernels that take contiguous operands only.
CONTIGUOUS = frozenset(("convolution", "convolution_input", "convolution_weight", "aten", "aten_vjp"))


def joined_widths(written: Sequence[int], summed: Sequence[int]) -> list[int]:
    """How many elements of each label a chunk of a join has: of those written, then of those summed.

    Chunks go along what is written first: no partial sums are rounded then.
    """
    widths = [*written, *summed]
    for group in (range(len(written)), range(len(written), len(widths))):
        while prod(widths) > MAX_JOINED and any(widths[k] > 1 for k in group):
            longest = max(group, key=lambda k: (widths[k], -k))
            others = prod(widths) // widths[longest]
            widths[longest] = max(1, min(MAX_JOINED // others, widths[longest] - 1))
    return widths
