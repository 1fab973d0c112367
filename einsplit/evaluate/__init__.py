"""The meaning: whole tensors in numpy, the oracle of everything that plans, cuts and runs."""

from einsplit.evaluate.graph import evaluate
from einsplit.evaluate.join import Read, einsum_value

__all__ = ["Read", "einsum_value", "evaluate"]
