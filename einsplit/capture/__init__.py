"""torch program -> Graph: `capture` gives the Graph, the tensors it reads, and how to call it like the original."""

from einsplit.capture.captured import Captured, capture

__all__ = ["Captured", "capture"]
