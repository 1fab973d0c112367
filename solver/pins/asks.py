"""What pins ask of single nodes: at each node and mesh axis, which of the choices that it has a pin permits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from einsplit.errors import PlanError, Span, did_you_mean
from einsplit.graph import node_labels
from einsplit.notation.dims import dims_text
from einsplit.solver.pins.names import axes_named, labels_named, matches, nodes_named
from einsplit.solver.pins.text import WHOLE, KeptPin, LabelPin, LayoutPin, NodePin, Pin, Word
from einsplit.solver.problem.memo import Memo
from einsplit.solver.sharding import Choice, Sum, choice_text

MANY = 12  # choices that an error lists
ANY_SUM = "sum"


@dataclass(frozen=True, slots=True)
class Ask:
    """A pin permits these choices at a node on a mesh axis; `said` is what it asks for, in words."""

    pin: Pin
    node: int
    axis: int
    permitted: tuple[Choice, ...]
    said: str


def asks_of(memo: Memo, pins: Sequence[Pin]) -> Iterator[Ask]:
    """What the pins ask, one node and axis after the other.

    Raises PlanError for a pin that matches nothing, and for a choice that a node does not have.
    """
    for pin in pins:
        match pin:
            case NodePin():
                yield from _of_node(memo, pin)
            case LabelPin():
                yield from _of_label(memo, pin)
            case LayoutPin():
                yield from _of_layout(memo, pin)
            case KeptPin():
                yield from _of_kept(memo, pin)
            case _:
                assert_never(pin)


def every_choice(memo: Memo, node: int) -> tuple[Choice, ...]:
    """What an axis may do at a node under some digit table, in a Problem's order."""
    return (None, *memo.labels[node], *memo.sums[node])


def _of_node(memo: Memo, pin: NodePin) -> Iterator[Ask]:
    nodes = nodes_named(memo.graph, pin.text, pin.name)
    for part in pin.parts:
        axes = axes_named(memo.machine, pin.text, part.axes)
        for node in nodes:
            permitted = _permitted(memo, pin, node, part.does)
            yield from (Ask(pin, node, axis, permitted, part.does.text) for axis in axes)


def _permitted(memo: Memo, pin: NodePin, node: int, does: Word) -> tuple[Choice, ...]:
    """The choices of a node that the word names. Raises PlanError where it has none of them."""
    every = every_choice(memo, node)
    tests: tuple[Callable[[Choice], bool], ...] = (
        lambda choice: choice_text(choice) == does.text,
        lambda choice: isinstance(choice, Sum) and does.text == ANY_SUM,
        lambda choice: isinstance(choice, str) and matches(does.text, choice),
    )
    found = next((rows for test in tests if (rows := tuple(filter(test, every)))), ())
    if not found:
        whole = set(node_labels(memo.graph.nodes[node])) - set(memo.labels[node])
        why = " needs it whole" if does.text in whole else f" cannot be {does.text}"
        raise _impossible(memo, node, f"{_node_text(memo, node)}{why}.", does.text, pin.text, does.span)
    return found


def _impossible(memo: Memo, node: int, mistake: str, word: str, text: str, span: Span) -> PlanError:
    known = [choice_text(choice) for choice in every_choice(memo, node)]
    listed = f"It can be {', '.join(known[:MANY])}{', ...' if len(known) > MANY else ''}."
    return PlanError(mistake, f"{listed} {did_you_mean(word, known)}".rstrip()).at(text, span)


def _of_label(memo: Memo, pin: LabelPin) -> Iterator[Ask]:
    labels = labels_named(memo.graph, pin.text, pin.label)
    nodes = [node for node, own in enumerate(memo.labels) if labels.intersection(own)]
    for part in pin.parts:
        axes = axes_named(memo.machine, pin.text, part.axes)
        never = part.does.text == WHOLE
        if not (nodes or never):
            mistake = f"label {pin.label.text!r} is cut nowhere: every kernel that has it needs it whole."
            raise PlanError(mistake).at(pin.text, pin.label.span)
        said = f"{pin.label.text} uncut" if never else pin.label.text
        for node in nodes:
            permitted = tuple(choice for choice in every_choice(memo, node) if (choice in labels) != never)
            yield from (Ask(pin, node, axis, permitted, said) for axis in axes)


