"""Dims: the labels of a tensor's dimensions. Their text, their shape, and the row of all labels."""

from collections.abc import Mapping
from functools import lru_cache
from math import prod

Label = str
# One inner tuple per dimension: `b (h d) 1` is (("b",), ("h", "d"), ()). A dimension of size 1 has no label.
Dims = tuple[tuple[Label, ...], ...]


def dims_text(dims: Dims) -> str:
    """`b (h d) 1` for (("b",), ("h", "d"), ()), as the notation writes it."""
    return " ".join(dim[0] if len(dim) == 1 else f"({' '.join(dim)})" if dim else "1" for dim in dims)


def dims_shape(dims: Dims, sizes: Mapping[Label, int]) -> tuple[int, ...]:
    """The size of each dimension: the product of its labels' sizes."""
    return tuple(prod(sizes[label] for label in dim) for dim in dims)


@lru_cache(maxsize=2**16)  # layers repeat, and so do passes over them
def flat(dims: Dims) -> tuple[Label, ...]:
    """The labels of all dimensions in a row."""
    return tuple(label for dim in dims for label in dim)
