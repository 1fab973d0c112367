"""The memory of a join: of the steps of its expression, chunk by chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from einsplit.dtypes import ITEMSIZE
from einsplit.scalar import labels_of, parse_join
from einsplit.scalar.typed import Step, typed_steps
from einsplit.solver.program import limits
from einsplit.solver.program.workspace.heap import Site

# Steps that may give what they are given.
_SAME = frozenset(("cast", "stop_gradient"))


@dataclass(frozen=True, slots=True)
class Read:
    """What a join reads: a tensor's dtype, and its labels."""

    dtype: str
    labels: Sequence[int]


@dataclass(frozen=True, slots=True)
class Value:
    """What a step gives: the labels along which it is longer than 1, its bytes, and whose storage it has, if one's."""

    labels: frozenset[int]
    dtype: str
    nbytes: int = 0
    owner: int | None = None  # the step that made the storage; None for an operand's, or an index's

    @property
    def is_fresh(self) -> bool:
        return self.owner is not None


@lru_cache(maxsize=4096)
def steps_of(text: str, dtypes: tuple[str, ...], names: tuple[str, ...]) -> tuple[Step, ...]:
    return typed_steps(parse_join(text, len(dtypes), names), dtypes)


@lru_cache(maxsize=4096)
def indexed_names(text: str, num_operands: int, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names whose indices an expression asks for."""
    return tuple(sorted(labels_of(parse_join(text, num_operands, names))))


def run_steps(site: Site, steps: Sequence[Step], read: Sequence[Sequence[int]], size: Callable[[int], int]) -> Value:
    """Every step in order, what is not used any more given back; the last one's value stays."""
    last_use = {arg: at for at, step in enumerate(steps) for arg in step.args}
    values: dict[int, Value] = {}
    sharing: Counter[int] = Counter()
    for at, step in enumerate(steps):
        values[at] = _value(site, at, step, values, read, size)
        owner = values[at].owner
        if owner is not None:
            sharing[owner] += 1
        for arg in set(step.args):
            if last_use[arg] == at:
                dropped = values.pop(arg)
                if dropped.owner is not None:
                    sharing[dropped.owner] -= 1
                    if not sharing[dropped.owner]:
                        site.heap.give(dropped.nbytes)
    return values[len(steps) - 1]


def _value(
    site: Site,
    at: int,
    step: Step,
    values: dict[int, Value],
    read: Sequence[Sequence[int]],
    size: Callable[[int], int],
) -> Value:
    if step.op == "operand":
        return Value(frozenset(read[int(step.value or 0)]), step.dtype)
    if step.op == "index":
        label = site.node.names.index(step.name or "")
        site.index(label)
        return Value(frozenset((label,)), step.dtype)
    args = [values[arg] for arg in step.args]
    if step.op in _SAME and args[0].dtype == step.dtype:
        return args[0]
    labels = frozenset[int]().union(*(arg.labels for arg in args))
    nbytes = site.heap.take(ITEMSIZE[step.dtype] * prod(map(size, labels)))
    return Value(labels, step.dtype, nbytes, at)


def joined(site: Site, read: Sequence[Read], writes: Sequence[int], summed: Sequence[int]) -> int:
    """Bytes of the join's value, which stays taken; it has a dimension for each label in `writes`."""
    node, order = site.node, [*writes, *summed]
    for name in indexed_names(node.join, len(read), node.names):
        site.index(node.names.index(name))
    for label in summed:
        if node.extents[label].padded != node.extents[label].size:
            site.index(label)
    sizes = [site.local(label) for label in order]
    widths = dict(zip(order, limits.joined_widths(sizes[: len(writes)], sizes[len(writes) :]), strict=True))
    output = ITEMSIZE[node.dtype] * site.elements(writes)
    if list(widths.values()) == sizes:
        value = _part(site, read, writes, summed, widths)
        is_ordered = bool(summed) or all(site.is_ordered(row.labels, list(writes)) for row in read)
        if value.is_fresh and is_ordered and value.nbytes == output:
            return output
        site.heap.take(output)
        site.heap.give(value.nbytes)
        return output
    site.heap.take(output)
    site.heap.give(_part(site, read, writes, summed, widths).nbytes)  # the first chunk is the largest
    return output


def _part(
    site: Site, read: Sequence[Read], writes: Sequence[int], summed: Sequence[int], widths: Mapping[int, int]
) -> Value:
    """One chunk's value, aggregated."""
    node = site.node
    steps = steps_of(node.join, tuple(row.dtype for row in read), node.names)
    value = run_steps(site, steps, [row.labels for row in read], widths.__getitem__)
    for label in summed:
        if node.extents[label].padded != node.extents[label].size:
            value = _replaced(site, value, value.dtype, prod(widths.values()))
    if summed:
        return _replaced(site, value, node.dtype, prod(widths[label] for label in writes))
    return (
        value
        if value.dtype == node.dtype
        else _replaced(site, value, node.dtype, prod(widths[label] for label in writes))
    )


def _replaced(site: Site, value: Value, dtype: str, elements: int) -> Value:
    """The value that is made of another one, which goes."""
    nbytes = site.heap.take(ITEMSIZE[dtype] * elements)
    site.heap.give(value.nbytes)
    return Value(frozenset(), dtype, nbytes, -1)
