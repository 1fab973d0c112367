"""The adjoints of a kernel's operands: for each kernel the kernel of its gradient, or torch's own for its operators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from einsplit.autodiff.kernels import along, aten, attention, convolution, moving
from einsplit.autodiff.kernels.call import Call, Rule
from einsplit.draft import Draft
from einsplit.graph import Kernel, Operand
from einsplit.notation.dims import flat
from einsplit.scalar import operand

RULES: dict[str, Rule] = {
    **moving.RULES,
    **along.RULES,
    **convolution.RULES,
    **attention.RULES,
    **aten.RULES,
}


def kernel_adjoints(draft: Draft, at: int, adjoint: int, wanted: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(operand, position of what its node's adjoint gets) for the operands in `wanted`.

    `at` is a Kernel node, `adjoint` has its dims. Raises GradientError where the kernel has no gradient.
    """
    node = draft.nodes[at]
    assert isinstance(node, Kernel)
    call = Call(draft, at, node, adjoint)
    for k in wanted:
        found = RULES[node.kernel](call, k)
        if found is not None:
            presented = Operand(found, flat(node.reads[k]))
            yield k, draft.adjoint([presented], node.operands[k], operand(0), call.origin)
