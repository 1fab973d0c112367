"""EinDecomp's own costs, in scalars that may have to move (after Bourgeois et al. 2024, arXiv 2410.02682).

A partition vector d has an entry for each label of a node: into how many parts it is cut. p is the product of the
entries. A block of a tensor has ceil(size / entry) elements along each dimension.

    join          p * sum over operands of their block          every one of p calls is sent its blocks
    aggregation   |Z| (n_agg - 1)                               n_agg: the product of d over aggregated labels
    repartition   M * blk_A + (M / n_B - 1) |T|                 from vector a to vector b of one tensor T
                  M = prod over dimensions of max(a_i, b_i),  n_B = prod b_i,  blk_A = prod ceil(size_i / a_i)

M counts the pairs of blocks that meet: each is sent the block of `a` that it is cut from, and M / n_B pieces are put
together to every block of `b`. Where a and b are equal nothing moves, and the cost is 0; the formula alone says |T|.
Vectors stand in rows; a tensor without dimensions has one element.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.int64]  # (..., dimensions)
Scalars = NDArray[np.float64]


def block_elements(shape: Sequence[int], vectors: Vectors) -> Scalars:
    """Elements of a block, for each vector of shape (..., dimensions)."""
    return np.asarray(np.prod(np.ceil(np.array(shape, dtype=np.float64) / vectors), axis=-1))


def num_blocks(vectors: Vectors) -> Scalars:
    """Into how many blocks each vector cuts."""
    return np.asarray(np.prod(vectors.astype(np.float64), axis=-1))


def join_costs(num_calls: Scalars, blocks: Sequence[Scalars]) -> Scalars:
    """`num_calls` and the operands' blocks: one entry for each vector of the node."""
    return num_calls * sum(blocks, start=np.zeros_like(num_calls))


def aggregation_costs(num_elements: float, num_addends: Scalars) -> Scalars:
    """Of a result of `num_elements`, with so many partial results for each of its blocks."""
    return num_elements * (num_addends - 1)


def repartition_costs(shape: Sequence[int], source: Vectors, target: Vectors) -> Scalars:
    """From each row of `source` (u, dimensions) to each row of `target` (w, dimensions): (u, w)."""
    before, after = source[:, None, :], target[None, :, :]
    pairs = num_blocks(np.maximum(before, after))
    elements = float(np.prod(np.array(shape, dtype=np.float64)))
    costs = pairs * block_elements(shape, source)[:, None] + (pairs / num_blocks(target) - 1) * elements
    return np.where((before == after).all(axis=-1), 0.0, costs)
