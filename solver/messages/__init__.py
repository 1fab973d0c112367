"""Bounds and plans of a network of tables by messages: what is left when variables of few neighbours are eliminated."""

from einsplit.solver.messages.core import Core, core_of
from einsplit.solver.messages.passing import Passing

__all__ = ["Core", "Passing", "core_of"]
