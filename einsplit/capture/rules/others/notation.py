"""einsplit's own operators inside captured code: the einsum of the notation stays the one node that it is."""

from __future__ import annotations

from collections.abc import Sequence

from einsplit.builder.views import Value
from einsplit.capture.reader import Known, Reader, rule
from einsplit.einsum.bound import bind_einsum
from einsplit.einsum.symbolic import symbolic_einsum
from einsplit.notation import parse_spec


@rule("einsplit.einsum.default")
def einsum(
    reader: Reader,
    operands: Sequence[Known],
    spec: str,
    join: str,
    agg: str,
    names: Sequence[str],
    sizes: Sequence[int],
) -> Value:
    values = [reader.value(known) for known in operands]
    shapes, dtypes = [value.shape for value in values], [value.dtype for value in values]
    bound = bind_einsum(parse_spec(spec), shapes, dtypes, join, agg, dict(zip(names, sizes, strict=True)))
    return symbolic_einsum(bound, values, reader.origin())
