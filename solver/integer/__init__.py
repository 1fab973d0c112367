"""The integer program of a network of tables: the cheapest choices under side rows, and a bound, both checked."""

from einsplit.solver.integer.answer import Answer, Outcome, solve
from einsplit.solver.integer.reduce import Row

__all__ = ["Answer", "Outcome", "Row", "solve"]
