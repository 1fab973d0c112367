"""The memory of Computes that keys decide: lookup, scatter, grouped."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from einsplit.dtypes import ITEMSIZE
from einsplit.solver.program.workspace.heap import INDEX_BYTES, Site, is_joint
from einsplit.solver.program.workspace.joins import Read, indexed_names, joined, run_steps, steps_of

HALVES = frozenset(("float16", "bfloat16"))
WIDE_ITEMSIZE = 4  # of what halves are added in


def lookup(site: Site) -> int:
    """Bytes of the value, which stays taken; so below."""
    return left(site, placed_joined(site, site.node.writes, summed_labels(site)))


def scatter(site: Site) -> int:
    node, heap = site.node, site.heap
    keys = key_labels(site)
    kept = [label for label in node.writes if label not in (*node.chosen, *keys)]
    each = [label for label in keys if label in node.writes]
    led = [label for label in keys if label not in node.writes]
    rest = [label for label in summed_labels(site) if label not in led]
    values = placed_joined(site, [*each, *led, *kept], rest)
    size = ITEMSIZE[node.dtype]
    wide = WIDE_ITEMSIZE if node.dtype in HALVES else size
    flat = heap.take(INDEX_BYTES * site.elements(keys))
    heap.take(INDEX_BYTES * site.elements(keys))
    heap.give(flat)
    held = site.elements(node.chosen)
    sums = heap.take(wide * site.elements(each) * max(1, held) * site.elements(kept))
    if wide != size:
        heap.take(values // size * wide)
        return left(site, heap.take(size * site.elements(node.writes)))
    left(site, sums)
    return turned(site, sums, [*each, *node.chosen, *kept], size)


def grouped(site: Site) -> int:
    node, heap = site.node, site.heap
    (chosen,) = node.chosen
    keys = key_labels(site)
    place_keys(site)
    is_written = keys[0] in node.writes
    rest = [label for label in node.writes if label != chosen and label not in keys]
    size, rows = ITEMSIZE[node.dtype], site.elements(keys)
    taken = 0
    for k in node.product:
        labels = list(node.reads[k])
        if keys[0] in labels:
            others = [label for label in labels if label not in keys]
            lies = site.lies(labels, [*keys, *others])
            if not is_joint([lies[: len(keys)], *([dim] for dim in lies[len(keys) :])]):
                heap.take(size * site.elements(labels))
            taken += size * site.elements(labels)
    heap.take(2 * INDEX_BYTES * rows)  # the group of each row, and the rows by group
    led = keys if is_written else []
    order = [*led, *((chosen,) if chosen in node.writes else ()), *rest]
    sums = heap.take(size * site.elements(order))
    heap.give(heap.take(taken + size * site.elements([*led, *rest])))
    left(site, sums)
    return turned(site, sums, order, size)


def left(site: Site, nbytes: int) -> int:
    """Everything goes but what is left, and the indices."""
    indices = sum(INDEX_BYTES * site.local(label) for label in site.indexed)
    site.heap.give(site.heap.now - indices - nbytes)
    return nbytes


def turned(site: Site, nbytes: int, order: Sequence[int], size: int) -> int:
    """What lies in `order`, as it is written: a copy if it lies otherwise, or has more elements."""
    output = size * site.elements(site.node.writes)
    if nbytes != output or not site.is_ordered(list(site.node.writes), list(order)):
        site.heap.take(output)
        site.heap.give(nbytes)
    return output


def key_labels(site: Site) -> list[int]:
    return sorted({label for key in site.node.keys for label in key.labels})


def summed_labels(site: Site) -> list[int]:
    """The labels that are aggregated, and that are no key's."""
    node = site.node
    named = indexed_names(node.join, len(node.operands) + bool(node.keys), node.names)
    read = {label for labels in (*node.reads, *(key.labels for key in node.keys)) for label in labels}
    return sorted((read | {node.names.index(name) for name in named}) - {*node.writes, *node.chosen})


def placed_joined(site: Site, writes: Sequence[int], summed: Sequence[int]) -> int:
    """Bytes of the join of what is read at the keys, and of whether they are met; what is read goes again."""
    node, keys, taken = site.node, key_labels(site), 0
    place_keys(site)
    read = []
    for dtype, labels in zip(site.dtypes, node.reads, strict=True):
        there = labels
        if set(labels) & set(node.chosen):
            there = (*keys, *(label for label in labels if label not in (*node.chosen, *keys)))
            taken += site.heap.take(ITEMSIZE[dtype] * site.elements(there))
        read.append(Read(dtype, there))
    found = joined(site, [*read, Read("bool", keys)], writes, summed)
    site.heap.give(taken)
    return found


def place_keys(site: Site) -> None:
    """Where the keys stand, and which of them are met."""
    node, heap, keys = site.node, site.heap, key_labels(site)
    for label, key in zip(node.chosen, node.keys, strict=True):
        steps = steps_of(key.expr, tuple(site.dtypes), node.names)
        value = run_steps(site, steps, [row if set(row) <= set(key.labels) else () for row in node.reads], site.local)
        site.index(label)
        elements = prod(site.local(each) for each in value.labels)
        table = heap.take(INDEX_BYTES * (node.extents[label].size + 1))
        wide = heap.take(INDEX_BYTES * elements if value.dtype != "int64" else 0)
        known = heap.take(elements)
        heap.take(INDEX_BYTES * elements)
        heap.give(table + wide + known + value.nbytes)
    heap.take(site.elements(keys))
    for label in keys:
        if node.extents[label].padded != node.extents[label].size and label not in node.writes:
            site.index(label)
