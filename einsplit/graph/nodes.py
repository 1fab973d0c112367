"""The three kinds of node, and what stands in each: labels, readings, an expression in the notation."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import msgspec

from einsplit.notation.dims import Dims, Label, dims_text, flat
from einsplit.scalar import Expr, to_text

Role = Literal["data", "parameter", "state", "constant"]


class Operand(msgspec.Struct, frozen=True, gc=False):
    """A reading of an earlier node's value."""

    node: int
    labels: tuple[Label, ...]  # one per factor of that value, in the value's order


class Input(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A tensor that comes from outside."""

    name: str
    dims: Dims
    dtype: str
    role: Role = "data"
    source: str = ""

    @property
    def operands(self) -> tuple[Operand, ...]:
        return ()


class Einsum(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`value[dims] = AGG over the labels not in dims of JOIN(operands, label indices)`."""

    name: str
    operands: tuple[Operand, ...]
    dims: Dims
    join: Expr
    agg: str
    dtype: str
    source: str = ""


class Kernel(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A registered kernel. It sees operand k as a tensor of dimensions `reads[k]`.

    Labels in `brackets` are whole, of true size and in original order wherever the kernel runs. The other labels may
    be cut. One that the result lacks is in `summed`: devices that cut it hold partial results, which combine by `agg`,
    and its padding is zeros.

    Nodes that differ in `output` alone, and in what belongs to it, are results of one call: where they are cut alike,
    the kernel runs once. What other results sum is in `zeroed`: its padding is zeros for all of them.
    """

    name: str
    kernel: str
    attributes: str  # a canonical JSON object
    operands: tuple[Operand, ...]
    reads: tuple[Dims, ...]
    dims: Dims
    brackets: tuple[Label, ...]
    dtype: str
    output: int = 0  # which of the kernel's results this node is
    summed: tuple[Label, ...] = ()
    agg: str = "sum"
    zeroed: tuple[Label, ...] = ()
    operations: int = 0  # scalar operations of the whole kernel, besides reading and writing each element
    shared: int = 0  # of them, those that are done already where the call gives another result as well
    source: str = ""


Node = Input | Einsum | Kernel


def factors(node: Node) -> tuple[Label, ...]:
    """The labels of the node's value, flattened."""
    return flat(node.dims)


def node_labels(node: Node) -> tuple[Label, ...]:
    """Every label of the node, once: those of its value first, then those that it aggregates or needs whole."""
    presented = node.reads if isinstance(node, Kernel) else ()
    return _labels(node.dims, tuple(operand.labels for operand in node.operands), presented)


@lru_cache(maxsize=2**16)
def _labels(dims: Dims, read: tuple[tuple[Label, ...], ...], presented: tuple[Dims, ...]) -> tuple[Label, ...]:
    return tuple(dict.fromkeys((*flat(dims), *flat(read), *(label for part in presented for label in flat(part)))))


def zeroed_labels(node: Node) -> tuple[Label, ...]:
    """The labels along which a kernel's operands need zeros for padding."""
    return tuple(dict.fromkeys((*node.summed, *node.zeroed))) if isinstance(node, Kernel) else aggregated_labels(node)


def aggregated_labels(node: Node) -> tuple[Label, ...]:
    """The labels over which partial results of the node combine."""
    if isinstance(node, Einsum):
        out = set(factors(node))
        return tuple(label for label in node_labels(node) if label not in out)
    if isinstance(node, Kernel):
        return node.summed
    return ()


def node_text(node: Node) -> str:
    """The node's own expression in the notation."""
    if isinstance(node, Input):
        return f"{node.role} {dims_text(node.dims)}"
    if isinstance(node, Kernel):
        read = ", ".join(_bracketed(dims, node.brackets) for dims in node.reads)
        summed = f"; {node.agg} {' '.join(node.summed)}" if node.summed else ""
        return f"{node.kernel}: {read} -> {_bracketed(node.dims, node.brackets)}{summed}"
    read = ", ".join(" ".join(operand.labels) for operand in node.operands)
    agg = f", {node.agg}" if aggregated_labels(node) else ""
    return f"{read} -> {dims_text(node.dims)}, {to_text(node.join)}{agg}"


def _bracketed(dims: Dims, brackets: tuple[Label, ...]) -> str:
    """`b s [k]`."""
    parts = [dims_text((dim,)) for dim in dims]
    return " ".join(f"[{t}]" if set(dim) & set(brackets) else t for t, dim in zip(parts, dims, strict=True))
