"""Which kernel carries out a Compute: the Program says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from einsplit.runtime.kernels.call import Call
from einsplit.runtime.kernels.einsum import contract, join, pick
from einsplit.runtime.kernels.grouped import grouped
from einsplit.runtime.kernels.keyed import lookup, scatter
from einsplit.runtime.kernels.named import named

_KINDS: dict[str, Callable[[Call, Sequence[Tensor]], Tensor]] = {
    "contract": contract,
    "lookup": lookup,
    "scatter": scatter,
    "grouped": grouped,
    "pick": pick,
    "join": join,
}


def compute(call: Call, operands: Sequence[Tensor]) -> list[Tensor]:
    """What is written on this device, one dimension per factor: the node's value, or a call's results.

    Each is contiguous and alone in its storage.
    """
    if call.node.kind == "kernel":
        found = named(call, operands)
    else:
        found = [call.ledger.owned(_KINDS[call.node.kind](call, operands), (*operands, *call.indices))]
    call.forget()
    return found
