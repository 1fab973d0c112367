"""Expr and its operands' dtypes -> the type of every part (`rules`), and what is to be computed in order (`steps`)."""

from einsplit.scalar.typed.rules import Typing, is_weak
from einsplit.scalar.typed.steps import Step, result_dtype, typed_steps

__all__ = ["Step", "Typing", "is_weak", "result_dtype", "typed_steps"]
