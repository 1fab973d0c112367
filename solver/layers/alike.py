"""Whether blocks of a Graph are alike: nodes compute the same, but for the names of their labels, and read alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from einsplit.graph import Dims, Einsum, Input, Kernel, Label, Node, Operand
from einsplit.notation.dims import flat
from einsplit.scalar import index, labels_of, substitute


class Names:
    """The labels of one block as another has them, found while their nodes are compared one by one."""

    def __init__(self, sizes: Mapping[Label, int]) -> None:
        self._sizes = sizes
        self.of: dict[Label, Label] = {}
        self._back: dict[Label, Label] = {}
        self._met: set[tuple[tuple[Label, ...], tuple[Label, ...]]] = set()

    def alike(self, node: Node, other: Node) -> bool:
        """Whether the other node is this one, under labels that agree with those of the nodes before."""
        return _rest(node) == _rest(other) and self._renamed(node, other) and self._joined(node, other)

    def _renamed(self, node: Node, other: Node) -> bool:
        for mine, theirs in zip(_labels(node), _labels(other), strict=True):
            if (mine, theirs) in self._met:
                continue
            if len(mine) != len(theirs):
                return False
            self._met.add((mine, theirs))
            for a, b in zip(mine, theirs, strict=True):
                if self.of.setdefault(a, b) != b or self._back.setdefault(b, a) != a:
                    return False
                if self._sizes[a] != self._sizes[b]:
                    return False
        return True

    def _joined(self, node: Node, other: Node) -> bool:
        if not isinstance(node, Einsum) or not isinstance(other, Einsum):
            return True
        labels = labels_of(node.join)
        if all(self.of.get(label) == label for label in labels):
            return node.join == other.join
        here = {label: index(self.of.get(label, label)) for label in labels}
        return substitute(node.join, {}, here) == other.join


def _rest(node: Node) -> tuple[object, ...]:
    """All of a node but its name, its source, where its operands come from, and its labels."""
    lengths = tuple([len(dim) for dim in node.dims])
    if isinstance(node, Input):
        return ("input", node.role, node.dtype, lengths)
    if isinstance(node, Einsum):
        return ("einsum", node.agg, node.dtype, lengths, len(node.operands))
    reads = tuple([tuple([len(dim) for dim in dims]) for dims in node.reads])
    what = (node.kernel, node.attributes, node.output, node.agg, node.operations, node.shared)
    return ("kernel", what, node.dtype, lengths, len(node.operands), reads)


def _labels(node: Node) -> Iterator[tuple[Label, ...]]:
    yield flat(node.dims)
    for operand in node.operands:
        yield operand.labels
    if isinstance(node, Kernel):
        for dims in node.reads:
            yield flat(dims)
        yield from (node.brackets, node.summed, node.zeroed)


def renamed(node: Node, names: Mapping[Label, Label]) -> Node:
    """The node under other labels."""

    def dims(row: Dims) -> Dims:
        return tuple(tuple(names[label] for label in dim) for dim in row)

    def flat_labels(labels: tuple[Label, ...]) -> tuple[Label, ...]:
        return tuple(names[label] for label in labels)

    if isinstance(node, Input):
        return replace(node, dims=dims(node.dims))
    operands = tuple(Operand(row.node, flat_labels(row.labels)) for row in node.operands)
    if isinstance(node, Einsum):
        join = substitute(node.join, {}, {label: index(names[label]) for label in labels_of(node.join)})
        return replace(node, operands=operands, dims=dims(node.dims), join=join)
    rows = {key: flat_labels(getattr(node, key)) for key in ("brackets", "summed", "zeroed")}
    return replace(node, operands=operands, dims=dims(node.dims), reads=tuple(map(dims, node.reads)), **rows)
