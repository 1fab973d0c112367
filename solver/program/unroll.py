"""Bytes that a device holds over the Program of a deep Graph, by that of its short form.

The instructions of layer T come R + 1 times in the deep Program. Between two of them stands what stood between them in
the short one, and what the layers before have left or taken away:

    held(instruction, c-th time) = held in the short Program + begin + c * growth          c = 0 .. R
    growth of a block = what stands after it - what stands before it
    begin of a block  = what inputs of the deep Program alone hold + R * sum of growth over the blocks before
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from einsplit.graph import Input
from einsplit.solver.layers.deep import Deep
from einsplit.solver.program.instructions import Compute, Free
from einsplit.solver.program.lower import Lowered
from einsplit.solver.program.memory import buffer_bytes, copied_updates, held_by_node, held_bytes, standing_bytes


class Growth(NamedTuple):
    """By how many bytes more are held while a node runs: the second time than the first, and each time after that."""

    second: int
    after: int


@dataclass(frozen=True, slots=True)
class Held:
    """The most bytes of the step; by node of the graph that was lowered, those while it runs, and by how much they are
    more each time that it comes again in the deep one."""

    peak: int
    live: tuple[int, ...]
    growth: tuple[Growth, ...]


def held(found: Lowered, num_nodes: int, deep: Deep | None) -> Held:
    """Of a Program as it is, or, where it is of the short form of a deep graph, of that one's."""
    own = held_bytes(found.program)
    if deep is None:
        return Held(max(own), held_by_node(found.program, own, num_nodes), (Growth(0, 0),) * num_nodes)
    repeats, blocks = deep.short.repeats, list(_blocks(found, deep))
    begin = _of_inputs(found, deep)  # by instruction, and at the end
    of_node = [begin[bisect_left(found.places, 0)]] * num_nodes
    growth, grown = [Growth(0, 0)] * num_nodes, [0] * len(begin)
    for first, last, more in blocks:
        start, end = bisect_left(found.places, first), bisect_right(found.places, last)
        nodes = min(last + 1, num_nodes)
        growth[first:nodes] = [Growth(more, more)] * (nodes - first)
        grown[start:end] = [repeats * more] * (end - start)
        begin[end:] = [nbytes + repeats * more for nbytes in begin[end:]]
        of_node[nodes:] = [nbytes + repeats * more for nbytes in of_node[nodes:]]
    copied = zip(copied_updates(found.program), _times(deep), strict=True)
    begin[-1] += sum(nbytes * (times - 1) for nbytes, times in copied)
    total = [nbytes + more for nbytes, more in zip(own, begin, strict=True)]
    peak = max(nbytes + max(0, more) for nbytes, more in zip(total, grown, strict=True))
    live = _live(found, own, total, of_node)
    for first, last, more in blocks:
        for at, nbytes in _again(found, total, first, last, more):
            growth[at] = Growth(nbytes - live[at], more)
    return Held(peak, live, tuple(growth))


def _again(found: Lowered, total: Sequence[int], first: int, last: int, more: int) -> Iterator[tuple[int, int]]:
    """Of the nodes up to the first that computes in a block of layer T, the bytes held the second time.

    What the instruction before it holds counts there: the first time it is of another layer, which may free other
    values than layer T does.
    """
    start, end = bisect_left(found.places, first), bisect_right(found.places, last)
    nodes = {at: row.node for at in range(start, end) if isinstance(row := found.program.instructions[at], Compute)}
    if nodes:
        of_first, of_last = min(nodes), max(nodes)
        own = [nbytes + more for nbytes in total[start : of_first + 1]]
        before = [*total[of_last:end], *own]
        yield from ((at, before[-2]) for at in range(first, nodes[of_first]))
        yield nodes[of_first], max(before[1:])


def _live(found: Lowered, own: Sequence[int], total: Sequence[int], of_node: Sequence[int]) -> tuple[int, ...]:
    """By node, bytes held the first time that it runs, given those by instruction without and with the deep ones.

    What runs before the first Compute, and after the last, holds what is held before and after all.
    """
    computing = [row.node for row in found.program.instructions if isinstance(row, Compute)] or [-1]
    live, outside = (held_by_node(found.program, row, len(of_node)) for row in (own, total))
    rows = enumerate(zip(live, outside, of_node, strict=True))
    return tuple(b if at <= computing[0] or at > computing[-1] else a + more for at, (a, b, more) in rows)


def _times(deep: Deep) -> list[int]:
    """By update, how many it stands for."""
    return [deep.times[state] for state, _ in deep.graph.updates]


def _blocks(found: Lowered, deep: Deep) -> Iterator[tuple[int, int, int]]:
    """The first and the last place of each block of layer T, in order, and its growth; updates have places too."""
    standing = standing_bytes(found.program)
    run = [*deep.run.tolist(), *(-2 for _ in deep.graph.updates)]
    places = [at for at, times in enumerate((*deep.times, *_times(deep))) if times > 1]
    for _, group in groupby(enumerate(places), key=lambda row: (run[row[1]], row[1] - row[0])):
        block = [place for _, place in group]
        start, end = bisect_left(found.places, block[0]), bisect_right(found.places, block[-1])
        yield block[0], block[-1], standing[end] - standing[start]


def _of_inputs(found: Lowered, deep: Deep) -> list[int]:
    """By instruction, and at the end, what inputs that only the deep graph has hold, if nothing else frees them."""
    program, repeats = found.program, deep.short.repeats
    inputs = (at for at, node in enumerate(deep.graph.nodes) if isinstance(node, Input))
    times = {port.buffer: deep.times[at] for port, at in zip(program.inputs, inputs, strict=True)}
    of = {buffer: repeats * buffer_bytes(program.buffers[buffer]) for buffer, count in times.items() if count > 1}
    now, found_bytes = sum(of.values()), []
    for place, instruction in zip(found.places, program.instructions, strict=True):
        found_bytes.append(now)
        if place < 0 and isinstance(instruction, Free):
            now -= of.get(instruction.buffer, 0)
    return [*found_bytes, now]
