"""Words that must move, whatever the plan: communication lower bounds of single operations, and who attains them."""

from einsplit.solver.bounds.einsum import words_lower_bound
from einsplit.solver.bounds.grid import Grid, best_integer_grid
from einsplit.solver.bounds.words import CAVEATS, NodeWords, node_words, plan_words

__all__ = ["CAVEATS", "Grid", "NodeWords", "best_integer_grid", "node_words", "plan_words", "words_lower_bound"]
