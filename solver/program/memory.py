"""Bytes that a device holds while it runs a Program. Program -> bytes; the executor counts the same, to the byte.

    held(i)  = sum over buffers that stand when instruction i begins of bytes(buffer)
               + the most that instruction i takes beside them, its outputs included
    peak     = max over instructions i, and the end of the step, of held(i)
    bytes(buffer)    = prod(shape on one device, padding included) * itemsize

A buffer stands from the instruction that writes it to its Free; parameters, states and feeds from before the step. All
devices hold the same: blocks are padded to one size.

**The law, node by node.** Edges are moves; a use node and any other node whose value is its operand as it stands
(`Form("alias")`) writes nothing and takes nothing: its readers read the operand's buffer.

- A node's output stands from its Compute to the last instruction that reads it: a Compute, a mask, or the first move
  of an edge. Outputs and the new values of updates stand to the end of the step.
- Every move of an edge writes one buffer; it stands to the next move of that edge, the last one's to the last reader.
  Readers share no move: each operand has its own, made right before the reader's masks and Compute. Operands of one
  node are moved in their order, so what is moved for an earlier one stands while a later one is.
- A mask is one more buffer of the operand's size, made after all moves of the node and gone after its Compute.
- Further results of a call stand from the call's Compute.
- A parameter stands always. A state that is updated stands to its last reader, its new value from when it is made; a
  feed stands from the step's beginning to its last reader. A value that no instruction reads goes at once.
- What moves a new value to its state's layout stands after all nodes.
- At the end an update whose value is another resting value's buffer as well is copied.

An instruction takes beside its source, with S and O the bytes of source and output, n the devices of the group, P = S
if the pieces must be packed (the source's digits stand in another order) and else 0, q the bytes of one of the n pieces
of S, the last one padded, and Q = n q if that one is padded and else 0:

    slice, zero, mask                 O
    all_to_all, reduce_scatter        P + (n - 1) S / n + O
    all_gather                        (n - 1) S + O
    all_reduce, by gather             (n - 1) S + O
    all_reduce, in pieces             max(Q + n q, n q + O)
    compute                           outputs, and what its kernel holds and declares: see `workspace`

For tables of choices no Program is needed: `Mover` on lists of one's own gives an edge's buffers and instructions,
`lower.compute_alone` a node's Compute, and `taken_bytes` and `compute_bytes` what those take.

What torch's own functions take inside (matrix products, convolutions, sorting, fused attention), what one expression
makes and drops, what a message needs on the wire and what an allocator keeps are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from types import MappingProxyType

from einsplit.dtypes import ITEMSIZE
from einsplit.solver.pricing.collectives import CollectiveKind, piece_elements, reduces_by_gather
from einsplit.solver.program.instructions import Buffer, Collective, Compute, Free, Instruction, Program
from einsplit.solver.program.workspace import compute_bytes

__all__ = [
    "buffer_bytes",
    "collective_taken",
    "held_by_node",
    "held_bytes",
    "is_packed",
    "peak_bytes",
    "taken_bytes",
    "workspace_bytes",
]


def peak_bytes(program: Program) -> int:
    """Bytes that a device holds at most in one step."""
    return max(held_bytes(program))


def held_bytes(program: Program) -> tuple[int, ...]:
    """Bytes held while each instruction runs, at most; last, at the end of the step."""
    standing = standing_bytes(program)
    taken = [taken_bytes(instruction, program.buffers, program.sizes) for instruction in program.instructions]
    at_end = standing[-1] + sum(copied_updates(program))
    return (*(now + more for now, more in zip(standing[:-1], taken, strict=True)), at_end)


def standing_bytes(program: Program) -> list[int]:
    """Bytes of the buffers that stand when each instruction begins; last, at the end of the step."""
    standing = {port.buffer: buffer_bytes(program.buffers[port.buffer]) for port in program.inputs}
    now = sum(standing.values())
    found = [now]
    for instruction in program.instructions:
        for buffer in written(instruction):
            standing[buffer] = buffer_bytes(program.buffers[buffer])
            now += standing[buffer]
        if isinstance(instruction, Free):
            now -= standing.pop(instruction.buffer)
        found.append(now)
    return found


def held_by_node(program: Program, held: Sequence[int], num_nodes: int) -> tuple[int, ...]:
    """By node of the Graph, the bytes held while it runs, what moves its operands included; `held_bytes` given.

    A node that has no instruction holds what the one before it did.
    """
    found, most, done = [0] * num_nodes, held[0], -1
    for at, instruction in enumerate(program.instructions):
        most = max(most, held[at])
        if isinstance(instruction, Compute):
            for node in range(done + 1, instruction.node + 1):
                found[node] = most if node == instruction.node else held[max(0, at - 1)]
            done, most = instruction.node, 0
    for node in range(done + 1, num_nodes):
        found[node] = held[-1]
    return tuple(found)


def workspace_bytes(instruction: Instruction, program: Program) -> int:
    """Bytes that an instruction takes at most beside the buffers that it reads and writes."""
    taken = taken_bytes(instruction, program.buffers, program.sizes)
    return taken - sum(buffer_bytes(program.buffers[k]) for k in written(instruction))


def taken_bytes(instruction: Instruction, buffers: Sequence[Buffer], mesh: Sequence[int]) -> int:
    """Bytes that an instruction takes at most beside what stands before it, outputs included."""
    if isinstance(instruction, Free):
        return 0
    if isinstance(instruction, Compute):
        return compute_bytes(instruction, [buffers[k].dtype for k in instruction.operands])
    if not isinstance(instruction, Collective):
        return buffer_bytes(buffers[instruction.output])
    source = buffers[instruction.source]
    packed = is_packed(instruction.before_shape, instruction.before_order)
    sizes = [mesh[axis] for axis in instruction.axes]
    return collective_taken(instruction.kind, prod(source.shape), ITEMSIZE[source.dtype], sizes, packed)


def buffer_bytes(buffer: Buffer) -> int:
    """Bytes of one device's block."""
    return prod(buffer.shape) * ITEMSIZE[buffer.dtype]


