"""Collect nodes whose labels are not settled yet, and settle them: calls in, Graph out.

While a program is read, each node has label variables of its own, and every reading ties the reader's variables to the
elements they name (`einsplit.builder.extents`). Only at the end, when all views have been met, are the finest factors
known; `build` then gives every extent one name, drops what no output needs, and returns the Graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import islice

import msgspec

from einsplit.builder.extents import Extents
from einsplit.builder.settle import Proto, ProtoEinsum, ProtoInput, ProtoKernel, Reading, VariableDims, settle
from einsplit.builder.views import (
    Factor,
    Value,
    dim_extents,
    joined,
    regroup,
    split_factor,
)
from einsplit.draft import Origin
from einsplit.errors import GraphError, ShapeError
from einsplit.graph import Graph, Role
from einsplit.monoid import monoid
from einsplit.scalar import Expr, cast, index, labels_of, operand, result_dtype


class Builder:
    """Builds one Graph. Values of one builder cannot be mixed with another's."""

    def __init__(self) -> None:
        self.extents = Extents()
        self._protos: list[Proto] = []

    def input(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        *,
        role: Role = "data",
        labels: Sequence[str] | None = None,
        source: str = "",
    ) -> Value:
        """A tensor from outside; `labels` proposes a name for each dimension."""
        if labels is not None and len(labels) != len(shape):
            raise ShapeError(f"input {name!r} of shape {tuple(shape)} is given {len(labels)} labels: {labels}")
        hints = labels if labels is not None else [f"{name}_{k}" for k in range(len(shape))]
        dims = tuple((self.extents.new(size, hint),) for size, hint in zip(shape, hints, strict=True))
        return self._add(ProtoInput(name, role, source, dims, dtype))

    def einsum(
        self,
        operands: Sequence[tuple[Value, VariableDims]],
        dims: VariableDims,
        join: Expr,
        agg: str,
        origin: Origin,
    ) -> Value:
        """`value[dims] = agg of join`, over label variables made by `variable`; an index in the join is `#variable`.

        Where no label is aggregated, the value has the join's dtype and `agg` does nothing.
        """
        dtype = result_dtype(join, tuple(value.dtype for value, _ in operands))
        read = {variable for _, row in operands for dim in row for variable in dim}
        read |= {int(name[1:]) for name in labels_of(join)}
        aggregated = read - {variable for dim in dims for variable in dim}
        if aggregated:
            found = monoid(agg).result_dtype(dtype)
            if found != dtype and all(self.extents.size(variable) == 1 for variable in aggregated):
                join = cast(join, found)  # such labels vanish, and nothing would be aggregated
            dtype = found
            operands = self._with_repeats(operands, aggregated)
        return self._add(ProtoEinsum(origin.name, origin.source, self._readings(operands), dims, dtype, join, agg))

    def kernel(
        self,
        kernel: str,
        operands: Sequence[tuple[Value, VariableDims]],
        results: Sequence[tuple[VariableDims, str]],
        origin: Origin,
        *,
        brackets: frozenset[int] = frozenset(),
        attributes: Mapping[str, object] | None = None,
        summed: frozenset[int] = frozenset(),
        agg: str = "sum",
        operations: int = 0,
    ) -> tuple[Value, ...]:
        """Every result (dims, dtype) of a registered kernel; the variables in `brackets` are whole wherever it runs.

        `operations`: scalar operations of the whole kernel, besides reading and writing each element; of several
        results, those that make all of them.
        """
        text = msgspec.json.encode(attributes or {}, order="deterministic").decode()
        readings = self._readings(self._with_repeats(operands, summed))
        read = {variable for reading in readings for dim in reading.dims for variable in dim}
        found = []
        for number, (dims, dtype) in enumerate(results):
            own = brackets & (read | {variable for dim in dims for variable in dim})  # not those of other results
            proto = ProtoKernel(
                name=origin.name,
                source=origin.source,
                readings=readings,
                dims=dims,
                dtype=dtype,
                kernel=kernel,
                attributes=text,
                brackets=own,
                output=number,
                summed=summed,
                agg=agg,
                operations=operations,
                shared=operations if len(results) > 1 else 0,
            )
            found.append(self._add(proto))
        return tuple(found)

    def variable(self, size: int, hint: str | None = None) -> int:
        """A fresh label variable for a node about to be added."""
        return self.extents.new(size, hint)

    def variables(self, shape: Sequence[int]) -> VariableDims:
        """One fresh label variable for each dimension."""
        return tuple((self.extents.new(size),) for size in shape)

    def reshape(self, value: Value, shape: Sequence[int], origin: Origin) -> Value:
        """The value under another shape: a view where its factors allow it, else a kernel."""
        groups = regroup(value, shape)
        view_of_all = joined(value, groups)
        if view_of_all is not None:
            return view_of_all
        reads: VariableDims = ()
        dims: VariableDims = ()
        brackets: set[int] = set()
        for group in groups:
            if group.view is None:
                old_variables = self.variables([value.shape[k] for k in group.old])
                new_variables = self.variables([shape[k] for k in group.new])
                brackets |= {variable for row in old_variables + new_variables for variable in row}
            else:
                old_variables, new_variables = self._shared_variables([value.dims[k] for k in group.old], group.view)
            reads += old_variables
            dims += new_variables
        operands, result = [(value, reads)], (dims, value.dtype)
        return self.kernel("reshape", operands, [result], origin, brackets=frozenset(brackets))[0]

    def _shared_variables(
        self, old: Sequence[Sequence[Factor]], view: Sequence[Sequence[Factor]]
    ) -> tuple[VariableDims, VariableDims]:
        """Label variables for dimensions and for a view of them: the same finest factors in both, free to be cut."""
        read, written = ([self._sizes(dim) for dim in dims] for dims in (old, view))
        variables = [self.extents.new(size) for row in read for size in row]
        return tuple(_rows(variables, read)), tuple(_rows(variables, written))

    def _sizes(self, dim: Sequence[Factor]) -> list[int]:
        """The sizes of a dimension's finest factors."""
        return [part.size for factor in dim for part, _ in split_factor(self.extents, factor)]

    def build(self, outputs: Mapping[str, Value], updates: Mapping[str, Value] | None = None) -> Graph:
        """The Graph of the named outputs and, by input name, of the next values of state."""
        for name, value in (*outputs.items(), *(updates or {}).items()):
            if value.builder is not self:
                raise GraphError(f"{name!r} comes from another builder")
        plain = {name: self._plain(value, name) for name, value in outputs.items()}
        next_values = {name: self._next(value, name) for name, value in (updates or {}).items()}
        return settle(self.extents, self._protos, plain, next_values)

    def _plain(self, value: Value, name: str) -> int:
        """The position of a node whose value is exactly this view; a copy in the notation where there is none yet."""
        if value.dims == self._value(value.node).dims:
            return value.node
        dims = self.variables(value.shape)
        copy = self.einsum([(value, dims)], dims, operand(0), "sum", Origin(name))
        return copy.node

    def _next(self, value: Value, name: str) -> int:
        """The position of a node whose value is this view, over the same factors as the state that it becomes."""
        inputs = [at for at, p in enumerate(self._protos) if isinstance(p, ProtoInput) and p.name == name]
        if not inputs or self._value(inputs[0]).shape != value.shape:
            raise GraphError(f"update of {name!r} by {value}: not an input, or of another shape")
        state = self._protos[inputs[0]]
        node = self._plain(value, name)
        if not self._tie(self._value(node), state.dims):
            node = self._detached(self._value(node), state.dims).node
            if not self._tie(self._value(node), state.dims):  # fresh extents fit any row
                raise AssertionError(f"cannot lay {value} out as {name!r}")
        return node

    def _with_repeats(
        self, operands: Sequence[tuple[Value, VariableDims]], aggregated: Set[int]
    ) -> list[tuple[Value, VariableDims]]:
        """The operands; one that merely repeats its elements along an aggregated variable, as the tensor it stands for.

        A reading does not name what its value does not have, and a label that no operand names would not be
        aggregated: the sum of three equal elements would be one of them.
        """
        rows = [(dim, row) for value, dims in operands for dim, row in zip(value.dims, dims, strict=True)]
        named = {variable for dim, row in rows if all(factor.carried for factor in dim) for variable in row}
        lost = aggregated - named
        return [
            (self._repeated(value) if lost & {variable for row in dims for variable in row} else value, dims)
            for value, dims in operands
        ]

    def _repeated(self, value: Value) -> Value:
        """A node that holds every element of the view, repetitions too."""
        dims = self.variables(value.shape)
        origin = Origin(self._protos[value.node].name + ".repeat")
        return self.einsum([(value, dims)], dims, operand(0), "sum", origin)

    def _readings(self, operands: Sequence[tuple[Value, VariableDims]]) -> tuple[Reading, ...]:
        return tuple(self._reading(value, dims) for value, dims in operands)

    def _reading(self, value: Value, dims: VariableDims) -> Reading:
        """The value read under `dims`; a copy of it where its dimensions are cut in ways that do not fit."""
        if value.builder is not self:
            raise GraphError(f"{value} comes from another builder")
        if not self._tie(value, dims):
            value = self._detached(value, dims)
            if not self._tie(value, dims):  # fresh extents fit any row
                raise AssertionError(f"cannot name {value} by {dims}")
        return Reading(value, dims)

    def _tie(self, value: Value, dims: VariableDims) -> bool:
        """Make the label variables name the value's elements; where one dimension fails the others stay tied."""
        rows = zip(value.dims, dims, strict=True)
        tied = [self.extents.unify(dim_extents(self.extents, dim), variables) for dim, variables in rows]
        return all(tied)

    def _detached(self, value: Value, like: VariableDims) -> Value:
        """A copy whose dimensions are new extents: for two uses of a value that cut it in ways that do not fit.

        Its dimensions are cut as those of `like`: products of sizes do not tell how where one of them is 0.
        """
        # Factor by factor: one fresh label for a dimension would not fit two factors of which one has no element.
        rows = [dim_extents(self.extents, dim) for dim in value.dims]
        read = tuple(tuple(self.extents.new(self.extents.size(extent)) for extent in row) for row in rows)
        dims = tuple(tuple(self.extents.new(self.extents.size(variable)) for variable in row) for row in like)
        brackets = frozenset(variable for dim in (*read, *dims) for variable in dim)
        origin = Origin(self._protos[value.node].name + ".relabel")
        return self.kernel("reshape", [(value, read)], [(dims, value.dtype)], origin, brackets=brackets)[0]

    def _add(self, proto: Proto) -> Value:
        self._protos.append(proto)
        return self._value(len(self._protos) - 1)

    def _value(self, node: int) -> Value:
        """The whole value of a node, its dimensions as they were written."""
        proto = self._protos[node]
        dims = tuple(
            tuple(Factor(variable, self.extents.size(variable)) for variable in dim if self.extents.size(variable) != 1)
            for dim in proto.dims
        )
        return Value(self, node, dims, proto.dtype)


def _rows(variables: Sequence[int], like: Sequence[Sequence[int]]) -> Iterator[tuple[int, ...]]:
    """The variables in rows as long as those of `like`."""
    left = iter(variables)
    return (tuple(islice(left, len(row))) for row in like)


def variable_index(variable: int) -> Expr:
    """`index` of a label variable, inside a join given to `Builder.einsum`."""
    return index(f"#{variable}")
