"""One node on one shard, in torch: `compute(call, operands) -> value`."""

from einsplit.runtime.kernels.call import Call
from einsplit.runtime.kernels.dispatch import compute

__all__ = ["Call", "compute"]
