"""Graph -> Graph: what it was, and the gradient of one output by some inputs, in the same nodes' own terms.

The rule (design: gradients are einsums). For `Z = AGG f(X1 ... Xn)` with the adjoint of f made of dZ by the
aggregation's own rule, the adjoint of Xi is one extended einsum over the same labels:

    dXi[labels of Xi] = sum over the other labels of (adjoint of f) * df/dxi

A label that stands twice in Xi gets a fresh one and a delta. Adjoints of a value with several readers add.
Source: arXiv 2306.00088 (auto-differentiation of relational computations).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod

from einsplit.autodiff.aggregations import seed
from einsplit.autodiff.kernels import kernel_adjoints
from einsplit.draft import Draft, Origin
from einsplit.dtypes import kind
from einsplit.errors import GradientError, did_you_mean
from einsplit.graph import Einsum, Graph, Input, Kernel, Operand, factors
from einsplit.passes import spell_attention
from einsplit.scalar import Expr, adjoints, cast, const, operand


def gradient_name(of: str, wrt: str) -> str:
    """The name of the output that holds the gradient: `d(loss)/d(weight)`."""
    return f"d({of})/d({wrt})"


def grad(graph: Graph, of: str, wrt: Sequence[str]) -> Graph:
    """`graph` with one more output for each name in `wrt`: the gradient of output `of` by that input, of its shape.

    The names are those of `gradient_name`. An input that `of` does not depend on has the gradient 0. Since the result
    is a Graph, it can be differentiated again: where there are gradients of attention already, attention is spelled out
    in einsums first. Raises GradientError where `of` is not one real number, or a name is
    unknown or of no real numbers.
    """
    graph = spell_attention(graph)
    root = _root(graph, of)
    known = graph.inputs  # made anew whenever it is asked for
    inputs = [_input(graph, known, name) for name in wrt]
    draft = Draft(graph.nodes, graph.sizes)
    pass_ = _Backward(draft, _dependent(graph, inputs))
    one = cast(const(1.0), graph.nodes[root].dtype)
    pass_.add(root, draft.einsum((), graph.nodes[root].dims, one, "sum", Origin(f"{of}.grad")))
    for at in range(root, -1, -1):
        pass_.visit(at)
    found = [(gradient_name(of, name), pass_.total(at)) for name, at in zip(wrt, inputs, strict=True)]
    return draft.built((*graph.outputs, *found), graph.updates)


def _root(graph: Graph, of: str) -> int:
    outputs = dict(graph.outputs)
    if of not in outputs:
        advice = did_you_mean(of, outputs) or f"Outputs: {', '.join(outputs) or 'none'}."
        raise GradientError(f"the graph has no output {of!r}.", advice)
    at = outputs[of]
    if prod(graph.shape(at)) != 1:
        raise GradientError(f"output {of!r} has shape {graph.shape(at)}, and one number is differentiated.", "Sum it.")
    if kind(graph.nodes[at].dtype) != "float":
        raise GradientError(f"output {of!r} is {graph.nodes[at].dtype}.", "Real numbers have gradients: cast it.")
    return at


def _input(graph: Graph, known: Mapping[str, int], name: str) -> int:
    if name not in known:
        advice = did_you_mean(name, known) or f"Inputs: {', '.join(known) or 'none'}."
        raise GradientError(f"the graph has no input {name!r}.", advice)
    at = known[name]
    if kind(graph.nodes[at].dtype) != "float":
        raise GradientError(f"input {name!r} is {graph.nodes[at].dtype}.", "Only real numbers have gradients.")
    return at


def _dependent(graph: Graph, inputs: Iterable[int]) -> set[int]:
    """The nodes of real or complex numbers that are computed from the inputs."""
    found = set(inputs)
    for at, node in enumerate(graph.nodes):
        if any(row.node in found for row in node.operands) and kind(node.dtype) in ("float", "complex"):
            found.add(at)
    return found


class _Backward:
    """Adjoints so far, from the last node to the first."""

    def __init__(self, draft: Draft, dependent: set[int]) -> None:
        self.draft = draft
        self.dependent = dependent
        self.pending: dict[int, list[int]] = {}  # by node: values that add up to its adjoint

    def add(self, at: int, adjoint: int) -> None:
        self.pending.setdefault(at, []).append(adjoint)

    def total(self, at: int) -> int:
        """Position of the node's whole adjoint."""
        node, found = self.draft.nodes[at], self.pending.get(at, [])
        origin = Origin(f"{node.name}.grad", node.source)
        if not found:
            return self.draft.einsum((), node.dims, cast(const(0.0), node.dtype), "sum", origin)
        if len(found) > 1:
            join: Expr = operand(0)
            for k in range(1, len(found)):
                join = join + operand(k)
            rows = [Operand(each, factors(node)) for each in found]
            self.pending[at] = [self.draft.einsum(rows, node.dims, join, "sum", origin)]
        return self.pending[at][0]

    def visit(self, at: int) -> None:
        """Hand the node's adjoint on to its operands."""
        node = self.draft.nodes[at]
        if at not in self.pending or at not in self.dependent or isinstance(node, Input):
            return
        adjoint = self.total(at)
        wanted = [k for k, row in enumerate(node.operands) if row.node in self.dependent]
        if isinstance(node, Kernel):
            for k, found in kernel_adjoints(self.draft, at, adjoint, wanted):
                self.add(node.operands[k].node, found)
        else:
            self._einsum(at, node, adjoint, wanted)

    def _einsum(self, at: int, node: Einsum, adjoint: int, wanted: Sequence[int]) -> None:
        of_join = seed(self.draft, at, node, adjoint)
        if of_join is None:
            return
        dtypes = [self.draft.nodes[row.node].dtype for row in node.operands]
        rows = [*node.operands, *(Operand(value, factors(node)) for value in of_join.values)]
        try:
            found = adjoints(node.join, dtypes, of_join.expr, wanted)
        except GradientError as error:
            raise GradientError(f"{node.name}: {error.mistake}", *error.remarks, node.source) from None
        for k, expr in found.items():
            adjoint = self.draft.adjoint(rows, node.operands[k], expr, Origin(f"{node.name}.grad", node.source))
            self.add(node.operands[k].node, adjoint)
