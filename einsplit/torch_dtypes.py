"""torch's dtypes and their names in a Graph, the one place that goes from one to the other.

Importing this file loads torch: those import it who have loaded torch anyway.
"""

from __future__ import annotations

import torch

from einsplit.dtypes import DTYPES, DType

_TORCH: dict[DType, torch.dtype] = {name: getattr(torch, name) for name in DTYPES}


def torch_dtype(name: DType) -> torch.dtype:
    """torch's dtype of that name, one of DTYPES."""
    return _TORCH[name]


def torch_dtype_name(dtype: torch.dtype) -> str:
    """`float32` of `torch.float32`; of a dtype that no Graph has too, for messages: `uint16`."""
    return str(dtype).removeprefix("torch.")