def written(instruction: Instruction) -> tuple[int, ...]:
    """The buffers that an instruction makes."""
    if isinstance(instruction, Free):
        return ()
    return instruction.outputs if isinstance(instruction, Compute) else (instruction.output,)


def copied_updates(program: Program) -> Iterator[int]:
    """By update, the bytes of the new value where it is another resting value's buffer too: it is copied; else 0."""
    updated = {name for name, _ in program.updates}
    taken = {port.buffer for port in program.inputs if port.name in program.parameters and port.name not in updated}
    for _, buffer in program.updates:
        yield buffer_bytes(program.buffers[buffer]) if buffer in taken else 0
        taken.add(buffer)


def is_packed(shape: Sequence[int], order: Sequence[int]) -> bool:
    """Whether a contiguous tensor of that shape lies otherwise when its dimensions stand in that order."""
    moved = [k for k in order if shape[k] > 1]
    return moved != sorted(moved)


def collective_taken(kind: CollectiveKind, elements: int, itemsize: int, sizes: Sequence[int], packed: bool) -> int:
    """Bytes that a collective takes at most beside its source of so many elements, its output included."""
    return itemsize * _TAKEN[kind](elements, sizes, elements if packed else 0)


def _exchange(elements: int, sizes: Sequence[int], packed: int) -> int:
    return packed + elements - elements // prod(sizes)


def _scattered(elements: int, sizes: Sequence[int], packed: int) -> int:
    return _exchange(elements, sizes, packed) + elements // prod(sizes)


def _swapped(elements: int, sizes: Sequence[int], packed: int) -> int:
    return _exchange(elements, sizes, packed) + elements


def _gathered(elements: int, sizes: Sequence[int], packed: int) -> int:
    return (prod(sizes) - 1) * elements + prod(sizes) * elements


def _reduced(elements: int, sizes: Sequence[int], packed: int) -> int:
    if reduces_by_gather(elements, sizes):
        return prod(sizes) * elements
    pieces = prod(sizes) * piece_elements(elements, sizes)
    return pieces + max(pieces if pieces != elements else 0, elements)


# (elements of the source, sizes of the group's axes, elements that are packed) -> elements that stand at once
_TAKEN: MappingProxyType[CollectiveKind, Callable[[int, Sequence[int], int], int]] = MappingProxyType(
    {
        "reduce_scatter": _scattered,
        "all_to_all": _swapped,
        "all_gather": _gathered,
        "all_reduce": _reduced,
    }
)
