"""The memory of a registered kernel's call: what is presented to it, what it declares, what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import prod
from types import MappingProxyType

import msgspec

from einsplit.dtypes import ITEMSIZE, wide
from einsplit.kernels.attention import MASKS
from einsplit.kernels.convolution import windows
from einsplit.solver.program import limits
from einsplit.solver.program.workspace.heap import INDEX_BYTES, Dim, Site, is_contiguous, is_joint

Shape = tuple[int, ...]
Attributes = Mapping[str, object]
# (attributes, shapes of operands as they are presented, shape of the first result, bytes of an element) -> bytes
Declared = Callable[[Attributes, Sequence[Shape], Shape, str], int]

# Of the scores of a stretch, how many times as many elements stand in memory at once.
FORWARD_SCORES, GRADIENT_SCORES = 8, 12


@lru_cache(maxsize=1024)
def _attributes(text: str) -> dict[str, object]:
    return msgspec.json.decode(text, type=dict[str, object])


def kernel(site: Site) -> int:
    """Bytes of the results, which stay taken."""
    node, heap = site.node, site.heap
    attributes = _attributes(node.attributes)
    rows = list(zip(site.dtypes, node.reads, node.presents, strict=True))
    presented = [heap.take(ITEMSIZE[dtype] * _copied(site, labels, dims)) for dtype, labels, dims in rows]
    if attributes.get("padding") == "identity":
        presented = _with_identities(site, presented)
    made = [ITEMSIZE[row.dtype] * prod(_shape(site, row.dims)) for row in node.results]
    declare = DECLARED.get(node.kernel)
    own = 0
    if declare is not None:
        shapes = [_shape(site, dims) for dims in node.presents]
        own = declare(attributes, shapes, _shape(site, node.results[0].dims), site.dtypes[0])
    heap.give(heap.take(sum(made) + own))
    heap.take(sum(made))
    heap.give(sum(presented))
    return sum(_padded(site, row.dtype, row.dims, nbytes) for row, nbytes in zip(node.results, made, strict=True))


def _with_identities(site: Site, presented: Sequence[int]) -> list[int]:
    """Operands made anew where a cut label is padded; as they were they go when all are made."""
    node, found, given = site.node, list(presented), 0
    for k, (dtype, dims) in enumerate(zip(site.dtypes, node.presents, strict=True)):
        cut = [label for dim in dims for label in dim if label not in node.whole]
        padded = [label for label in cut if node.extents[label].padded != node.extents[label].size]
        for label in padded:
            site.index(label)
        if padded:
            given += found[k]
            found[k] = site.heap.take(ITEMSIZE[dtype] * prod(_shape(site, dims)))
    site.heap.give(given)
    return found


def _padded(site: Site, dtype: str, dims: Sequence[Sequence[int]], nbytes: int) -> int:
    """A result with its whole labels padded again: a copy, if there is any padding."""
    extents, whole = site.node.extents, site.node.whole
    if all(extents[label].padded == extents[label].size for dim in dims for label in dim if label in whole):
        return nbytes
    found = site.heap.take(
        ITEMSIZE[dtype]
        * prod(extents[label].padded if label in whole else site.local(label) for dim in dims for label in dim)
    )
    site.heap.give(nbytes)
    return found


def _size(site: Site, label: int) -> int:
    return site.node.extents[label].size if label in site.node.whole else site.local(label)


def _shape(site: Site, dims: Sequence[Sequence[int]]) -> Shape:
    return tuple(prod(_size(site, label) for label in dim) for dim in dims)


def _copied(site: Site, labels: Sequence[int], dims: Sequence[Sequence[int]]) -> int:
    """Elements of an operand as it is presented, if that is a copy; else 0."""

    def lies(label: int) -> Dim:
        stride = site.elements(labels[labels.index(label) + 1 :]) if label in labels else 0
        return _size(site, label), stride

    groups = [[lies(label) for label in dim] for dim in dims]
    is_view = is_joint(groups)
    if site.node.kernel in limits.CONTIGUOUS:
        is_view = is_view and is_contiguous([dim for group in groups for dim in group])
    return 0 if is_view else prod(_shape(site, dims))


def _all_ordered(attributes: Attributes, shapes: Sequence[Shape], result: Shape, dtype: str) -> int:
    return prod(shapes[0]) * (ITEMSIZE[dtype] + INDEX_BYTES)


def _around(attributes: Attributes, x: Shape, z: Shape, w: Shape, dtype: str) -> int:
    """The input as windows span it, once cut off and once before."""
    placed = windows(attributes)
    spans = placed.spans(z[2:], w[2:])
    reached = [max(size + padding, span) for size, padding, span in zip(x[2:], placed.padding, spans, strict=True)]
    return ITEMSIZE[dtype] * x[0] * x[1] * (prod(spans) + prod(reached))


def _attended(num_scores: int) -> Declared:
    def declare(attributes: Attributes, shapes: Sequence[Shape], result: Shape, dtype: str) -> int:
        """So many times a stretch's scores, and twice all operands in float32 at least, for every query's head."""
        query, key, value = shapes[:MASKS]
        heads, num_queries, num_keys = query[0] * query[1], query[2], key[2]
        every = heads * num_keys
        stretch = every * min(num_queries, max(1, limits.MAX_SCORES // max(1, every)))
        both = 2 * heads * (num_queries + num_keys) * (query[3] + value[3])
        return ITEMSIZE[wide(dtype)] * (num_scores * stretch + both)

    return declare


# What is not here declares nothing: torch's own functions are all that takes memory in it.
DECLARED: Mapping[str, Declared] = MappingProxyType(
    {
        "top_k": _all_ordered,
        "sort": _all_ordered,
        "convolution": lambda a, shapes, result, dtype: _around(a, shapes[0], result, shapes[1], dtype),
        "convolution_input": lambda a, shapes, result, dtype: _around(a, result, shapes[0], shapes[1], dtype),
        "convolution_weight": lambda a, shapes, result, dtype: _around(a, shapes[0], shapes[1], result, dtype),
        "attention": _attended(FORWARD_SCORES),
        "attention_values": _attended(FORWARD_SCORES),
        "attention_gradient": _attended(GRADIENT_SCORES),
    }
)
