"""Graph -> Understood: for every kind of operator its work, the labels that can cut it, and why others cannot.

Work is counted as it is priced: of the nodes that are planned, on whole values. A further result of a kernel's call
adds what it does not share, and is written (`einsplit.solver.pricing.calls`). Inputs and views do none and have no
row. A parameter's bytes count once, at the one of its readers that can be cut by the fewest labels: where they weigh.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from einsplit.dtypes import ITEMSIZE
from einsplit.graph import Graph, Input, Kernel, Label, Node, factors, node_text
from einsplit.report.why import why_whole
from einsplit.solver.plan.explain import kind_of
from einsplit.solver.prepare import prepare
from einsplit.solver.pricing.calls import own_operations, pairs
from einsplit.solver.pricing.forms import Form, form, operations, read_labels
from einsplit.solver.sharding import Digits, DigitTables, cuttable_labels

ENOUGH = 2  # labels that can cut a node, for it to follow meshes of several axes

Sized = tuple[tuple[Label, int], ...]  # labels with their sizes, 1 left out


@dataclass(frozen=True, slots=True)
class Row:
    """Nodes alike but for the layer they stand in; counts of all of them together, the labels and line of one.

    `why` is empty where some label can cut the node.
    """

    kind: str
    nodes: int
    operations: int
    bytes: int  # of the values read and written
    parameter_bytes: int  # of the parameters that are read here
    labels: Sized  # that can cut it
    whole: Sized  # that must be whole
    why: str
    source: str  # file:line of the user's call


@dataclass(frozen=True, slots=True)
class Understood:
    """All rows, most operations first; `num_nodes` counts those too that have no row."""

    num_nodes: int
    rows: tuple[Row, ...]

    @property
    def operations(self) -> int:
        return sum(row.operations for row in self.rows)

    @property
    def bytes(self) -> int:
        return sum(row.bytes for row in self.rows)

    @property
    def parameter_bytes(self) -> int:
        return sum(row.parameter_bytes for row in self.rows)


def understood(graph: Graph) -> Understood:
    """What can be cut of a graph, by kind of operator."""
    prepared = prepare(graph)
    nodes = prepared.nodes
    forms = [form(node, [nodes[o.node].dtype for o in node.operands], prepared.sizes) for node in nodes]
    held = _parameter_bytes(prepared, forms)
    tables = {label: Digits(size) for label, size in prepared.sizes.items()}
    further = {pair.further for pair in pairs(prepared)}
    groups: dict[tuple[object, ...], list[Row]] = {}
    for at, (node, found) in enumerate(zip(nodes, forms, strict=True)):
        if _is_work(found) or held.get(at):
            row = Row(
                kind=node_kind(node),
                nodes=1,
                operations=_num_operations(prepared, node, found, tables, at in further),
                bytes=_num_bytes(prepared, node, found, at in further),
                parameter_bytes=held.get(at, 0),
                labels=_sized(cuttable_labels(node), prepared.sizes),
                whole=_sized(node.brackets, prepared.sizes) if isinstance(node, Kernel) else (),
                why=why_whole(node, prepared.sizes),
                source=node.source,
            )
            # Of a kernel that runs whole the sizes do not matter: its results may have different ones.
            sizes = [] if row.why else [tuple(sorted(size for _, size in part)) for part in (row.labels, row.whole)]
            groups.setdefault((row.kind, row.why, *sizes), []).append(row)
    rows = [_together(group) for group in groups.values()]
    return Understood(
        num_nodes=len(graph.nodes),
        rows=tuple(sorted(rows, key=lambda row: (-row.operations, -row.bytes, -row.parameter_bytes))),
    )


def share_cuttable(graph: Graph) -> tuple[float, float]:
    """The shares of operations and of parameter bytes in nodes that can be cut by two labels or more; 1 of nothing."""
    found = understood(graph)
    free = [row for row in found.rows if len(row.labels) >= ENOUGH]
    return (
        _share(sum(row.operations for row in free), found.operations),
        _share(sum(row.parameter_bytes for row in free), found.parameter_bytes),
    )


def node_kind(node: Node) -> str:
    """The node's name without numbers of layers; of an einsum that has no name of its own, its expression."""
    if re.fullmatch(r"einsum(_\d+)?(\..*)?", node.name):
        return node_text(node)
    return kind_of(kind_of(node.name))  # twice: `topk_1_2` is the second result of the second topk


def _share(part: int, total: int) -> float:
    return part / total if total else 1.0


def _is_work(found: Form) -> bool:
    return found.kind not in ("input", "alias")


def _parameter_bytes(graph: Graph, forms: Sequence[Form]) -> dict[int, int]:
    """By position of a node, the bytes of the parameters that count there; one that nobody reads counts at itself."""
    nodes = graph.nodes
    behind = list(range(len(nodes)))  # the node whose value this one is, seen through views
    freest: dict[int, tuple[int, int]] = {}  # by parameter: the fewest labels among its readers, and that reader
    for at, (node, found) in enumerate(zip(nodes, forms, strict=True)):
        if found.kind == "alias":
            behind[at] = behind[node.operands[0].node]
            continue
        count = len(_sized(cuttable_labels(node), graph.sizes))
        for operand in node.operands:
            read = behind[operand.node]
            freest[read] = min(freest.get(read, (count, at)), (count, at))
    found_at: dict[int, int] = {}
    for at, node in enumerate(nodes):
        if isinstance(node, Input) and node.role == "parameter":
            seat = freest[at][1] if at in freest else at
            nbytes = _num_elements(graph, factors(node)) * ITEMSIZE[node.dtype]
            found_at[seat] = found_at.get(seat, 0) + nbytes
    return found_at


def _num_operations(graph: Graph, node: Node, found: Form, tables: DigitTables, is_further: bool) -> int:
    """Scalar operations of the node, or, of a further result, those that it adds to the call."""
    if is_further:
        assert isinstance(node, Kernel)
        return own_operations(node, (), tables)
    return operations(node, found, graph.sizes, tables)


def _num_bytes(graph: Graph, node: Node, found: Form, is_further: bool) -> int:
    """Bytes of the values that the node reads and writes; of a table it reads the rows that it takes.

    A further result is written: what it is made of, the call has read.
    """
    if not _is_work(found):
        return 0
    total = _num_elements(graph, factors(node)) * ITEMSIZE[node.dtype]
    if is_further:
        return total
    for number, operand in enumerate(node.operands):
        labels = read_labels(node, found, number)
        read = _num_elements(graph, operand.labels if labels is None else labels)
        total += read * ITEMSIZE[graph.nodes[operand.node].dtype]
    return total


def _num_elements(graph: Graph, labels: Sequence[Label]) -> int:
    return prod(graph.sizes[label] for label in labels)


def _sized(labels: Sequence[Label], sizes: Mapping[Label, int]) -> Sized:
    return tuple((label, sizes[label]) for label in labels if sizes[label] > 1)


def _together(rows: Sequence[Row]) -> Row:
    """One row of several that are alike."""
    first = rows[0]
    # Not those of the first: a backward pass begins with the last layer, and kinds are to be named by the same layer.
    named = min(rows, key=lambda row: (row.labels, row.whole))
    return Row(
        kind=first.kind,
        nodes=sum(row.nodes for row in rows),
        operations=sum(row.operations for row in rows),
        bytes=sum(row.bytes for row in rows),
        parameter_bytes=sum(row.parameter_bytes for row in rows),
        labels=named.labels,
        whole=named.whole,
        why=first.why,
        source=first.source,
    )
