"""What the nodes of a plan move, beside what each must move by itself. Every collective counts at one node, once.

An edge's reductions (reduce-scatter, all-reduce) count at the node that made the partial results. All else that an edge
moves (all-gather, all-to-all) counts at its reader. A use node, an identity, is no operation: what is moved to it
counts at the first node that reads it, and where none does (an output), at the node that made the value; so does what
is moved to a state at rest. The words of a plan's nodes sum to the words of its edges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product

from einsplit.graph import Einsum, Graph, Label, factors, node_labels
from einsplit.solver.bounds.einsum import Faces, faces_lower_bound, faces_of
from einsplit.solver.bounds.grid import best_integer_grid
from einsplit.solver.pricing.collectives import collective_bytes
from einsplit.solver.pricing.forms import FormKind
from einsplit.solver.pricing.repartition import Move, repartition
from einsplit.solver.problem.fold import Folding, unfolded
from einsplit.solver.problem.memo import Edge
from einsplit.solver.problem.problem import Problem
from einsplit.solver.sharding import Sharding, aggregation

CAVEATS = (
    "Bounds are of operations on their own, with operands and result stored once, evenly. A parameter that rests "
    "replicated is outside this setting, and a node that reads one may move less than its bound.",
    "A producer may leave its value where the reader wants it, and a gather that several readers share counts at the "
    "first of them: sums over a plan compare it with isolated operations, and are never called optimal.",
    "Bounds count scalars moved by boxes of real sizes: there need be no box of whole numbers that attains one.",
)
# Forms whose work is one evaluation of the join for every tuple of the node's labels.
BOUNDED: frozenset[FormKind] = frozenset({"contract", "join"})
REDUCTIONS = frozenset({"reduce_scatter", "all_reduce"})
MAX_READINGS = 64  # ways to pick one reading of each value; a join with more has a bound over the first of them


@dataclass(frozen=True, slots=True)
class NodeWords:
    """Words that each device sends for a node; the least that some device must, and those of the best grid.

    The last two are None where the node's labels do not describe its work (inputs, identities, lookups, kernels); the
    last one too where there are too many grids to try.
    """

    moved_words: int
    bound_words: float | None
    grid_words: float | None


def node_words(problem: Problem, shardings: Sequence[Sharding], at: int) -> NodeWords:
    """The words of one node of a plan; of all of them, `plan_words` finds them in one pass."""
    return plan_words(problem, shardings)[at]


def plan_words(
    problem: Problem, shardings: Sequence[Sharding], folding: Folding | None = None
) -> tuple[NodeWords, ...]:
    """The words of every node of a plan; of a `folding` whose classes are cut alike, found once for each of them."""
    folding = folding or unfolded(problem.graph)
    made_by = _made_by(problem)
    moved = _moved_words(problem, shardings, folding.variable, made_by)
    bounds = _Bounds(problem, folding.variable, made_by)
    return tuple(NodeWords(moved[at], *bounds.of(at)) for at in range(len(moved)))


def _moved_words(
    problem: Problem, shardings: Sequence[Sharding], variable: Sequence[int], made_by: Sequence[int]
) -> list[int]:
    first_reader = _first_readers(problem)
    moved = [0] * len(problem.graph.nodes)
    known: dict[tuple[int, int, int, int], tuple[int, int]] = {}
    for edge in problem.edges:
        key = (variable[edge.writer], variable[edge.reader], edge.number, problem.moved(edge.writer))
        if key not in known:
            known[key] = _edge_words(problem, edge, shardings)
        reduced, brought = known[key]
        maker = made_by[edge.writer]
        reader: int | None = edge.reader if edge.number >= 0 else None
        if reader is not None and made_by[reader] != reader:
            reader = first_reader.get(reader)
        for at, words in ((maker, reduced), (maker if reader is None else reader, brought)):
            moved[at] += problem.memo.count(at, edge) * words
    return moved


def _edge_words(problem: Problem, edge: Edge, shardings: Sequence[Sharding]) -> tuple[int, int]:
    """Words that each device sends along an edge: those of reductions, all others."""
    found = [(move.kind in REDUCTIONS, _words(problem, edge, move)) for move in _moves(problem, edge, shardings)]
    reduced = sum(words for reduces, words in found if reduces)
    return reduced, sum(words for _, words in found) - reduced


def _moves(problem: Problem, edge: Edge, shardings: Sequence[Sharding]) -> tuple[Move, ...]:
    left = problem.left(edge.writer, shardings[edge.writer])
    wanted = problem.wanted(edge, shardings[edge.reader])
    return repartition(left, wanted, aggregation(problem.graph.nodes[edge.writer]), problem.machine.tiers)


def _words(problem: Problem, edge: Edge, move: Move) -> int:
    """Words that each device sends: bytes, where a scalar has one."""
    if move.kind == "slice" or move.kind == "zero":
        return 0
    sizes = [problem.machine.axes[axis].size for axis in move.axes]
    return collective_bytes(move.kind, problem.shape(edge.writer).elements(move.before), 1, sizes)


def _made_by(problem: Problem) -> list[int]:
    """By node, itself; of an identity, the node whose value it hands on."""
    found: list[int] = []
    for at, node in enumerate(problem.graph.nodes):
        is_identity = problem.memo.forms[at].kind == "alias"
        found.append(found[node.operands[0].node] if is_identity else at)
    return found


def _first_readers(problem: Problem) -> dict[int, int]:
    """Of every identity that an operation reads, or another such identity, the first operation."""
    found: dict[int, int] = {}
    identities = {at for at, form in enumerate(problem.memo.forms) if form.kind == "alias"}
    for at in reversed(range(len(problem.graph.nodes))):
        first = found.get(at) if at in identities else at
        for operand in problem.graph.nodes[at].operands:
            if operand.node in identities and first is not None:
                found[operand.node] = min(first, found.get(operand.node, first))
    return found


class _Bounds:
    """Bound and best grid of nodes; of nodes alike found once."""

    def __init__(self, problem: Problem, variable: Sequence[int], made_by: Sequence[int]) -> None:
        self._graph: Graph = problem.graph
        self._variable = variable
        self._made_by = made_by
        self._forms = problem.memo.forms
        self._num_devices = problem.machine.num_devices
        self._of_classes: dict[object, tuple[float | None, float | None]] = {}
        self._grids: dict[object, float | None] = {}
        self._bounds: dict[Faces, float] = {}

    def of(self, at: int) -> tuple[float | None, float | None]:
        node = self._graph.nodes[at]
        if not isinstance(node, Einsum) or self._forms[at].kind not in BOUNDED:
            return None, None
        # Nodes of one class compute the same, but one may read a value twice where another reads two.
        made_by = [self._made_by[operand.node] for operand in node.operands]
        key = (self._variable[at], *map(made_by.index, made_by))
        if key not in self._of_classes:
            self._of_classes[key] = self._found(node, made_by)
        return self._of_classes[key]

    def _found(self, node: Einsum, made_by: Sequence[int]) -> tuple[float, float | None]:
        number = {label: k for k, label in enumerate(node_labels(node))}
        sizes = {str(k): self._graph.sizes[label] for label, k in number.items()}
        result = frozenset(str(number[label]) for label in factors(node))
        readings: dict[int, dict[frozenset[Label], None]] = {}  # by value: one that is read twice alike is read once
        for maker, operand in zip(made_by, node.operands, strict=True):
            term = frozenset(str(number[label]) for label in operand.labels)
            readings.setdefault(maker, {})[term] = None
        values = [tuple(terms) for terms in readings.values()]
        every = [*(term for terms in values for term in terms), result]
        key = (tuple(sizes.items()), frozenset(Counter(every).items()))
        if key not in self._grids:
            grid = best_integer_grid(every, sizes, self._num_devices)
            self._grids[key] = None if grid is None else grid.words
        return self._bound(values, result, sizes), self._grids[key]

    def _bound(
        self, values: Sequence[Sequence[frozenset[Label]]], result: frozenset[Label], sizes: Mapping[Label, int]
    ) -> float:
        """A value read under two names may give one element to both: either reading alone must be met."""
        if 0 in sizes.values():
            return 0.0
        found = 0.0
        for terms in islice(product(*values), MAX_READINGS):
            faces = faces_of([*terms, result], sizes)
            if faces not in self._bounds:
                self._bounds[faces] = faces_lower_bound(faces, self._num_devices)
            found = max(found, self._bounds[faces])
        return found
