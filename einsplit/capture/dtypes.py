"""The dtypes that a captured tensor may have: those of a Graph."""

from __future__ import annotations

import torch

from einsplit.dtypes import DTYPES, DType
from einsplit.errors import CaptureError
from einsplit.torch_dtypes import torch_dtype_name


def is_known_dtype(dtype: torch.dtype) -> bool:
    return torch_dtype_name(dtype) in DTYPES


def dtype_name(dtype: torch.dtype) -> DType:
    """The name of a dtype. Raises CaptureError for those that no Graph has: uint16, float8 ..."""
    name = torch_dtype_name(dtype)
    if name not in DTYPES:
        raise CaptureError(f"tensors of {name} are not supported.", f"Use one of {', '.join(DTYPES)}.")
    return name
