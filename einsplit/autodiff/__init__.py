"""Gradients as einsums: a pass Graph -> Graph."""

from einsplit.autodiff.grad import grad, gradient_name

__all__ = ["grad", "gradient_name"]
