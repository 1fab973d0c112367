"""What an einsum must give: a loop over all indices in pure Python, with its own small interpreter of joins."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from tests.language.einsums.cases import Case, Number, Tree

MEANING: dict[str, Callable[..., Number]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "//": lambda x, y: x // y if y else 0,
    "%": lambda x, y: x % y if y else 0,
    "max": max,
    "min": min,
    "neg": lambda x: -x,
    "abs": abs,
    "where": lambda c, x, y: x if c else y,
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    "==": lambda x, y: x == y,
    "!=": lambda x, y: x != y,
    "and": lambda x, y: x and y,
    "or": lambda x, y: x or y,
    "not": lambda x: not x,
    "half": lambda x: x / 2,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "rsqrt": lambda x: 1 / math.sqrt(x),
    "log": math.log,
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "erf": math.erf,
    "sin": math.sin,
    "cos": math.cos,
}


@dataclass
class Expected:
    """The result, its dtype, and for each element a number that a rounding error may be compared with."""

    value: np.ndarray
    scale: np.ndarray
    dtype: str


def expected(case: Case) -> Expected:
    """`einsum(case.spec, *case.arrays, ...)` by a loop over all indices."""
    reads = [case.labels(position) for position in range(len(case.operands))]
    used = set(case.sizes) & {label for dims in reads for dim in dims for label in dim}
    used |= set(_indices(case.join)) if case.join is not None else set()
    out = [label for dim in case.out_labels for label in dim]
    summed = sorted(used - set(out))
    shape = [math.prod(case.sizes[label] for label in dim) for dim in case.out_labels]
    dtype = {"int": "int64", "float": "float64", "bool": "bool"}[case.kind]
    if summed and case.agg in ("sum", "prod") and case.kind == "bool":
        dtype = "int64"
    values: list[Number] = []
    scales: list[float] = []
    for where in _everywhere(out, case.sizes):
        elements = [_joined(case, reads, where | rest) for rest in _everywhere(summed, case.sizes)]
        values.append(_aggregated(case.agg, elements) if summed else elements[0])
        scales.append(_scale(case.agg, elements))
    if dtype == "int64":
        values = [(int(value) + 2**63) % 2**64 - 2**63 for value in values]
    return Expected(np.array(values, dtype).reshape(shape), np.array(scales).reshape(shape), dtype)


def _value(tree: Tree, elements: list[Number], where: dict[str, int]) -> Number:
    op, *args = tree
    if op == "x":
        return elements[args[0]]
    if op == "i":
        return where[args[0]]
    if op == "c":
        return args[0]
    return MEANING[op](*(_value(arg, elements, where) for arg in args))


def _indices(tree: Tree) -> Iterator[str]:
    if tree[0] == "i":
        yield tree[1]
    for part in tree[1:]:
        if isinstance(part, tuple):
            yield from _indices(part)


def _everywhere(labels: list[str], sizes: dict[str, int]) -> Iterator[dict[str, int]]:
    for corner in product(*(range(sizes[label]) for label in labels)):
        yield dict(zip(labels, corner, strict=True))


def _joined(case: Case, reads: list[list[list[str]]], where: dict[str, int]) -> Number:
    elements = []
    for array, dims in zip(case.arrays, reads, strict=True):
        place = []
        for dim in dims:
            at = 0
            for label in dim:
                at = at * case.sizes[label] + where[label]
            place.append(at)
        elements.append(array[tuple(place)].item())
    return math.prod(elements) if case.join is None else _value(case.join, elements, where)


def _aggregated(agg: str, elements: list[Number]) -> Number:
    if agg in ("max", "min", "any", "all"):
        return {"max": max, "min": min, "any": any, "all": all}[agg](elements)
    if agg == "prod":
        return math.prod(elements)
    if agg == "logsumexp":
        largest = max(elements)
        return largest + math.log(math.fsum(math.exp(element - largest) for element in elements))
    total = sum(elements) if isinstance(elements[0], int) else math.fsum(elements)
    return total / len(elements) if agg == "mean" else total


def _scale(agg: str, elements: list[Number]) -> float:
    if agg == "prod":
        return math.prod(max(1.0, float(abs(element))) for element in elements)
    return 1.0 + sum(float(abs(element)) for element in elements)


def agrees(case: Case, found: np.ndarray) -> None:
    """Integers and truth values equal those of the loop; floats are within rounding of what was added up."""
    wanted = expected(case)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.value.shape)
    if wanted.dtype == "float64":
        assert np.all(np.abs(found - wanted.value) <= 1e-12 * wanted.scale)
    else:
        np.testing.assert_array_equal(found, wanted.value)
