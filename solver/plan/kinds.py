"""Which nodes of a plan are the same but for the layer they stand in: names, cuts and kinds of work."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from einsplit.monoid import MONOIDS
from einsplit.solver.sharding import Choice, Sum

if TYPE_CHECKING:
    from einsplit.graph import Label
    from einsplit.solver.plan.format import NodePlan

__all__ = ["Cut", "cut_kind", "kind_of", "label_family", "node_title", "total_seconds", "uncounted", "work_of"]

Cut = tuple[str | tuple[int, ...] | tuple[str, int] | None, ...]  # one entry per mesh axis, alike in all layers

_LABEL = re.compile(r"[\w']+")
_NAMELESS = re.compile(r"einsum(_\d+)?(\..*)?", re.DOTALL)
_KERNEL = re.compile(r"[\w.]+: ")
_PRODUCTS = ("x * y, sum", "y * x, sum")


def node_title(node: NodePlan) -> str:
    """The node's name; of an einsum that has none of its own, its expression."""
    return node.does if _NAMELESS.fullmatch(node.name) else node.name


def kind_of(name: str) -> str:
    """`model.layers.3.mlp.gate_proj.linear_12` -> `model.layers.*.mlp.gate_proj.linear`."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", uncounted(name))


def uncounted(name: str) -> str:
    """`layers.3.mlp.linear_12.grad` -> `layers.3.mlp.linear.grad`: the count depends on all that comes before."""
    return re.sub(r"_\d+(?=$|\.)", "", name)


def work_of(does: str) -> str:
    """The kind of work that a node's expression is: `sums of products`."""
    read, arrow, written = does.rpartition("->")
    if not arrow:
        return "values at rest"
    if _KERNEL.match(read):
        return "kernels"
    formula = written.partition(", ")[2]
    if formula in _PRODUCTS:
        return "sums of products"
    if formula.rpartition(", ")[2] in MONOIDS:
        return "other aggregations"
    return "copies and moves" if formula == "x" else "pointwise"


def total_seconds(nodes: Iterable[NodePlan]) -> float:
    """Of all of them together; finite, for each is."""
    return min(sum(node.seconds for node in nodes), sys.float_info.max)


def cut_kind(node: NodePlan) -> Cut:
    """The node's cut without the numbers of its labels: equal for the same label of every layer.

    `h_3` beside `h_4` is the first of `h` at its node, and `h_4` the second, in every layer of a chain.
    """
    labels = {choice for choice in node.cut if isinstance(choice, str)}
    stems = {label: _stem(label) for label in labels}
    beside: dict[str, set[int]] = {}
    if labels:
        for word in set(_LABEL.findall(node.does)) | labels:
            stem, number = _stem(word)
            beside.setdefault(stem, set()).add(number)

    def entry(choice: Choice) -> str | tuple[int, ...] | tuple[str, int] | None:
        if isinstance(choice, Sum):
            return choice.carriers
        if choice is None:
            return None
        stem, number = stems[choice]
        return stem, sorted(beside[stem]).index(number)

    return tuple(map(entry, node.cut))


def label_family(nodes: Sequence[NodePlan]) -> Mapping[Label, str]:
    """What to call each label that cuts a node: without its number, where no two labels of a node are then alike."""
    labels = {choice for node in nodes for choice in node.cut if isinstance(choice, str)}
    apart: set[str] = set()  # stems of labels that stand together
    for does in {node.does for node in nodes}:
        seen: set[str] = set()
        for label in labels.intersection(_LABEL.findall(does)):
            stem = _stem(label)[0]
            if stem in seen:
                apart.add(stem)
            seen.add(stem)
    return {label: label if _stem(label)[0] in apart else _stem(label)[0] for label in sorted(labels)}


def _stem(label: Label) -> tuple[str, int]:
    """`h_3` is number 3 of `h`; a label without a number comes before all that have one."""
    stem, _, number = label.rpartition("_")
    return (stem, int(number)) if stem and number.isascii() and number.isdigit() and len(number) < 10 else (label, -1)
