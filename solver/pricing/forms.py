"""What a node is to the devices: the fast kernel that carries it out, its operations, and the masks it needs.

The meaning of a node stays its sum; here its form is recognised, once, for price and Program alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Literal

from einsplit.dtypes import kind
from einsplit.graph import Einsum, Input, Kernel, Label, Node, aggregated_labels, factors, node_labels, zeroed_labels
from einsplit.scalar import Expr, is_product, num_operations, operand
from einsplit.solver.pricing.keyed import Key, is_zero, keyed
from einsplit.solver.sharding import DigitTables

FormKind = Literal["input", "alias", "contract", "lookup", "scatter", "grouped", "pick", "join", "kernel"]


@dataclass(frozen=True, slots=True)
class Form:
    """How a node is carried out.

    `contract`: a sum of products of two. `lookup`: operands read along some labels at the indices that keys give.
    `scatter`: values added at the indices that keys give. `grouped`: a matrix multiplication for each index of a
    label, of the rows whose key it is. `pick`: one index of a label. `join`: all others.
    """

    kind: FormKind
    label: Label = ""  # pick: the label picked along
    at: int = 0  # pick: the index
    keys: tuple[Key, ...] = ()  # lookup, scatter, grouped
    join: Expr | None = None  # lookup, scatter: the join of the operands and of whether the keys are met
    product: tuple[int, int] | None = None  # grouped: the operands that are multiplied
    dtype: str = ""  # kernel: of its first operand

    @property
    def chosen(self) -> tuple[Label, ...]:
        """The labels that have a key."""
        return tuple(key.label for key in self.keys)

    @property
    def key_labels(self) -> tuple[Label, ...]:
        """The labels that keys depend on."""
        return tuple(sorted({label for key in self.keys for label in key.labels}))


@dataclass(frozen=True, slots=True)
class _Summed:
    """An einsum that aggregates."""

    node: Einsum
    dtypes: Sequence[str]
    sizes: Mapping[Label, int]

    @property
    def alike(self) -> bool:
        """Small integers are multiplied in their own dtype and summed in int64: no fast kernel does that."""
        return all(dtype == self.node.dtype for dtype in self.dtypes)


def form(node: Node, dtypes: Sequence[str], sizes: Mapping[Label, int] = MappingProxyType({})) -> Form:
    """The form of a node whose operands have those dtypes; without sizes, keys of composite dimensions are none."""
    if isinstance(node, Input):
        return Form("input")
    if isinstance(node, Kernel):
        return Form("kernel", dtype=dtypes[0] if dtypes else "")
    summed = aggregated_labels(node)
    if not summed:
        is_alias = node.join == operand(0) and node.operands[0].labels == factors(node)
        return Form("alias") if is_alias else Form("join")
    found = (recognise(_Summed(node, dtypes, sizes)) for recognise in RECOGNISERS)
    return next((each for each in found if each is not None), Form("join"))


def _contract(of: _Summed) -> Form | None:
    """A product of two operands, every label of the value in one of them."""
    node = of.node
    distinct = all(len(set(o.labels)) == len(o.labels) for o in node.operands)
    read = {label for o in node.operands for label in o.labels}
    is_pair = len(node.operands) == 2 and set(is_product(node.join) or ()) == {0, 1} and set(factors(node)) <= read
    return Form("contract") if distinct and of.alike and node.agg == "sum" and is_pair else None


def _pick(of: _Summed) -> Form | None:
    """`where(index(label) == a number, x, 0)` summed over the label."""
    node, summed = of.node, aggregated_labels(of.node)
    if node.join.op != "where" or node.agg not in ("sum", "any") or len(node.operands) != 1 or len(summed) != 1:
        return None
    test, taken, other = node.join.args
    distinct = len(set(node.operands[0].labels)) == len(node.operands[0].labels)
    if test.op != "eq" or taken.op != "operand" or not is_zero(other) or not distinct:
        return None
    number, at = sorted(test.args, key=lambda side: side.op == "index")
    if at.op != "index" or at.name != summed[0] or number.op != "const" or not isinstance(number.value, int):
        return None
    return Form("pick", summed[0], number.value) if number.value >= 0 else None


def _keyed(of: _Summed) -> Form | None:
    """Where keys decide: a matrix multiplication is grouped by the key, all else is read or added where it says."""
    found = keyed(of.node, of.dtypes, of.sizes)
    if found is None:
        return None
    is_lookup = found.keys[0].label not in factors(of.node)
    plain = Form("lookup" if is_lookup else "scatter", keys=found.keys, join=found.join)
    is_grouped = found.product is not None and _is_grouped(of, plain, found.product)
    return Form("grouped", keys=found.keys, product=found.product) if is_grouped else plain


def _is_grouped(of: _Summed, plain: Form, product: tuple[int, int]) -> bool:
    """Whether the two operands of a product meet in a sum, and each has rows of its own for all keys or for none."""
    node, out, rows = of.node, set(factors(of.node)), set(plain.key_labels)
    (chosen, *others), held = plain.chosen, [set(node.operands[k].labels) for k in product]
    if others or node.agg != "sum" or kind(node.dtype) != "float" or {of.dtypes[k] for k in product} != {node.dtype}:
        return False
    if not rows or rows & out not in (set(), rows) or any(labels & rows not in (set(), rows) for labels in held):
        return False
    every = {*node_labels(node)} - {chosen}
    contracted = set(aggregated_labels(node)) - rows - {chosen}
    meet = contracted <= held[0] & held[1] if contracted else not rows & out
    # An operand that has every label already is multiplied element by element: no matrix is repeated for its rows.
    is_matrix = not any(every <= labels for labels in held) and any(rows <= labels for labels in held)
    return meet and is_matrix and out <= held[0] | held[1] | rows | {chosen}


# In this order: a product is a matrix multiplication before anything else.
RECOGNISERS: tuple[Callable[[_Summed], Form | None], ...] = (_contract, _pick, _keyed)


def operations(node: Node, found: Form, local: Mapping[Label, int], tables: DigitTables) -> int:
    """Scalar operations of one device; `local` gives the elements it holds along each label.

    A kernel is charged one for each element that it reads or writes, and its own operations in the share that its free
    labels are cut to. Of what is grouped, each index of the label is taken to have as many rows as any other: the
    devices that cut it share the work.
    """
    if found.kind in ("input", "alias"):
        return 0
    if found.kind == "pick":
        return prod(local[label] for label in factors(node))
    if isinstance(node, Kernel):
        moved = sum(prod(local[label] for label in row) for row in (factors(node), *(o.labels for o in node.operands)))
        return moved + share(node.operations, node, local, tables)
    assert isinstance(node, Einsum)
    every = prod(local[label] for label in node_labels(node) if label not in found.chosen)
    keys = sum(num_operations(key.expr) * prod(local[label] for label in key.labels) for key in found.keys)
    if found.kind == "grouped":
        (label,) = found.chosen
        return keys + 2 * every * local[label] // max(1, tables[label].padded)
    if found.kind == "contract":
        return 2 * every
    if found.join is not None:
        adds = found.kind == "lookup" and set(aggregated_labels(node)) > set(found.chosen)
        return keys + every * (num_operations(found.join) + adds)
    return every * (num_operations(node.join) + bool(aggregated_labels(node)))


def share(num_operations: int, node: Kernel, local: Mapping[Label, int], tables: DigitTables) -> int:
    """What one device does of a kernel's operations, padding included."""
    free = [label for label in node_labels(node) if label not in node.brackets]
    return num_operations * prod(local[label] for label in free) // max(1, prod(tables[label].size for label in free))


def read_labels(node: Node, found: Form, number: int) -> tuple[Label, ...] | None:
    """The labels of what is read of an operand, where that is not all of it: as many elements as keys ask for."""
    labels = node.operands[number].labels
    if found.kind == "pick":
        return factors(node)
    if found.join is None or not set(labels) & set(found.chosen):
        return None
    rest = [label for label in labels if label not in found.chosen]
    return tuple(dict.fromkeys((*rest, *found.key_labels)))


def masked_operands(node: Node, found: Form, tables: DigitTables) -> tuple[int, ...]:
    """Operands whose padding must be made the identity first: those of a kernel that sums over padding."""
    if found.kind not in ("contract", "kernel", "grouped"):
        return ()
    led = {*found.chosen, *found.key_labels}  # padding has no key, and is no key
    summed = {label for label in zeroed_labels(node) if tables[label].is_padded} - led
    return tuple(k for k, o in enumerate(node.operands) if summed & set(o.labels))
