"""What a node is to the devices: the fast kernel that carries it out, its operations, and the masks it needs.

The meaning of a node stays its sum; here its form is recognised, once, for price and Program alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from einsplit.graph import Einsum, Input, Kernel, Label, Node, aggregated_labels, factors, node_labels
from einsplit.scalar import Expr, is_product, num_operations, operand
from einsplit.solver.sharding import DigitTables

FormKind = Literal["input", "alias", "contract", "lookup", "pick", "join", "kernel"]


@dataclass(frozen=True, slots=True)
class Form:
    """`contract`: a sum of products of two. `lookup`: rows of a table. `pick`: one index of a label. `join`: others."""

    kind: FormKind
    label: Label = ""  # the label looked up or picked along
    at: int = 0  # the index picked


def form(node: Node, dtypes: Sequence[str]) -> Form:
    """The form of a node whose operands have those dtypes."""
    if isinstance(node, Input):
        return Form("input")
    if isinstance(node, Kernel):
        return Form("kernel")
    summed = aggregated_labels(node)
    if not summed and node.join == operand(0) and node.operands[0].labels == factors(node):
        return Form("alias")
    distinct = all(len(set(o.labels)) == len(o.labels) for o in node.operands)
    # Small integers are multiplied in their own dtype and summed in int64: no fast kernel does that.
    alike = all(dtype == node.dtype for dtype in dtypes)
    if summed and node.agg == "sum" and distinct and alike and _is_contraction(node):
        return Form("contract")
    if len(summed) == 1 and distinct:
        return _chosen(node, summed[0]) or Form("join")
    return Form("join")


def _is_contraction(node: Einsum) -> bool:
    """Whether it is a product of two operands, and every label of the value stands in one of them."""
    read = {label for o in node.operands for label in o.labels}
    return len(node.operands) == 2 and set(is_product(node.join) or ()) == {0, 1} and set(factors(node)) <= read


def _chosen(node: Einsum, label: Label) -> Form | None:
    """`where(k == index(label), x, 0)` summed over the label: a pick for a number k, a lookup for an operand k."""
    join = node.join
    if join.op != "where" or node.agg not in ("sum", "any") or not _is_zero(join.args[2]):
        return None
    test, taken, _ = join.args
    if test.op != "eq" or taken.op != "operand":
        return None
    left, right = test.args
    if right.op != "index":
        left, right = right, left
    if right.op != "index" or right.name != label:
        return None
    if left.op == "const" and len(node.operands) == 1 and isinstance(left.value, int) and left.value >= 0:
        return Form("pick", label, left.value)
    if left.op == "operand" and taken != left and len(node.operands) == 2 and left.value == 0:
        ids, table = node.operands
        rest = [entry for entry in table.labels if entry != label]
        if label in table.labels and label not in ids.labels and factors(node) == (*ids.labels, *rest):
            return Form("lookup", label)
    return None


def _is_zero(expr: Expr) -> bool:
    if expr.op == "cast":
        return _is_zero(expr.args[0])
    return expr.op == "const" and expr.value == 0


def operations(node: Node, found: Form, local: Mapping[Label, int], tables: DigitTables) -> int:
    """Scalar operations of one device; `local` gives the elements it holds along each label.

    A kernel is charged one for each element that it reads or writes, and its own operations in the share that its free
    labels are cut to.
    """
    written = prod(local[label] for label in factors(node))
    if found.kind in ("input", "alias"):
        return 0
    if found.kind in ("lookup", "pick"):
        return written
    if isinstance(node, Kernel):
        moved = written + sum(prod(local[label] for label in row.labels) for row in node.operands)
        free = [label for label in node_labels(node) if label not in node.brackets]
        whole = max(1, prod(tables[label].padded for label in free))
        return moved + node.operations * prod(local[label] for label in free) // whole
    every = prod(local[label] for label in node_labels(node))
    assert isinstance(node, Einsum)
    if found.kind == "contract":
        return 2 * every
    return every * (num_operations(node.join) + bool(aggregated_labels(node)))


def masked_operands(node: Node, found: Form, tables: DigitTables) -> tuple[int, ...]:
    """Operands whose padding must be made the identity first: those of a kernel that sums over padding."""
    if found.kind not in ("contract", "kernel"):
        return ()
    summed = [label for label in aggregated_labels(node) if tables[label].is_padded]
    return tuple(k for k, o in enumerate(node.operands) if any(label in o.labels for label in summed))
