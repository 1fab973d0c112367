"""Plan -> Program: the instructions that every device runs, all that the runtime knows of the solver."""

from einsplit.solver.pricing.collectives import CollectiveKind, piece_elements, reduces_by_gather
from einsplit.solver.program.instructions import (
    Buffer,
    Collective,
    Compute,
    Digit,
    Extent,
    Free,
    Instruction,
    Key,
    Mask,
    Port,
    Program,
    Result,
    Slice,
    Zero,
)

__all__ = [
    "Buffer",
    "Collective",
    "CollectiveKind",
    "Compute",
    "Digit",
    "Extent",
    "Free",
    "Instruction",
    "Key",
    "Mask",
    "Port",
    "Program",
    "Result",
    "Slice",
    "Zero",
    "piece_elements",
    "reduces_by_gather",
]
