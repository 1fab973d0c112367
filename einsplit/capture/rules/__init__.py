"""One row per torch operator, by family; importing this package fills `einsplit.capture.reader.RULES`."""

from einsplit.capture.rules import (
    attention,
    bags,
    contract,
    convolution,
    experts,
    fresh,
    indexing,
    normal,
    notation,
    parts,
    pointwise,
    random,
    reduce,
    shape,
)
from einsplit.capture.rules.unknown import unknown

__all__ = [
    "attention",
    "bags",
    "contract",
    "convolution",
    "experts",
    "fresh",
    "indexing",
    "normal",
    "notation",
    "parts",
    "pointwise",
    "random",
    "reduce",
    "shape",
    "unknown",
]
