"""What of torch is read here although it is not public: one place, and a test that tells when it moves.

torch.export records operators as objects of a class that has no public name, and whether an operator writes into its
arguments stands in its schema. Operators that Python registers get an autograd function of a name of torch's own, and
the autograd function that torch makes of a user's class keeps that class.
"""

from __future__ import annotations

import torch

Operator = torch._ops.OpOverload


def writes_in_place(operator: object) -> bool:
    """Whether it is an operator that writes into an argument."""
    return isinstance(operator, Operator) and bool(operator._schema.is_mutable)


def is_of_registered_operator(function: type) -> bool:
    """Whether an autograd function is the one that torch.library made for an operator."""
    return function.__name__.startswith("GeneratedBackwardFor_")


def users_function(function: type) -> type:
    """The torch.autograd.Function that the user wrote, of the class of a `grad_fn` that torch made for it."""
    written: type = getattr(function, "_forward_cls", function)
    return written
