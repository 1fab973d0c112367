"""The dtypes of tensors, by name. Names are torch's and numpy's; a Graph holds nothing else."""

from typing import Literal

import numpy as np

from einsplit.errors import DtypeError, advice

DType = str
Kind = Literal["bool", "int", "float", "complex"]

_ROWS: dict[DType, tuple[Kind, int]] = {  # bytes of one element
    "bool": ("bool", 1),
    "uint8": ("int", 1),
    "int8": ("int", 1),
    "int16": ("int", 2),
    "int32": ("int", 4),
    "int64": ("int", 8),
    "float16": ("float", 2),
    "bfloat16": ("float", 2),
    "float32": ("float", 4),
    "float64": ("float", 8),
    "complex64": ("complex", 8),
    "complex128": ("complex", 16),
}
_RANKS: tuple[Kind, ...] = ("bool", "int", "float", "complex")

DTYPES: tuple[DType, ...] = tuple(_ROWS)
HALF: tuple[DType, ...] = ("float16", "bfloat16")
ITEMSIZE: dict[DType, int] = {name: itemsize for name, (_, itemsize) in _ROWS.items()}  # bytes of one element


def check_dtype(name: str) -> DType:
    """`name` itself. Raises DtypeError where it names no dtype."""
    if name not in _ROWS:
        raise DtypeError(f"unknown dtype {name!r}.", advice(name, DTYPES))
    return name


def kind(dtype: DType) -> Kind:
    """Whether elements are truth values, integers, real or complex numbers. Raises DtypeError for an unknown dtype."""
    return _ROWS[check_dtype(dtype)][0]


def rank(dtype: DType) -> tuple[int, int]:
    """Of two dtypes the one of higher rank holds more: casting to it loses less."""
    return _RANKS.index(kind(dtype)), ITEMSIZE[dtype]


def wide(dtype: DType) -> DType:
    """The dtype in which sums of products of `dtype` are computed before they are rounded to it."""
    return "float32" if dtype in HALF else dtype


def int_range(dtype: DType) -> tuple[int, int]:
    """The smallest and the largest value of an integer dtype. Raises DtypeError for other dtypes."""
    if kind(dtype) != "int":
        raise DtypeError(f"{dtype} has no integer range.")
    bits = 8 * ITEMSIZE[dtype]
    return (0, 2**bits - 1) if dtype == "uint8" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def numpy_dtype(name: DType) -> np.dtype[np.generic]:
    """numpy's dtype of that name. Raises DtypeError for bfloat16, which numpy does not have."""
    if check_dtype(name) == "bfloat16":
        raise DtypeError("numpy has no bfloat16.", "Evaluate in float32, or run on torch tensors.")
    return np.dtype(name)


def dtype_name(dtype: np.dtype[np.generic]) -> DType:
    """The name of a numpy dtype. Raises DtypeError for those that have none here: strings, uint16 ..."""
    return check_dtype(dtype.name)
