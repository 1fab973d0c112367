"""What an expert lets one mesh axis do at a node: the restriction that its name stands for.

A rule is given what the axis could do there: the labels that it may cut, and sums. It gives back some of them, or
nothing, which is whole; the cheapest plan of those is the expert's (`plans`). Where operations are worth cutting (a
product, a grouped product, a kernel), a rule leaves no choice: else the cheapest plan inside it might be that of
another expert.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from einsplit.graph import Label
from einsplit.solver.published.experts.roles import Classes, NodeRole, Roles
from einsplit.solver.sharding import Choice

Permitted = tuple[Choice, ...]
WHOLE: Permitted = (None,)


@dataclass(frozen=True, slots=True)
class At:
    """A node, and the labels that the axis could cut there."""

    roles: Roles
    role: NodeRole
    cuts: tuple[Label, ...]

    def of(self, classes: Iterable[Label | None]) -> Permitted:
        """Those labels of some classes."""
        wanted = set(classes)
        return tuple(label for label in self.cuts if self.role.classes[label] in wanted)

    def has(self, classes: Iterable[Label | None]) -> bool:
        """Whether the node has a label of some classes, that this axis may cut or not."""
        return not set(classes).isdisjoint(self.role.classes.values())

    def carried(self, *cut: Permitted) -> Permitted:
        """Whole, cut by some labels, or addends."""
        return (None, *(label for labels in cut for label in labels), *self.role.sums)


def data(at: At) -> Permitted:
    """The batch is cut wherever it stands; all else is whole, but for the addends of gradients."""
    if batch := at.of(at.roles.batches):
        return batch
    return WHOLE if at.role.input_role else at.carried()


def zero_1(at: At) -> Permitted:
    """Data parallel, each device updating its part of an optimizer's state and of the parameters.

    Gradients are scattered where an update reads them, and parameters gathered when they are updated: as many bytes as
    the all-reduce of data parallelism (Rajbhandari et al. 2020, arXiv 1910.02054, section 7).
    """
    is_reading = at.role.kind == "alias" and not at.role.of_parameters
    return _zero(at, cut=at.role.is_update or is_reading)


def zero_2(at: At) -> Permitted:
    """Likewise, and whatever else is made of gradients, such as their norm, is made of parts of them."""
    return _zero(at, cut=not at.role.of_parameters)


def zero_3(at: At) -> Permitted:
    """Likewise, and parameters rest in parts: they are gathered for use."""
    if at.role.input_role == "parameter":
        return at.cuts or WHOLE
    return _zero(at, cut=True)


def _zero(at: At, cut: bool) -> Permitted:
    if at.of(at.roles.batches):
        return data(at)
    if at.role.is_optimizer_state:
        return at.cuts or WHOLE
    if at.role.input_role:
        return WHOLE
    return at.carried(at.cuts) if cut else at.carried()


def tensor(at: At) -> Permitted:
    """Heads, hidden units and vocabulary are cut where they are multiplied (Shoeybi et al. 2019, arXiv 1909.08053)."""
    own = at.of(at.roles.tensor)
    return own if own and at.role.is_matrix else at.carried(own)


def tensor_or_sequence(at: At) -> Permitted:
    """Likewise, and the sequence may be cut where they are not multiplied."""
    own, positions = at.of(at.roles.tensor), at.of(at.roles.streamed)
    if at.role.input_role == "data" or (own and at.role.is_matrix):
        return own or WHOLE
    return at.carried(own, positions)


def tensor_sequence(at: At) -> Permitted:
    """Likewise, and what stands on the residual stream is cut by it (Korthikanti et al. 2022, arXiv 2205.05198)."""
    own, positions = at.of(at.roles.tensor), at.of(at.roles.streamed)
    is_between = at.role.kind == "join" and not own and at.has({at.roles.residual})
    return positions if positions and is_between else tensor_or_sequence(at)


def heads_for_sequence(at: At) -> Permitted:
    """The sequence is cut everywhere but at attention, where heads are (Jacobs et al. 2023, arXiv 2309.14509)."""
    positions, heads = at.of(at.roles.sequence), at.of(at.roles.heads)
    if at.role.is_attention:
        return heads or WHOLE
    if at.role.input_role:
        return (None, *positions) if at.role.input_role == "data" else WHOLE
    if positions and at.role.is_matrix:
        return positions
    return at.carried(positions, heads) if positions else at.carried()


def experts(at: At) -> Permitted:
    """Experts are cut, and the batch where there are none (Lepikhin et al. 2020, arXiv 2006.16668)."""
    own, batch = at.of(at.roles.experts), at.of(at.roles.batches)
    if not own:
        return data(at)
    if at.role.input_role or at.role.kind == "grouped" or (at.role.is_matrix and at.role.reads_parameters):
        return own
    return (*own, *batch) if at.role.is_matrix else at.carried(own, batch)


@dataclass(frozen=True, slots=True)
class Need:
    """Classes of which an axis must be able to cut one, and what to say where none can."""

    classes: Callable[[Roles], Classes]
    otherwise: str


@dataclass(frozen=True, slots=True)
class Rule:
    """What an axis that follows it may do; the classes it is `about` are given digits before others.

    If it `spreads`, the axis may also cut what parameters have, where that leaves room for a digit.
    """

    name: str
    permits: Callable[[At], Permitted]
    about: Callable[[Roles], Classes]
    needs: tuple[Need, ...]
    spreads: bool = False


_BATCH = Need(lambda roles: roles.batches, "it has no batch that a mesh axis could cut")
_STATES = Need(lambda roles: roles.of_states, "it has no optimizer state that a mesh axis could cut")
_PARAMETERS = Need(lambda roles: roles.of_parameters, "it has no parameters that a mesh axis could cut")
_TENSOR = Need(lambda roles: roles.multiplied, "its products have no heads, hidden units or the like to cut")
_STREAM = Need(lambda roles: roles.streamed, "it has no residual stream of a sequence that a mesh axis could cut")
_SEQUENCE = Need(lambda roles: roles.sequence, "it has no attention over a sequence that a mesh axis could cut")
_HEADS = Need(lambda roles: roles.heads, "its attention has no heads that a mesh axis could cut")
_EXPERTS = Need(lambda roles: roles.experts, "it has no experts that a mesh axis could cut")

DATA = Rule("data", data, _BATCH.classes, (_BATCH,))
ZERO_1 = Rule("ZeRO-1", zero_1, _BATCH.classes, (_BATCH, _STATES), spreads=True)
ZERO_2 = Rule("ZeRO-2", zero_2, _BATCH.classes, (_BATCH, _STATES), spreads=True)
ZERO_3 = Rule("ZeRO-3", zero_3, _BATCH.classes, (_BATCH, _PARAMETERS), spreads=True)
TENSOR = Rule("tensor", tensor, lambda roles: roles.tensor, (_TENSOR,))
EITHER = Rule("tensor", tensor_or_sequence, lambda roles: roles.tensor | roles.streamed, (_TENSOR,))
SEQUENCE = Rule("tensor and sequence", tensor_sequence, lambda roles: roles.tensor | roles.streamed, (_TENSOR, _STREAM))
ULYSSES = Rule("sequence", heads_for_sequence, lambda roles: roles.sequence | roles.heads, (_SEQUENCE, _HEADS))
EXPERTS = Rule("experts", experts, lambda roles: roles.experts | roles.batches, (_EXPERTS,))
