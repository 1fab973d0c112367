"""What of torch is read here although it is not public: one place, and a test that tells when it moves.

torch.export records operators as objects of a class that has no public name, and whether an operator writes into its
arguments stands in its schema. Operators that Python registers get an autograd function of a name of torch's own, and
the autograd function that torch makes of a user's class keeps that class. Autograd counts the writes to a tensor and
knows of which tensor one is a view; hooks that wait for gradients stand in attributes of tensors and modules.
"""

from __future__ import annotations

import torch
from torch.distributions import Distribution

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


GRADIENT_TRANSFORMS = "torch._functorch.eager_transforms"  # the module of torch.func.grad, vjp, jacrev and their like
VALIDATES_SAMPLE = Distribution._validate_sample

# By attribute, what registers hooks in it.
TENSOR_HOOKS = {
    "_backward_hooks": "register_hook",
    "_post_accumulate_grad_hooks": "register_post_accumulate_grad_hook",
}
MODULE_HOOKS = {
    "_backward_hooks": "register_full_backward_hook",
    "_backward_pre_hooks": "register_full_backward_pre_hook",
}


def num_writes(tensor: torch.Tensor) -> int:
    """How often autograd has seen the tensor, or what it is a view of, written in place."""
    return tensor._version


def viewed(tensor: torch.Tensor) -> torch.Tensor | None:
    """The tensor that autograd takes this one for a view of."""
    return tensor._base if tensor._is_view() else None
