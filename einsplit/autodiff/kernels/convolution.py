"""Gradients of convolutions: each kernel is linear in both operands, and both adjoints are among the three."""

from __future__ import annotations

from einsplit.autodiff.kernels.call import Call, Rule


def _rule(first: str, second: str, turned: tuple[bool, bool]) -> Rule:
    """Adjoint of the first operand by kernel `first` of (adjoint, second), of the second by `second` likewise.

    `turned` says whether that kernel takes the adjoint behind the other operand.
    """

    def adjoint(call: Call, k: int) -> int:
        operands = [call.bar, call.given(1 - k)]
        if turned[k]:
            operands.reverse()
        return call.apply((first, second)[k], call.attributes, operands, call.node.reads[k])

    return adjoint


# Their operands: (input, weight) -> output; (output, weight) -> input; (input, output) -> weight.
RULES: dict[str, Rule] = {
    "convolution": _rule("convolution_input", "convolution_weight", (False, True)),
    "convolution_input": _rule("convolution", "convolution_weight", (False, False)),
    "convolution_weight": _rule("convolution_input", "convolution", (True, True)),
}
