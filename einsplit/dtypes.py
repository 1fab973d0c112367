"""The dtypes of tensors, by name. Names are torch's and numpy's; a Graph holds nothing else."""

from typing import Literal

import numpy as np

from einsplit.errors import DtypeError, did_you_mean

DType = str
Kind = Literal["bool", "int", "float", "complex"]

_KINDS: dict[DType, Kind] = {
    "bool": "bool",
    "uint8": "int",
    "int8": "int",
    "int16": "int",
    "int32": "int",
    "int64": "int",
    "float16": "float",
    "bfloat16": "float",
    "float32": "float",
    "float64": "float",
    "complex64": "complex",
    "complex128": "complex",
}

ITEMSIZE: dict[DType, int] = {  # bytes of one element
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}

DTYPES: tuple[DType, ...] = tuple(_KINDS)


def check_dtype(name: str) -> DType:
    """`name` itself. Raises DtypeError where it names no dtype."""
    if name not in _KINDS:
        advice = did_you_mean(str(name), _KINDS) or "Known are " + " ".join(DTYPES) + "."
        raise DtypeError(f"unknown dtype {name!r}.\n  {advice}")
    return name


def kind(dtype: DType) -> Kind:
    """Whether elements are truth values, integers, real or complex numbers."""
    return _KINDS[check_dtype(dtype)]


def int_range(dtype: DType) -> tuple[int, int]:
    """The smallest and the largest value of an integer dtype."""
    if kind(dtype) != "int":
        raise DtypeError(f"{dtype} has no integer range.")
    bits = 8 * ITEMSIZE[dtype]
    return (0, 2**bits - 1) if dtype == "uint8" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def numpy_dtype(name: DType) -> np.dtype[np.generic]:
    """numpy's dtype of that name. Raises DtypeError for bfloat16, which numpy does not have."""
    if check_dtype(name) == "bfloat16":
        raise DtypeError("numpy has no bfloat16.\n  Evaluate in float32, or run on torch tensors.")
    return np.dtype(name)


def dtype_name(dtype: np.dtype[np.generic]) -> DType:
    """The name of a numpy dtype. Raises DtypeError for those that have none here: strings, uint16 ..."""
    return check_dtype(dtype.name)
