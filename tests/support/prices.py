"""The price of a Program from its instructions alone: what stands in them, and the price's formulas.

No sharding, table or layout is looked at, so that a step which is priced but not done, or done but not priced, shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import ceil, prod

from einsplit.scalar import num_operations, parse_join
from einsplit.solver.machine import Machine
from einsplit.solver.program import Collective, Compute, Free, Instruction, Program

ITEMSIZE = {"bool": 1, "float64": 8, "int64": 8, "float32": 4, "int32": 4}


def program_seconds(program: Program, machine: Machine) -> float:
    return sum(instruction_seconds(program, machine, step) for step in program.instructions)


def program_bytes(program: Program) -> int:
    """Bytes that each device sends."""
    return sum(sent(program, step)[0] for step in program.instructions if isinstance(step, Collective))


def instruction_seconds(program: Program, machine: Machine, step: Instruction) -> float:

    def nbytes(number: int) -> int:
        return _elements(program, number) * ITEMSIZE[program.buffers[number].dtype]

    def a_pass(touched: int) -> float:
        return machine.launch_seconds + touched / machine.memory_bytes_per_second

    if isinstance(step, Free):
        return 0.0
    if isinstance(step, Compute):
        touched = list(_touched(program, step, nbytes(step.output)))
        assert step.operations == _operations(program, step)
        memory = sum(touched) / machine.memory_bytes_per_second
        seconds = machine.launch_seconds + max(step.operations / machine.flops_per_second, memory)
        for row in step.results[1:]:  # further results of the call: their own operations, and writing them
            seconds += max(
                row.operations / machine.flops_per_second, nbytes(row.buffer) / machine.memory_bytes_per_second
            )
        return seconds
    if not isinstance(step, Collective):
        return a_pass(2 * nbytes(step.output))  # read what is kept, write it
    payload, rounds = sent(program, step)
    link = machine.axes[step.axes[0]]
    packing = 2 * (nbytes(step.source) + nbytes(step.output))
    return a_pass(packing) + rounds * link.latency_seconds + payload / link.bytes_per_second


def _elements(program: Program, number: int) -> int:
    return prod(program.buffers[number].shape)


def _touched(program: Program, step: Compute, written: int) -> Iterator[int]:
    """Bytes of each operand and of the result; of a picked row, or what is read at keys, only what is taken."""
    led = {label for key in step.keys for label in key.labels}
    for number, buffer in enumerate(step.operands):
        size = ITEMSIZE[program.buffers[buffer].dtype]
        labels = set(step.reads[number])
        if step.kind == "pick":
            yield prod(step.extents[label].local for label in step.writes) * size
        elif step.kind in ("lookup", "scatter") and labels & set(step.chosen):
            yield prod(step.extents[label].local for label in labels - set(step.chosen) | led) * size
        else:
            yield _elements(program, buffer) * size
    yield written


def _operations(program: Program, step: Compute) -> int:
    local = [extent.local for extent in step.extents]
    if step.kind == "pick":
        return prod(local[label] for label in step.writes)
    if step.kind == "contract":
        return 2 * prod(local)
    if step.kind == "kernel":  # an operation for each element read and written; most of these programs do no more
        moved = sum(_elements(program, buffer) for buffer in (*step.operands, step.output))
        return moved + (_of_attention(step) if step.kernel.startswith("attention") else 0)
    every = prod(local[label] for label in range(len(local)) if label not in step.chosen)
    keys = 0
    for key in step.keys:
        expr = parse_join(key.expr, len(step.operands), step.names)
        keys += num_operations(expr) * prod(local[label] for label in key.labels)
    if step.kind == "grouped":  # as many rows for each index of the label as for any other
        (label,) = step.chosen
        return keys + 2 * every * local[label] // step.extents[label].padded
    join = parse_join(step.join, len(step.operands) + bool(step.keys), step.names)
    summed = set(range(len(local))) - set(step.writes) - set(step.chosen)
    return keys + every * (num_operations(join) + (bool(summed) and step.kind != "scatter"))


def _of_attention(step: Compute) -> int:
    """Of the first result: the scores, and what is made of them."""
    attributes = json.loads(step.attributes)
    local = [extent.size if label in step.whole else extent.local for label, extent in enumerate(step.extents)]
    query, key, value = ([prod(local[label] for label in dim) for dim in dims] for dims in step.presents[:3])
    given = {"attention": 0, "attention_values": 1, "attention_gradient": 3}[step.kernel]
    num_masks, number = len(step.operands) - 3 - given, step.results[0].number

    def each(text: str) -> int:
        return num_operations(parse_join(text, 1 + num_masks))

    found = 2 * query[3] + each(attributes["score"]) + 3
    if "factor" in attributes:
        found += each(attributes["factor"]) + 1
    if step.kernel == "attention_values" or (step.kernel == "attention_gradient" and number == 2):
        found += 2 * value[3]
    elif step.kernel == "attention_gradient":
        found += 2 * value[3] + 3 + each(attributes["slopes"][str(max(0, number - 2))])
        found += 2 * query[3] if number < 3 else 1
    return prod(query[:3]) * key[2] * found


def sent(program: Program, step: Collective) -> tuple[int, int]:
    """Bytes that a device sends, and rounds: every device sends to each other one of its group."""
    group = prod(program.sizes[axis] for axis in step.axes)
    elements = _elements(program, step.source)
    piece = ceil(elements / group)
    whole, pieces = (group - 1) * elements, (group - 1) * piece
    if step.kind == "all_reduce":
        count, rounds = (whole, 1) if whole <= 2 * pieces else (2 * pieces, 2)
    else:
        count, rounds = whole if step.kind == "all_gather" else pieces, 1
    return count * ITEMSIZE[program.buffers[step.source].dtype], rounds
