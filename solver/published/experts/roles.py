"""What an expert sees in a Graph: which extent classes are batch, sequence, heads, experts; what each node is for.

Nothing is known by name. In this order, and a class has one role:

batch      the slowest dimension of the first data input
sequence   where attention is: the dimensions that queries and keys lie on; a product of two factors on one dimension,
           `i d, j d -> i j` with i and j of one class, is attention too
heads      at attention, what both operands of a product have and its value keeps
experts    what keys choose a matrix by (`grouped` forms), and what stands in a weight, in an activation and in the
           product of both
residual   the width of the residual stream: the class that more matrices share than any other, if three or more do
tensor     every other class that parameters have and data inputs have not: heads, hidden units, vocabulary
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from einsplit.graph import Input, Kernel, Label, Node, factors
from einsplit.notation import flat
from einsplit.solver.pricing.forms import FormKind
from einsplit.solver.problem.memo import Memo
from einsplit.solver.sharding import Sum, cuttable_labels

LEAST_MATRICES = 3  # of a residual stream: what fewer share lies between two layers, and may be cut
MATRIX: tuple[FormKind, ...] = ("contract", "grouped", "kernel")  # forms whose operations are worth cutting

Classes = frozenset[Label]


@dataclass(frozen=True, slots=True)
class NodeRole:
    """What the nodes of one class that choose alike are for; labels are those of the first of them."""

    kind: FormKind
    input_role: str  # of an input, else empty
    classes: dict[Label, Label]  # of what may be cut
    sums: tuple[Sum, ...]
    of_parameters: bool  # made of parameters alone
    reads_parameters: bool  # an operand is
    is_optimizer_state: bool
    is_update: bool  # made of an optimizer's state
    is_attention: bool

    @property
    def is_matrix(self) -> bool:
        return self.kind in MATRIX


class Roles:
    """The roles of everything in the memo's Graph."""

    def __init__(self, memo: Memo) -> None:
        self.memo = memo
        self._nodes: tuple[Node, ...] = memo.graph.nodes

    @cached_property
    def batch(self) -> Label | None:
        """The class of the batch; None where nothing is fed, or a batch of one."""
        dims = next((node.dims for node in self._inputs("data") if node.dims), ((),))
        return self.memo.classes[dims[0][0]] if dims[0] else None

    @cached_property
    def sequence(self) -> Classes:
        met = {c for at in self._attention for c in self._positions(at)}
        return frozenset(met - {self.batch} or met)

    @cached_property
    def heads(self) -> Classes:
        met = {c for at in self._attention for c in self._shared(at)}
        return frozenset(met - self.sequence - {self.batch})

    @cached_property
    def experts(self) -> Classes:
        met: set[Label] = set()
        for at, (node, found) in enumerate(zip(self._nodes, self.memo.forms, strict=True)):
            if found.kind == "grouped":
                met |= {self.memo.classes[label] for label in found.chosen}
            elif found.kind == "contract" and len({self._made_of_parameters[o.node] for o in node.operands}) == 2 == 2:
                met |= self._shared(at)
        return frozenset(met - self.sequence - {self.batch})

    @cached_property
    def residual(self) -> Label | None:
        num_matrices: Counter[Label] = Counter()
        for node in self._inputs("parameter"):
            if len(flat(node.dims)) > 1:
                num_matrices.update({self.memo.classes[label] for label in flat(node.dims)})
        most = [*num_matrices.most_common(2), (None, 0), (None, 0)]
        (found, first), (_, second) = most[:2]
        return found if first >= LEAST_MATRICES and first > second else None

    @cached_property
    def tensor(self) -> Classes:
        fed = {self.memo.classes[label] for node in self._inputs("data") for label in flat(node.dims)}
        return frozenset(self.of_parameters - self.sequence - self.experts - fed - {self.batch, self.residual})

    @cached_property
    def every(self) -> tuple[NodeRole, ...]:
        """By class of nodes that choose alike."""
        return tuple(self._role(number, members[0]) for number, members in enumerate(self.memo.folding.members))

    @property
    def batches(self) -> Classes:
        """The batch, if there is one."""
        return frozenset() if self.batch is None else frozenset({self.batch})

    @property
    def streamed(self) -> Classes:
        """The sequence, where there is a residual stream of it."""
        return self.sequence if self.residual is not None else frozenset()

    @cached_property
    def multiplied(self) -> Classes:
        """What tensor parallelism cuts at products."""
        return frozenset(self.tensor & {c for role in self.every if role.is_matrix for c in role.classes.values()})

    @cached_property
    def of_states(self) -> Classes:
        """What an optimizer's state has."""
        return frozenset(self.memo.classes[label] for at in self.optimizer_states for label in factors(self._nodes[at]))

    @cached_property
    def of_parameters(self) -> Classes:
        """What parameters have."""
        return frozenset(self.memo.classes[label] for node in self._inputs("parameter") for label in flat(node.dims))

    @cached_property
    def optimizer_states(self) -> frozenset[int]:
        """State that the update of a parameter is made of."""
        graph = self.memo.graph
        needed = {value for state, value in graph.updates if _role_of(self._nodes[state]) == "parameter"}
        for at in range(len(self._nodes) - 1, -1, -1):
            if at in needed:
                needed.update(o.node for o in self._nodes[at].operands)
        return frozenset(at for at in needed if _role_of(self._nodes[at]) == "state")

    @cached_property
    def _made_of_parameters(self) -> tuple[bool, ...]:
        """By node, whether it is a parameter, or made of parameters alone."""
        found: list[bool] = []
        for node in self._nodes:
            made = bool(node.operands) and all(found[o.node] for o in node.operands)
            found.append(made or _role_of(node) == "parameter")
        return tuple(found)

    def _inputs(self, role: str) -> list[Input]:
        return [node for node in self._nodes if isinstance(node, Input) and node.role == role]

    @cached_property
    def _attention(self) -> tuple[int, ...]:
        """Products of queries and keys."""
        found = []
        for at, node in enumerate(self._nodes):
            is_kernel = isinstance(node, Kernel) and node.kernel.startswith("attention")
            if is_kernel or (self.memo.forms[at].kind == "contract" and self._twice(factors(node))):
                found.append(at)
        return tuple(found)

    def _twice(self, labels: tuple[Label, ...]) -> set[Label]:
        """Classes that two different labels are of."""
        met = Counter(self.memo.classes[label] for label in set(labels))
        return {c for c, number in met.items() if number > 1}

    def _positions(self, at: int) -> set[Label]:
        """The classes that the queries and the keys of a product lie on."""
        node = self._nodes[at]
        if isinstance(node, Kernel):  # b h i e, b g j e
            return {self.memo.classes[label] for dims in node.reads[:2] for label in dims[2]}
        return self._twice(factors(node))

    def _shared(self, at: int) -> set[Label]:
        """The classes of labels that both first operands of a product have, and its value."""
        node = self._nodes[at]
        both = set(node.operands[0].labels) & set(node.operands[1].labels) & set(factors(node))
        if isinstance(node, Kernel):  # of grouped queries, heads that keys lack are heads
            both = set(flat(node.reads[0][1:2]))
        return {self.memo.classes[label] for label in both}

    @cached_property
    def _updates(self) -> frozenset[int]:
        """Nodes made of an optimizer's state."""
        found = set(self.optimizer_states)
        for at, node in enumerate(self._nodes):
            if any(o.node in found for o in node.operands):
                found.add(at)
        return frozenset(found)

    def _role(self, number: int, at: int) -> NodeRole:
        node = self._nodes[at]
        classes = {label: self.memo.classes[label] for label in cuttable_labels(node)}
        positions = [label for label, c in classes.items() if c in self.sequence]
        return NodeRole(
            kind=self.memo.forms[at].kind,
            input_role=_role_of(node),
            classes=classes,
            sums=self.memo.sums_of_all[number],
            of_parameters=self._made_of_parameters[at],
            reads_parameters=any(self._made_of_parameters[o.node] for o in node.operands),
            is_optimizer_state=at in self.optimizer_states,
            is_update=at in self._updates,
            is_attention=len(positions) > 1 and bool(self.heads.intersection(classes.values())),
        )


def _role_of(node: Node) -> str:
    return node.role if isinstance(node, Input) else ""
