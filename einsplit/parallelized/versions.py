"""Whether a parameter has changed since it was shipped: the one place that reads torch's private version counter.

Every in-place operation on a tensor counts it up, in optimizers and `load_state_dict` too; writing through
`tensor.data` or a numpy view does not. A test tells when the counter moves.
"""

from __future__ import annotations

from torch import Tensor


def version_of(tensor: Tensor) -> tuple[int, int, tuple[int, ...]]:
    """Differs from an earlier one if the tensor was written in place, given other storage, or resized."""
    return tensor.data_ptr(), tensor._version, tuple(tensor.shape)
