"""Gradients of torch's operators: torch's own."""

from __future__ import annotations

from einsplit.autodiff.kernels.call import Call, Rule
from einsplit.errors import GradientError


def gradient(call: Call, k: int) -> int:
    """What torch.autograd makes of the operator, or of its gradient; asked here whether it makes anything of it."""
    # The way to torch, taken only by who has a node of torch's: `import einsplit` stays light.
    from einsplit.kernels.aten import missing_gradient

    node, given = call.node, call.attributes
    above = given["wrt"] if node.kernel == "aten_vjp" else []
    assert isinstance(above, list)
    attributes = {"of": node.output, **given, "wrt": [*above, k]}
    operands = [*map(call.given, range(len(node.operands))), call.bar]
    fault = missing_gradient(
        attributes, [(call.shape(dims), call.draft.nodes[row.node].dtype) for row, dims in operands]
    )
    if fault:
        advice = "Register one (torch.library.register_autograd), or detach what it is given."
        raise GradientError(f"{node.name} has no gradient in torch: {fault}", advice, node.source)
    # Of a real value of complex numbers (abs), and the other way round, the adjoint has the operand's dtype.
    dtype = call.draft.nodes[node.operands[k].node].dtype
    return call.apply("aten_vjp", attributes, operands, node.reads[k], dtype)


RULES: dict[str, Rule] = {"aten": gradient, "aten_vjp": gradient}
