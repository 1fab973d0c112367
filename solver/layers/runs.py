"""Runs: stretches of a Graph in which one block of nodes comes again and again, such as the gradients of all layers.

Blocks are found by what nodes look like at a glance, their kinds; whether they truly are alike is for others to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from einsplit.graph import Einsum, Graph, Input, Node

Ints = npt.NDArray[np.int64]

MIN_BLOCKS = 6
MAX_PERIODS = 40  # tried
SAMPLE = 3  # inner blocks that must read, or be read by, the other run


@dataclass(frozen=True, slots=True)
class Run:
    """Blocks of `period` nodes from position `first` on; block b is of layer `offset + step * b`."""

    first: int
    period: int
    blocks: int
    step: int = 1
    offset: int = 0

    @property
    def end(self) -> int:
        return self.first + self.period * self.blocks

    @property
    def stride(self) -> int:
        """From a node of a layer to that of the next one in its place."""
        return self.step * self.period

    @property
    def layers(self) -> range:
        """The layers that its blocks are of, in rising order."""
        last = self.offset + self.step * (self.blocks - 1)
        return range(min(self.offset, last), max(self.offset, last) + 1)

    def start(self, layer: int) -> int:
        """Where the block of a layer begins."""
        return self.first + self.stride * (layer - self.offset)


def aligned_runs(graph: Graph, readers: Ints, read: Ints) -> list[Run]:
    """The runs that one can align by what their nodes read of each other; `readers[k]` reads node `read[k]`."""
    found = _runs(_kinds(graph))
    if not found:
        return []
    aligned, waiting = [found[0]], found[1:]
    while True:
        more = [run for other in waiting if (run := _aligned(other, aligned, readers, read)) is not None]
        if not more:
            return sorted(aligned, key=lambda run: run.first)
        aligned += more
        waiting = [run for run in waiting if run.first not in {other.first for other in more}]


def _kinds(graph: Graph) -> Ints:
    """By node, a number for what it looks like."""
    numbers: dict[object, int] = {}
    sizes = graph.sizes
    found = []
    for node in graph.nodes:
        of_dims = tuple([sizes[label] for dim in node.dims for label in dim])
        found.append(numbers.setdefault((_what(node), node.dtype, len(node.operands), of_dims), len(numbers)))
    return np.array(found, dtype=np.int64)


def _what(node: Node) -> object:
    if isinstance(node, Einsum):
        return (node.agg, node.join.op)
    return node.role if isinstance(node, Input) else (node.kernel, node.output)


def _runs(kinds: Ints) -> list[Run]:
    """Runs that do not overlap, those that cover most first."""
    candidates: list[tuple[int, int, int]] = []  # (nodes covered, below 0; period; first)
    for period in _periods(kinds):
        equal = np.concatenate(([False], kinds[period:] == kinds[:-period], [False]))
        borders = np.flatnonzero(np.diff(equal.astype(np.int8)))
        for first, end in zip(borders[::2].tolist(), borders[1::2].tolist(), strict=True):
            if end - first >= (MIN_BLOCKS - 1) * period:
                candidates.append((first - end - period, period, first))
    found: list[Run] = []
    for covered, period, first in sorted(candidates):
        start, end = first, first - covered
        for other in found:
            if other.first < end and start < other.end:  # what remains before it, or behind it
                start, end = (start, other.first) if start < other.first else (other.end, end)
        blocks = (end - start) // period
        if blocks >= MIN_BLOCKS:
            found.append(Run(start, period, blocks))
    return found


def _periods(kinds: Ints) -> Sequence[int]:
    """The distances at which nodes of one kind most often follow each other."""
    order = np.argsort(kinds, kind="stable")
    same = kinds[order][1:] == kinds[order][:-1]
    counts = np.bincount(np.diff(order)[same], minlength=1)
    often = [int(distance) for distance in np.argsort(-counts, kind="stable")[:MAX_PERIODS]]
    return [distance for distance in often if distance and counts[distance] >= MIN_BLOCKS - 1]


def _aligned(run: Run, others: Sequence[Run], readers: Ints, read: Ints) -> Run | None:
    """The run with its layers numbered as those of a run that it reads, or that reads it."""
    for other in others:
        for mine, theirs in ((readers, read), (read, readers)):
            between = (run.first <= mine) & (mine < run.end) & (other.first <= theirs) & (theirs < other.end)
            block = (mine[between] - run.first) // run.period
            layer = other.offset + other.step * ((theirs[between] - other.first) // other.period)
            inner = (block > 0) & (block < run.blocks - 1)
            if len(np.unique(block[inner])) < SAMPLE:
                continue
            step = 1 if float(np.cov(block[inner], layer[inner])[0, 1]) > 0 else -1
            offsets, counts = np.unique(layer[inner] - step * block[inner], return_counts=True)
            return Run(run.first, run.period, run.blocks, step, int(offsets[np.argmax(counts)]))
    return None