def _of_layout(memo: Memo, pin: LayoutPin) -> Iterator[Ask]:
    cutting = [axes_named(memo.machine, pin.text, dim.axes) if dim.axes else () for dim in pin.dims]
    named = [axis for axes in cutting for axis in axes]
    for axis in named:
        if named.count(axis) > 1:
            first, second = (dim for dim, axes in zip(pin.dims, cutting, strict=True) if axis in axes)
            mistake = f"mesh axis {memo.machine.axes[axis].name!r} cuts one dimension of a tensor, and stands at two."
            raise PlanError(mistake).at(pin.text, (first.span[0], second.span[1]))
    for node in nodes_named(memo.graph, pin.text, pin.name, outputs=True):
        dims = memo.graph.nodes[node].dims
        if len(dims) != len(pin.dims):
            mistake = f"{_node_text(memo, node)} has {len(dims)} dimensions, and {len(pin.dims)} are pinned."
            raise PlanError(mistake, f"It is {dims_text(dims) or 'one number'}.").at(pin.text, _dims_span(pin))
        free = [label for dim, labels in zip(pin.dims, dims, strict=True) if dim.free for label in labels]
        for axis in range(len(memo.machine.axes)):
            at = next((k for k, axes in enumerate(cutting) if axis in axes), None)
            wanted = [None, *free] if at is None else list(dims[at])
            permitted = tuple(choice for choice in every_choice(memo, node) if choice in wanted)
            if not permitted:
                assert at is not None
                shown = f"dimension {at + 1} ({dims_text((dims[at],))}) of {_node_text(memo, node)}"
                raise _impossible(memo, node, f"{shown} cannot be cut.", "", pin.text, pin.dims[at].span)
            said = "whole" if at is None else f"dimension {at + 1} cut"
            yield from (Ask(pin, node, axis, permitted, said),)


def _dims_span(pin: LayoutPin) -> Span:
    return (pin.dims[0].span[0], pin.dims[-1].span[1]) if pin.dims else (len(pin.text), len(pin.text))


def _of_kept(memo: Memo, pin: KeptPin) -> Iterator[Ask]:
    """A node of this graph that the other plan has too keeps its cut on every axis that both machines have."""
    names, own = [axis.name for axis in pin.plan.machine.axes], [axis.name for axis in memo.machine.axes]
    if missing := [name for name in names if name not in own]:
        mistake = f"{pin.text}: the plan cuts by mesh axis {missing[0]!r}, which machine {memo.machine.name!r} lacks."
        raise PlanError(mistake, f"Its mesh axes are {', '.join(own) or 'none'}.")
    matched = False
    for node, row in _paired(memo, pin):
        matched = True
        every = every_choice(memo, node)
        for name, choice in zip(names, row, strict=True):
            if choice not in every:
                mistake = f"{_node_text(memo, node)} cannot be {choice_text(choice)}, as it is in the plan."
                raise _impossible(memo, node, mistake, choice_text(choice), pin.text, (0, len(pin.text)))
            yield Ask(pin, node, own.index(name), (choice,), choice_text(choice))
    if not matched:
        raise PlanError(f"{pin.text}: no node of the plan is one of this graph and matches {pin.pattern!r}")


def _paired(memo: Memo, pin: KeptPin) -> Iterator[tuple[int, tuple[Choice, ...]]]:
    """Nodes that the pattern matches, with their cuts in the other plan: nodes of one name in the order they have."""
    theirs: dict[str, list[tuple[Choice, ...]]] = {}
    ours: dict[str, list[int]] = {}
    for row in pin.plan.nodes:
        theirs.setdefault(row.name, []).append(row.cut)
    for at, node in enumerate(memo.graph.nodes):
        if matches(pin.pattern, node.name):
            ours.setdefault(node.name, []).append(at)
    for name, nodes in ours.items():
        cuts = theirs.get(name, [])
        if cuts and len(cuts) != len(nodes):
            raise PlanError(f"{pin.text}: {len(cuts)} nodes of the plan are called {name!r}, and {len(nodes)} here")
        yield from zip(nodes, cuts, strict=False)


def _node_text(memo: Memo, node: int) -> str:
    return f"node {memo.graph.nodes[node].name!r}"
