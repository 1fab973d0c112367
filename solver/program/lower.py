"""Plan -> Program: the instructions that carry out each node's choice, and each edge between two choices.

Nothing is decided here: forms, moves and masks are those the price was made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from einsplit.graph import Einsum, Input, Kernel, Label, Node, factors, node_labels, zeroed_labels
from einsplit.scalar import to_text
from einsplit.solver.pricing.calls import Pair, completion, own_operations
from einsplit.solver.pricing.forms import Form, form, masked_operands, operations
from einsplit.solver.pricing.price import cut_axes
from einsplit.solver.problem.problem import Solution
from einsplit.solver.program.instructions import (
    Buffer,
    Collective,
    Compute,
    Free,
    Instruction,
    Key,
    Mask,
    Port,
    Program,
    Result,
    Slice,
    Zero,
)
from einsplit.solver.program.moves import Mover, extent, extents
from einsplit.solver.sharding import PARTIAL, DigitTables, Sharding, aggregation, operand_layout, output_layout


@dataclass(frozen=True, slots=True)
class Lowered:
    """A Program, and by instruction the node that it is issued for; -1: before any, and behind all nodes, by their
    order, the updates."""

    program: Program
    places: tuple[int, ...]


def lower(solution: Solution) -> Program:
    """The Program of a prepared Graph under one sharding per node."""
    return _Lowering(solution).lowered().program


@lru_cache(maxsize=1)  # a plan is lowered to see whether it fits, and again when it is written
def lowered(solution: Solution) -> Lowered:
    """`lower`, once for the same Solution, and what each instruction is for."""
    return _Lowering(solution).lowered()


class _Lowering:
    def __init__(self, solution: Solution) -> None:
        self.problem = solution.problem
        self.graph = solution.problem.graph
        self.machine = solution.problem.machine
        self.tables = solution.problem.tables
        self.shardings = solution.shardings
        self.buffers: list[Buffer] = []
        self.instructions: list[Instruction] = []
        self.mover = Mover(self.machine, self.buffers, self.instructions)
        self.of_node: list[int] = []  # the buffer of every node's value
        self.further: dict[int, list[Pair]] = {}  # by node: the further results of its call
        self.given: dict[int, int] = {}  # the buffer of a further result that its call has filled
        for pair in solution.problem.pairs:
            if pair.alike(self.shardings[pair.first], self.shardings[pair.further]):
                self.further.setdefault(pair.first, []).append(pair)

    def lowered(self) -> Lowered:
        places: list[int] = []
        for at, node in enumerate(self.graph.nodes):
            self.of_node.append(self._node(at, node))
            places += [at] * (len(self.instructions) - len(places))
        outputs = tuple(self._port(name, at) for name, at in self.graph.outputs)
        updates = []
        for number, (state, value) in enumerate(self.graph.updates, len(self.graph.nodes)):
            updates.append((self._name(state), self._updated(state, value)))
            places += [number] * (len(self.instructions) - len(places))
        kept = {port.buffer for port in outputs} | {buffer for _, buffer in updates}
        inputs = tuple(self._port(n.name, at) for at, n in enumerate(self.graph.nodes) if isinstance(n, Input))
        parameters = tuple(n.name for n in self.graph.nodes if isinstance(n, Input) and n.role != "data")
        updated = {name for name, _ in updates}
        resting = {port.buffer for port in inputs if port.name in parameters and port.name not in updated}
        given = {port.buffer for port in inputs}
        instructions, places = _with_frees(self.instructions, places, given, kept | resting)
        program = Program(
            sizes=self.machine.sizes,
            buffers=tuple(self.buffers),
            inputs=inputs,
            parameters=parameters,
            outputs=outputs,
            updates=tuple(updates),
            instructions=tuple(instructions),
        )
        return Lowered(program, tuple(places))

    def _name(self, at: int) -> str:
        return self.graph.nodes[at].name

    def _port(self, name: str, at: int) -> Port:
        return Port(name, self.of_node[at], tuple(len(dim) for dim in self.graph.nodes[at].dims))

    def _updated(self, state: int, value: int) -> int:
        target = output_layout(self.graph.nodes[state], self.shardings[state])
        return self._read(value, target)

    def _read(self, writer: int, target: tuple[int, ...]) -> int:
        """The buffer that holds the writer's value in the layout a reader wants."""
        node = self.graph.nodes[writer]
        source = output_layout(node, self.shardings[writer])
        return self.mover.move(self.of_node[writer], source, target, aggregation(node))

    def _node(self, at: int, node: Node) -> int:
        sharding = self.shardings[at]
        if isinstance(node, Input):
            return self._value_buffer(node, sharding)
        if at in self.given:
            assert isinstance(node, Kernel)
            return self._completed(at, node)
        read = [self._read(o.node, operand_layout(node, k, sharding)) for k, o in enumerate(node.operands)]
        found = form(node, [self.graph.nodes[row.node].dtype for row in node.operands], self.graph.sizes)
        return read[0] if found.kind == "alias" else self._compute(at, node, found, sharding, read)

    def _value_buffer(self, node: Node, sharding: Sharding) -> int:
        layout = output_layout(node, sharding)
        digits = [self.tables[label] for label in factors(node)]
        partial = tuple(axis for axis, entry in enumerate(layout) if entry == PARTIAL)
        self.buffers.append(Buffer(node.dtype, extents(digits, layout), partial))
        return len(self.buffers) - 1

    def _compute(self, at: int, node: Einsum | Kernel, found: Form, sharding: Sharding, read: list[int]) -> int:
        rows = self.further.get(at, ())
        names = [pair.renamed(label) for pair in rows for label in node_labels(self.graph.nodes[pair.further])]
        for k in masked_operands(node, found, self.tables):
            read[k] = self._mask(node, k, read[k])
        output = self._value_buffer(node, sharding)
        alone = compute_alone(at, node, found, sharding, self.tables, names)
        number = {label: k for k, label in enumerate(alone.names)}
        compute = msgspec.structs.replace(
            alone,
            operands=tuple(read),
            output=output,
            results=self._results(at, node, output, alone.operations, number) if isinstance(node, Kernel) else (),
            whole=self._whole(at, node, number) if isinstance(node, Kernel) else (),
        )
        self.instructions.append(compute)
        return output

    def _results(
        self, at: int, node: Kernel, output: int, scalar_operations: int, number: Mapping[Label, int]
    ) -> tuple[Result, ...]:
        """What the call gives; the buffers of further results are made."""
        found = [Result(output, node.output, _numbered(node.dims, number), node.dtype, scalar_operations)]
        for pair in self.further.get(at, ()):
            other, sharding = self.graph.nodes[pair.further], self.shardings[pair.further]
            assert isinstance(other, Kernel)
            self.given[pair.further] = self._value_buffer(other, sharding)
            dims = _numbered([[pair.renamed(label) for label in dim] for dim in other.dims], number)
            own = own_operations(other, sharding, self.tables)
            found.append(Result(self.given[pair.further], other.output, dims, other.dtype, own))
        return tuple(found)

    def _whole(self, at: int, node: Kernel, number: Mapping[Label, int]) -> tuple[int, ...]:
        """The labels that the call, or a further result of it, has whole."""
        found = dict.fromkeys(node.brackets)
        for pair in self.further.get(at, ()):
            other = self.graph.nodes[pair.further]
            assert isinstance(other, Kernel)
            found.update(dict.fromkeys(map(pair.renamed, other.brackets)))
        return tuple(number[label] for label in found)

    def _completed(self, at: int, node: Kernel) -> int:
        """The buffer of a further result of a call, completed where that is needed."""
        sharding = self.shardings[at]
        einsum = completion(node, sharding)
        if einsum is None:
            return self.given[at]
        (pair,) = (pair for pair in self.problem.pairs if pair.further == at)
        last = len(node.operands) - 1
        given = self._read(node.operands[last].node, operand_layout(node, last, sharding))
        return self._compute(at, einsum, Form("join"), sharding, [self.given[at], self.of_node[pair.first], given])

    def _mask(self, node: Einsum | Kernel, k: int, source: int) -> int:
        """Operand `k` with a sum's identity in the padding of every label that the node sums over."""
        summed = {label for label in zeroed_labels(node) if self.tables[label].is_padded}
        places = tuple(at for at, label in enumerate(node.operands[k].labels) if label in summed)
        self.buffers.append(self.buffers[source])
        self.instructions.append(Mask(source, len(self.buffers) - 1, places, 0.0))
        return len(self.buffers) - 1


