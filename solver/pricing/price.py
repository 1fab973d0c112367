"""Seconds and bytes of a node, of an edge, of a whole plan.

    pass(bytes)      = launch + bytes / memory_bytes_per_second
    seconds(node)    = launch + max(operations / rate, bytes / memory_bytes_per_second)
                       + sum over its masks of pass(local bytes)
    seconds(move)    = pass(local bytes)  [+ rounds * latency + bytes sent / bytes_per_second]
    seconds(edge)    = sum over its moves
    seconds(plan)    = sum over nodes + sum over edges

The rate is `flops_per_second`, or that of a matrix multiplication (`pricing.rates`). Compute plus communication:
overlap is not priced. Every instruction of the Program is priced exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from einsplit.dtypes import ITEMSIZE
from einsplit.graph import Label, Node, factors, node_labels
from einsplit.solver.machine import Machine
from einsplit.solver.pricing.collectives import collective_bytes, collective_rounds
from einsplit.solver.pricing.forms import Form, masked_operands, operations, read_labels
from einsplit.solver.pricing.rates import operations_per_second
from einsplit.solver.pricing.repartition import Move, repartition
from einsplit.solver.sharding import DigitTables, Layout, Shape, Sharding


@dataclass(frozen=True, slots=True)
class Price:
    """Seconds of one device, and the bytes it sends."""

    seconds: float = 0.0
    bytes_sent: int = 0

    def __add__(self, other: Price) -> Price:
        return Price(self.seconds + other.seconds, self.bytes_sent + other.bytes_sent)

    def __mul__(self, times: int) -> Price:
        return Price(self.seconds * times, self.bytes_sent * times)


def pass_seconds(nbytes: int, machine: Machine) -> float:
    """One pass over local memory that reads and writes `nbytes` in all."""
    return machine.launch_seconds + nbytes / machine.memory_bytes_per_second


def compute_seconds(num_operations: int, per_second: float, nbytes: int, machine: Machine) -> float:
    """Roofline of one kernel: Williams, Waterman, Patterson 2009. `per_second`: how many of its operations."""
    return machine.launch_seconds + max(num_operations / per_second, nbytes / machine.memory_bytes_per_second)


def move_price(move: Move, shape: Shape, machine: Machine) -> Price:
    """One move of a repartition. Packing and unpacking are a pass each over what goes and what comes."""
    after = shape.elements(move.after)
    if move.kind == "slice" or move.kind == "zero":
        return Price(pass_seconds(2 * after * shape.itemsize, machine))
    before = shape.elements(move.before)
    sizes = [machine.axes[axis].size for axis in move.axes]
    sent = collective_bytes(move.kind, before, shape.itemsize, sizes)
    link = machine.axes[move.axes[0]]
    wire = collective_rounds(move.kind, before, sizes) * link.latency_seconds + sent / link.bytes_per_second
    return Price(pass_seconds(2 * (before + after) * shape.itemsize, machine) + wire, sent)


def edge_price(source: Layout, target: Layout, agg: str, shape: Shape, machine: Machine) -> Price:
    """Everything between a producer's value and a reader's operand."""
    moves = [move_price(move, shape, machine) for move in repartition(source, target, agg, machine.tiers)]
    return moves[0] if len(moves) == 1 else sum(moves, Price())


def cut_axes(sharding: Sharding, label: Label) -> tuple[int, ...]:
    """The axes that cut a label of the node."""
    return tuple(axis for axis, choice in enumerate(sharding) if choice == label)


def node_seconds(
    node: Node, found: Form, sharding: Sharding, shapes: tuple[Shape, ...], tables: DigitTables, machine: Machine
) -> float:
    """Seconds of the node itself on one device; `shapes` are those of its operands' values."""
    if found.kind in ("input", "alias"):
        return 0.0
    local = {label: tables[label].local(cut_axes(sharding, label)) for label in node_labels(node)}
    written = prod(local[label] for label in factors(node)) * ITEMSIZE[node.dtype]
    read = [prod(held_elements(node, k, sharding, tables)) * shape.itemsize for k, shape in enumerate(shapes)]
    masks = sum(pass_seconds(2 * read[k], machine) for k in masked_operands(node, found, tables))
    for k, shape in enumerate(shapes):
        taken = read_labels(node, found, k)
        if taken is not None:
            read[k] = prod(local[label] for label in taken) * shape.itemsize
    rate = operations_per_second(node, found, local, tables, machine)
    return compute_seconds(operations(node, found, local, tables), rate, sum(read) + written, machine) + masks


def held_elements(node: Node, number: int, sharding: Sharding, tables: DigitTables) -> tuple[int, ...]:
    """Elements of operand `number` along each factor; a label that stands twice is cut at its first position only."""
    labels = node.operands[number].labels
    return tuple(
        tables[label].local(cut_axes(sharding, label) if labels.index(label) == position else ())
        for position, label in enumerate(labels)
    )
