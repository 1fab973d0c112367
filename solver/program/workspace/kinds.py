"""The kinds of Compute, each gone through as its kernel goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType

from einsplit.dtypes import ITEMSIZE
from einsplit.solver.program.instructions import Compute
from einsplit.solver.program.workspace.calls import kernel
from einsplit.solver.program.workspace.heap import Site, is_joint
from einsplit.solver.program.workspace.joins import Read, joined
from einsplit.solver.program.workspace.keyed import grouped, left, lookup, scatter, summed_labels, turned


def compute_bytes(node: Compute, dtypes: Sequence[str]) -> int:
    """Bytes that it takes at most beside its operands, which have those dtypes; its outputs included.

    Only labels, extents and expressions of the Compute are looked at: buffers may be any numbers.
    """
    site = Site(node, dtypes)
    _KINDS[node.kind](site)
    return site.heap.most


def _join(site: Site) -> int:
    read = [_distinct(site, dtype, labels) for dtype, labels in zip(site.dtypes, site.node.reads, strict=True)]
    return joined(site, read, site.node.writes, summed_labels(site))


def _distinct(site: Site, dtype: str, labels: Sequence[int]) -> Read:
    """Diagonals taken, one by one: each is a copy, and the one before goes.

    Of a label that stands twice the first dimension may be cut, the others are whole.
    """
    dims = [
        (label, site.node.extents[label].padded if label in labels[:k] else site.local(label))
        for k, label in enumerate(labels)
    ]
    taken = 0
    while (
        second := next((k for k, dim in enumerate(dims) if dim[0] in [row[0] for row in dims[:k]]), None)
    ) is not None:
        label = dims[second][0]
        site.index(label)
        first = next(k for k, dim in enumerate(dims) if dim[0] == label)
        dims = [dims[first], *(dim for k, dim in enumerate(dims) if k not in (first, second))]
        before, taken = taken, site.heap.take(ITEMSIZE[dtype] * prod(size for _, size in dims))
        site.heap.give(before)
    return Read(dtype, [label for label, _ in dims])


def _contract(site: Site) -> int:
    node, heap, size = site.node, site.heap, ITEMSIZE[site.node.dtype]
    sides = []
    for labels, other in zip(node.reads, node.reads[::-1], strict=True):
        met = [label for label in labels if label in other or label in node.writes]
        if len(met) != len(labels):
            heap.take(size * site.elements(met))
        sides.append(met)
    batch = [label for label in node.writes if label in sides[0] and label in sides[1]]
    alone = [[label for label in node.writes if label in met and label not in batch] for met in sides]
    if [*batch, *alone[0], *alone[1]] != list(node.writes):
        sides, alone = sides[::-1], alone[::-1]
    contracted = [label for label in sides[0] if label not in node.writes]
    groups = (batch, alone[0], contracted), (batch, contracted, alone[1])
    for met, parts in zip(sides, groups, strict=True):
        if not is_joint([site.lies(met, part) for part in parts]):
            heap.take(size * site.elements(met))
    product = heap.take(size * site.elements(node.writes))
    left(site, product)
    return turned(site, product, [*batch, *alone[0], *alone[1]], size)


def _pick(site: Site) -> int:
    value = site.heap.take(ITEMSIZE[site.node.dtype] * site.elements(site.node.writes))
    site.index(site.node.chosen[0])
    return value


_KINDS: Mapping[str, Callable[[Site], int]] = MappingProxyType(
    {
        "join": _join,
        "contract": _contract,
        "pick": _pick,
        "lookup": lookup,
        "scatter": scatter,
        "grouped": grouped,
        "kernel": kernel,
    }
)