def compute_alone(
    at: int, node: Einsum | Kernel, found: Form, sharding: Sharding, tables: DigitTables, further: Sequence[Label] = ()
) -> Compute:
    """A node's Compute, of one result, before anything else is known: operand k is buffer k, the output the next one.

    `further`: labels that other results of the call have, all of them whole where the node does not have them.
    """
    cut = {label: extent(tables[label], cut_axes(sharding, label)) for label in node_labels(node)}
    local = {label: e.local for label, e in cut.items()}
    for label in further:
        cut.setdefault(label, extent(tables[label], ()))
    number = {label: k for k, label in enumerate(cut)}
    scalar_operations, output = operations(node, found, local, tables), len(node.operands)
    assert found.kind != "input" and found.kind != "alias"
    results: tuple[Result, ...] = ()
    if isinstance(node, Kernel):
        results = (Result(output, node.output, _numbered(node.dims, number), node.dtype, scalar_operations),)
    return Compute(
        node=at,
        kind=found.kind,
        operands=tuple(range(output)),
        output=output,
        reads=tuple(tuple(number[label] for label in o.labels) for o in node.operands),
        writes=tuple(number[label] for label in factors(node)),
        extents=tuple(cut.values()),
        names=tuple(number),
        operations=scalar_operations,
        dtype=node.dtype,
        join=to_text(node.join if found.join is None else found.join) if isinstance(node, Einsum) else "",
        agg=node.agg,
        chosen=tuple(number[label] for label in found.chosen or ((found.label,) if found.label else ())),
        keys=tuple(Key(to_text(key.expr), tuple(number[label] for label in key.labels)) for key in found.keys),
        product=found.product or (),
        at=found.at,
        kernel=node.kernel if isinstance(node, Kernel) else "",
        attributes=node.attributes if isinstance(node, Kernel) else "{}",
        presents=tuple(_numbered(dims, number) for dims in node.reads) if isinstance(node, Kernel) else (),
        results=results,
        whole=tuple(number[label] for label in node.brackets) if isinstance(node, Kernel) else (),
    )


