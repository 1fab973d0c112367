"""`@parallelize`: a function or module that runs on all devices, and otherwise behaves as it did."""

from einsplit.parallelized.door import parallelize
from einsplit.parallelized.wrapper import MAX_SESSIONS, Parallelized

__all__ = ["MAX_SESSIONS", "Parallelized", "parallelize"]
