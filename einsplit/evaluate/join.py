"""The meaning of one einsum: the join at every combination of label indices, then the aggregation.

    value[out] = AGG over the labels not in out of JOIN(operands, label indices)

Where no label is aggregated there is nothing to combine: the value has the join's dtype, and AGG does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from opt_einsum import contract, get_symbol

from einsplit.dtypes import dtype_name, kind, numpy_dtype
from einsplit.monoid import Array, combine, finish, identity_states, lift, reduce
from einsplit.scalar import NUMPY, Expr, Step, is_product, labels_of, run_steps, typed_steps

Labels = tuple[str, ...]
Block = Mapping[str, slice]  # a stretch of the indices of some labels

MAX_JOINED = 1 << 22  # elements of a join that stand in memory at once


@dataclass(frozen=True, slots=True)
class Read:
    """An operand, one dimension for each of its labels. A label that stands twice reads the diagonal."""

    array: Array
    labels: Labels


def einsum_value(
    reads: Sequence[Read], out: Labels, join: Expr, agg: str, sizes: Mapping[str, int], dtype: str
) -> Array:
    """The value in `dtype`, a fresh array with one dimension for each label of `out`.

    A label of `out` that no operand has is repeated. Raises DtypeError where the join does not take the dtypes.
    """
    met = dict.fromkeys(label for read in reads for label in read.labels)
    met.update(dict.fromkeys(sorted(labels_of(join))))
    aggregated = tuple(label for label in met if label not in out)
    distinct = [diagonal(read) for read in reads]
    if aggregated and agg == "sum" and _is_plain(distinct, join, dtype):
        value = _contract(distinct, out, sizes)
    else:
        value = _Joined(distinct, out, aggregated, join, agg, sizes).value()
    return value.astype(dtype, order="C", copy=False)


def diagonal(read: Read) -> Read:
    """The operand with every label once."""
    array, labels = read.array, read.labels
    while len(set(labels)) < len(labels):
        second = next(k for k, label in enumerate(labels) if label in labels[:k])
        first = labels.index(labels[second])
        array = np.diagonal(array, 0, first, second)
        rest = tuple(label for k, label in enumerate(labels) if k not in (first, second))
        labels = (*rest, labels[first])
    return Read(array, labels)


def aligned(read: Read, order: Sequence[str]) -> Array:
    """A view with one dimension for each label of `order`, of size 1 where the operand does not have it."""
    turned = read.array.transpose([read.labels.index(label) for label in order if label in read.labels])
    return turned[tuple(slice(None) if label in read.labels else np.newaxis for label in order)]


def _is_plain(reads: Sequence[Read], join: Expr, dtype: str) -> bool:
    """Whether it is an ordinary einsum: all operands multiplied, in the dtype they are summed in."""
    same = {dtype_name(read.array.dtype) for read in reads} == {dtype} and kind(dtype) != "bool"
    return same and sorted(is_product(join) or ()) == list(range(len(reads)))


def _contract(reads: Sequence[Read], out: Labels, sizes: Mapping[str, int]) -> Array:
    """Pair by pair along opt_einsum's path, so that a chain of two hundred matrices is no loop over all labels."""
    letters: dict[str, str] = {}
    terms = []
    for read in reads:
        terms.append("".join(letters.setdefault(label, get_symbol(len(letters))) for label in read.labels))
    carried = tuple(label for label in out if label in letters)
    text = f"{','.join(terms)}->{''.join(letters[label] for label in carried)}"
    found: Array = np.asarray(contract(text, *(read.array for read in reads)))
    full = aligned(Read(found, carried), out)
    return np.array(np.broadcast_to(full, [sizes[label] for label in out]))


@dataclass(frozen=True, slots=True)
class _Joined:
    """The join evaluated block by block, so that no more than MAX_JOINED elements stand in memory at once."""

    reads: Sequence[Read]
    out: Labels
    aggregated: Labels
    join: Expr
    agg: str
    sizes: Mapping[str, int]

    def value(self) -> Array:
        """The aggregate of all blocks, one dimension for each label of the output."""
        steps = typed_steps(self.join, [dtype_name(read.array.dtype) for read in self.reads])
        whole = [self.sizes[label] for label in self.out]
        if not self.aggregated:
            plain = np.empty(whole, numpy_dtype(steps[-1].dtype))
            for where in self._blocks(self.out):
                plain[self._place(where)] = self._joined(steps, where)
            return plain
        # A mean is a sum and a count: partial means do not combine.
        folded = "sum" if self.agg == "mean" else self.agg
        total = finish(folded, identity_states(folded, steps[-1].dtype, tuple(whole)))
        axes = tuple(range(len(self.out), len(self.out) + len(self.aggregated)))
        for where in self._blocks((*self.out, *self.aggregated)):
            part = reduce(folded, self._joined(steps, where), axes)
            place = self._place(where)
            before = lift(folded, np.asarray(total[place]))
            total[place] = finish(folded, combine(folded, before, lift(folded, part)))
        if self.agg == "mean":
            count = np.int64(prod(self.sizes[label] for label in self.aggregated))
            total = finish("mean", (total, np.asarray(count)))
        return total

    def _place(self, where: Block) -> tuple[slice, ...]:
        """Where the value of a block stands in the value of all."""
        return tuple(where[label] for label in self.out)

    def _blocks(self, order: Labels) -> Iterator[Block]:
        """Stretches of the labels whose elements, of all labels together, are at most MAX_JOINED."""
        widths = {label: self.sizes[label] for label in order}
        while prod(widths.values()) > MAX_JOINED:
            widest = max(order, key=lambda label: widths[label])
            others = prod(width for label, width in widths.items() if label != widest)
            widths[widest] = max(1, min(MAX_JOINED // others, widths[widest] - 1))
        starts = [range(0, self.sizes[label], max(1, widths[label])) for label in order]
        for corner in product(*starts):
            yield {
                label: slice(start, min(start + widths[label], self.sizes[label]))
                for label, start in zip(order, corner, strict=True)
            }

    def _joined(self, steps: Sequence[Step], where: Block) -> Array:
        """The join in one block, one dimension for each label: those of the output first."""
        order = (*self.out, *self.aggregated)
        shape = [where[label].stop - where[label].start for label in order]
        parts = []
        for read in self.reads:
            part = read.array[tuple(where[label] for label in read.labels)]
            parts.append(aligned(Read(part, read.labels), order))

        def index(label: str) -> Array:  # from the start of the label, not of the block
            held = np.arange(where[label].start, where[label].stop, dtype=np.int64)
            return aligned(Read(held, (label,)), order)

        return np.broadcast_to(run_steps(steps, parts, index, NUMPY), shape)
