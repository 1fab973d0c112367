"""From nodes over label variables to a Graph over named labels: dead nodes dropped, every label a finest factor."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from string import ascii_lowercase

from einsplit.builder.extents import Extents
from einsplit.builder.views import Value, split_factor
from einsplit.graph import Dims, Einsum, Graph, Input, Kernel, Label, Node, Operand, Role
from einsplit.scalar import Expr, const, index, labels_of, substitute

VariableDims = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A node's operand: a view, and the label variables that name each of its dimensions."""

    value: Value
    dims: VariableDims


@dataclass(frozen=True, slots=True)
class ProtoInput:
    """An Input over label variables."""

    name: str
    role: Role
    source: str
    dims: VariableDims
    dtype: str

    @property
    def readings(self) -> tuple[Reading, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class ProtoEinsum:
    """An Einsum over label variables; an index in the join is `#variable`."""

    name: str
    source: str
    readings: tuple[Reading, ...]
    dims: VariableDims
    dtype: str
    join: Expr
    agg: str


@dataclass(frozen=True, slots=True)
class ProtoKernel:
    """A Kernel over label variables; its operands are seen as they are read."""

    name: str
    source: str
    readings: tuple[Reading, ...]
    dims: VariableDims
    dtype: str
    kernel: str
    attributes: str
    brackets: frozenset[int]
    output: int
    summed: frozenset[int]
    agg: str
    operations: int
    shared: int


Proto = ProtoInput | ProtoEinsum | ProtoKernel


class Names:
    """One label name per extent, unique in the graph; a node that meets an extent twice primes the second."""

    def __init__(self, extents: Extents) -> None:
        self._extents = extents
        self._hints = extents.names()
        self._base: dict[int, Label] = {}
        self._taken: set[Label] = set()
        self.sizes: dict[Label, int] = {}

    def base(self, extent: int) -> Label:
        """The name of an extent, found when it is first asked for: its hint, or the next letter."""
        if extent not in self._base:
            hint = self._hints.get(extent)
            self._base[extent] = self._fresh(re.sub(r"\W", "_", hint) if hint else None)
        return self._base[extent]

    def _fresh(self, hint: str | None) -> Label:
        """A name not taken yet: the hint, `hint_1` ...; without a hint that is an identifier a, b ... z, a1 ..."""
        if hint and not hint[0].isdigit():
            candidates = (f"{hint}_{k}" if k else hint for k in count())
        else:
            candidates = (f"{letter}{k or ''}" for k in count() for letter in ascii_lowercase)
        name = next(candidate for candidate in candidates if candidate not in self._taken)
        self._taken.add(name)
        return name


class NodeLabels:
    """The labels of one node: (variable, stride) -> name."""

    def __init__(self, extents: Extents, names: Names) -> None:
        self._extents = extents
        self._names = names
        self._label: dict[tuple[int, int], Label] = {}
        self._met: Counter[Label] = Counter()

    def row(self, variable: int) -> tuple[Label, ...]:
        """The finest labels of a variable, slowest first."""
        return tuple(
            self.label(variable, leaf.stride, leaf.extent, leaf.size) for leaf in self._extents.leaves(variable)
        )

    def label(self, variable: int, stride: int, extent: int, size: int) -> Label:
        """The label of the part of a variable that has this stride: the extent's name, primed at its second use."""
        key = (variable, stride)
        if key not in self._label:
            base = self._names.base(extent)
            self._label[key] = base + "'" * self._met[base]
            self._met[base] += 1
            self._names.sizes[self._label[key]] = size
        return self._label[key]

    def dims(self, dims: VariableDims) -> Dims:
        """The finest labels of each dimension."""
        return tuple(tuple(label for variable in dim for label in self.row(variable)) for dim in dims)

    def index(self, name: str) -> Expr:
        """`index` of a label variable as arithmetic on the indices of its finest labels."""
        total: Expr | None = None
        for leaf in self._extents.leaves(int(name[1:])):
            term: Expr = index(self.label(int(name[1:]), leaf.stride, leaf.extent, leaf.size))
            if leaf.stride != 1:
                term = term * const(leaf.stride)
            total = term if total is None else total + term
        return const(0) if total is None else total


def settle(extents: Extents, protos: Sequence[Proto], outputs: Mapping[str, int], updates: Mapping[str, int]) -> Graph:
    """The Graph of the outputs and updates; inputs that are fed or kept stay even if nothing reads them."""
    states = [at for at, p in enumerate(protos) if isinstance(p, ProtoInput) and p.name in updates]
    live = _live(protos, [*outputs.values(), *updates.values(), *states])
    position = {old: new for new, old in enumerate(live)}
    names = Names(extents)
    own = _unique_names([protos[old] for old in live])
    nodes = tuple(_settle_node(extents, names, protos, position, protos[old], own[position[old]]) for old in live)
    inputs = {node.name: at for at, node in enumerate(nodes) if isinstance(node, Input)}
    return Graph(
        nodes,
        names.sizes,
        tuple((name, position[node]) for name, node in outputs.items()),
        tuple((inputs[name], position[node]) for name, node in updates.items()),
    )


def _unique_names(protos: Sequence[Proto]) -> list[str]:
    """The nodes' names; of several nodes of one name, the second is `name_2`. Inputs keep theirs: people feed them."""
    taken = {proto.name for proto in protos if isinstance(proto, ProtoInput)}
    found = []
    for proto in protos:
        name = proto.name
        if not isinstance(proto, ProtoInput):
            others = (f"{proto.name}_{k}" for k in count(2))
            name = next(each for each in chain((name,), others) if each not in taken)
            taken.add(name)
        found.append(name)
    return found


def _live(protos: Sequence[Proto], wanted: Sequence[int]) -> list[int]:
    """Positions of what `wanted` is made of, in order; inputs that are fed or kept stay, parameters may go."""
    live: set[int] = {at for at, p in enumerate(protos) if isinstance(p, ProtoInput) and p.role in ("data", "state")}
    todo = list(wanted)
    while todo:
        at = todo.pop()
        if at not in live:
            live.add(at)
            todo.extend(reading.value.node for reading in protos[at].readings)
    return sorted(live)


def _settle_node(
    extents: Extents, names: Names, protos: Sequence[Proto], position: Mapping[int, int], proto: Proto, name: str
) -> Node:
    labels = NodeLabels(extents, names)
    dims = labels.dims(proto.dims)
    if isinstance(proto, ProtoInput):
        return Input(name=proto.name, dims=dims, dtype=proto.dtype, role=proto.role, source=proto.source)
    operands = tuple(_settle_reading(extents, labels, protos, position, reading) for reading in proto.readings)
    if isinstance(proto, ProtoEinsum):
        join = substitute(proto.join, {}, {name: labels.index(name) for name in sorted(labels_of(proto.join))})
        return Einsum(
            name=name,
            operands=operands,
            dims=dims,
            join=join,
            agg=proto.agg,
            dtype=proto.dtype,
            source=proto.source,
        )
    return Kernel(
        name=name,
        kernel=proto.kernel,
        attributes=proto.attributes,
        operands=operands,
        reads=tuple(labels.dims(reading.dims) for reading in proto.readings),
        dims=dims,
        brackets=tuple(label for variable in sorted(proto.brackets) for label in labels.row(variable)),
        dtype=proto.dtype,
        output=proto.output,
        summed=tuple(label for variable in sorted(proto.summed) for label in labels.row(variable)),
        agg=proto.agg,
        operations=proto.operations,
        shared=proto.shared,
        source=proto.source,
    )


def _settle_reading(
    extents: Extents, labels: NodeLabels, protos: Sequence[Proto], position: Mapping[int, int], reading: Reading
) -> Operand:
    """One label per factor of the producer, in the producer's order; repeated dimensions name nothing."""
    named: dict[tuple[int, int], Label] = {}
    for dim, variables in zip(reading.value.dims, reading.dims, strict=True):
        read = [factor for part in dim for factor, _ in split_factor(extents, part)]
        row = [label for variable in variables for label in labels.row(variable)]
        for factor, label in zip(read, row, strict=True):
            if factor.carried:
                named[factor.extent, factor.stride] = label
    written = [
        (variable, leaf.stride)
        for dim in protos[reading.value.node].dims
        for variable in dim
        for leaf in extents.leaves(variable)
    ]
    return Operand(position[reading.value.node], tuple(named[key] for key in written))
