"""An einsum of symbolic values: one node of their builder's graph."""

from __future__ import annotations

from collections.abc import Sequence

from einsplit.builder import Origin, variable_index
from einsplit.builder.settle import VariableDims
from einsplit.builder.views import Value
from einsplit.einsum.bound import BoundEinsum
from einsplit.notation import Dims
from einsplit.notation.spec import ELLIPSIS
from einsplit.scalar import substitute

_ORIGIN = Origin("einsum")


def symbolic_einsum(bound: BoundEinsum, values: Sequence[Value], origin: Origin = _ORIGIN) -> Value:
    """The node's value; its labels propose their own names. `values` holds at least one, all of one builder."""
    builder = values[0].builder
    variables = {
        label: builder.variable(size, None if label.startswith(ELLIPSIS) else label)
        for label, size in bound.sizes.items()
    }

    def over_variables(dims: Dims) -> VariableDims:
        return tuple(tuple(variables[label] for label in dim) for dim in dims)

    operands = [(value, over_variables(dims)) for value, dims in zip(values, bound.operands, strict=True)]
    indices = {label: variable_index(variable) for label, variable in variables.items()}
    join = substitute(bound.join, {}, indices)
    return builder.einsum(operands, over_variables(bound.out), join, bound.agg, origin)
