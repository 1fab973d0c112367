"""Rows of a short Graph's plan -> rows of the deep one's: what layer T does, every layer that it stands for does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from einsplit.graph import Label, Node, node_labels, node_text
from einsplit.solver.layers.alike import renamed
from einsplit.solver.layers.deep import Deep
from einsplit.solver.layers.unroll import Unrolled
from einsplit.solver.plan.format import NodePlan
from einsplit.solver.program.unroll import Growth
from einsplit.solver.sharding import extent_classes, relabelled

_MARK = re.compile("\0([0-9]+)\0")  # no label has a NUL


def unrolled_digits(deep: Deep, axes: Mapping[Label, tuple[int, ...]]) -> dict[Label, tuple[int, ...]]:
    """By extent class of the deep graph, the axes that cut it, given those of the short graph's labels."""
    here = {theirs: mine for names in deep.short.names for mine, theirs in names.items()}
    classes = sorted(set(extent_classes(deep.short.deep).values()))
    found = {label: axes[label if label in axes else here[label]] for label in classes}
    return {label: of for label, of in found.items() if of}


def unrolled_rows(deep: Deep, rows: Sequence[NodePlan], growth: Sequence[Growth]) -> tuple[NodePlan, ...]:
    """One for each node of the deep graph, prepared; `growth`: of bytes held, each time that a node comes again."""
    unrolled = Unrolled(deep)
    make = [_Maker(unrolled, at, row, more) for at, (row, more) in enumerate(zip(rows, growth, strict=True))]
    every = zip(unrolled.stands, unrolled.copies, unrolled.reads, strict=True)
    return tuple([make[stands](copy, reads) for stands, copy, reads in every])


class _Maker:
    """Makes rows of what stands behind each other in the layers of the deep graph."""

    def __init__(self, unrolled: Unrolled, at: int, row: NodePlan, growth: Growth) -> None:
        deep = unrolled.deep
        self.short, self.row, self.growth = deep.short, row, growth
        origin, named = deep.prepared.origins[at], deep.prepared.named[at]
        self.is_repeated = deep.times[at] > 1
        # What is made behind all nodes has an output's name.
        self.named = None if origin == len(deep.short.kept) else unrolled.place(origin, named)
        self.suffix = row.name.removeprefix(deep.short.graph.nodes[named].name)
        self.does = _Text(deep.graph.nodes[at])
        self.labelled = any(isinstance(choice, str) for choice in (*row.cut, *(row.runner_up or ())))
        layer = int(deep.layer[at])
        self.others: Mapping[Label, Label] = {} if 0 <= layer < deep.short.layer else deep.short.behind
        # In some runs the last layer comes first.
        self.first = deep.short.repeats if self.is_repeated and deep.short.places.runs[deep.run[at]].step < 0 else 0

    def __call__(self, copy: int, reads: tuple[int, ...]) -> NodePlan:
        """The row of the layer so many behind T."""
        times = abs(copy - self.first)
        grown = self.growth.second + (times - 1) * self.growth.after if times else 0
        row, of = self.row, None if self.named is None else self.short.deep.nodes[self.named[0] + copy * self.named[1]]
        names = self.short.names[copy] if self.is_repeated else self.others
        return NodePlan(
            name=row.name if of is None else of.name + self.suffix,
            does=self.does.under(names),
            cut=relabelled(row.cut, names) if self.labelled else row.cut,
            seconds=row.seconds,
            bytes=row.bytes,
            runner_up=relabelled(row.runner_up, names) if self.labelled and row.runner_up else row.runner_up,
            runner_up_seconds=row.runner_up_seconds,
            reads=reads,
            live_bytes=row.live_bytes + grown,
            words=row.words,
            source=row.source if of is None else of.source,
        )


class _Text:
    """A node in the notation, to be written under other labels."""

    def __init__(self, node: Node) -> None:
        labels = node_labels(node)
        marked = renamed(node, {label: f"\0{k}\0" for k, label in enumerate(labels)})
        parts = _MARK.split(node_text(marked))
        self._texts = parts[::2]
        self._labels = [labels[int(k)] for k in parts[1::2]]

    def under(self, names: Mapping[Label, Label]) -> str:
        found = [self._texts[0]]
        for label, text in zip(self._labels, self._texts[1:], strict=True):
            found.append(names.get(label, label))
            found.append(text)
        return "".join(found)