def _numbered(dims: Sequence[Sequence[str]], number: Mapping[Label, int]) -> tuple[tuple[int, ...], ...]:
    """Dimensions with their labels as numbers."""
    return tuple(tuple(number[label] for label in dim) for dim in dims)


def _with_frees(
    instructions: Sequence[Instruction], places: Sequence[int], given: set[int], kept: set[int]
) -> tuple[list[Instruction], list[int]]:
    """A Free after the last reading of every buffer that does not outlive the step; `given` are there before it.

    An updated state's old value goes too: after a failed step a session is of no further use.
    """
    last = dict.fromkeys(given, -1)
    for at, instruction in enumerate(instructions):
        buffers = () if isinstance(instruction, Free) else (*_sources(instruction), *_outputs(instruction))
        for buffer in buffers:
            last[buffer] = at
    ending: dict[int, list[int]] = {}
    for buffer, at in last.items():
        if buffer not in kept:
            ending.setdefault(at, []).append(buffer)
    out: list[Instruction] = [Free(buffer) for buffer in sorted(ending.get(-1, ()))]
    out_places = [-1] * len(out)
    for at, (instruction, place) in enumerate(zip(instructions, places, strict=True)):
        out.append(instruction)
        out.extend(Free(buffer) for buffer in sorted(ending.get(at, ())))
        out_places += [place] * (len(out) - len(out_places))
    return out, out_places


def _outputs(instruction: Compute | Mask | Slice | Zero | Collective) -> tuple[int, ...]:
    return instruction.outputs if isinstance(instruction, Compute) else (instruction.output,)


def _sources(instruction: Compute | Mask | Slice | Zero | Collective) -> tuple[int, ...]:
    return instruction.operands if isinstance(instruction, Compute) else (instruction.source,)
