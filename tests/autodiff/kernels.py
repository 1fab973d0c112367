"""Graphs of one kernel, by its signature."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from einsplit.graph import Dims, Graph, Input, Kernel, Operand
from tests.autodiff.einsums import Case, with_loss


def dims(text: str) -> Dims:
    """`b (h d)`: a dimension of one label, and one of two."""
    return tuple(tuple(part.strip("()").split()) for part in re.findall(r"\([^)]*\)|\S+", text))


def kernel_case(
    kernel: str,
    attributes: Mapping[str, object],
    signature: str,
    sizes: Mapping[str, int],
    *,
    reads: Sequence[str] = (),
    indices: Mapping[int, int] | None = None,
    output: int = 0,
    values: Sequence[float] = (),
) -> Case:
    """The kernel under `b k -> b n`, everything whole, of inputs x0, x1 ...; operands read `reads` where it differs.

    `indices` says which inputs are integers, and below what; the others are normal, or drawn from `values`.
    """
    read, written = (part.strip() for part in signature.split("->"))
    presented = [dims(part) for part in read.split(",")]
    rows = [tuple(text.split()) for text in reads] or [
        tuple(label for dim in row for label in dim) for row in presented
    ]
    random = np.random.default_rng(3)
    inputs, feeds = [], {}
    of_inputs = dict(sizes)
    for k, row in enumerate(rows):
        shape = [sizes[label] for label in row]
        limit = (indices or {}).get(k)
        real = random.choice(values, shape) if len(values) else random.normal(size=shape)
        feeds[f"x{k}"] = np.asarray(real if limit is None else random.integers(0, limit, shape))
        own = tuple((f"x{k}_{at}",) for at in range(len(row)))
        of_inputs |= {label: size for (label,), size in zip(own, shape, strict=True)}
        inputs.append(Input(name=f"x{k}", dims=own, dtype="float64" if limit is None else "int64"))
    node = Kernel(
        name=kernel,
        kernel=kernel,
        attributes=msgspec.json.encode(attributes, order="deterministic").decode(),
        operands=tuple(Operand(k, row) for k, row in enumerate(rows)),
        reads=tuple(presented),
        dims=dims(written),
        brackets=tuple(dict.fromkeys(label for row in (*presented, dims(written)) for dim in row for label in dim)),
        dtype="float64",
        output=output,
    )
    at = len(inputs)
    return Case(with_loss(Graph((*inputs, node), of_inputs, (("y", at),)), at), feeds)
