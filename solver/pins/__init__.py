"""Pins: what a user fixes of a plan, and what that leaves to the search. A pin is kept, or its error names it."""

from einsplit.solver.pins.apart import apart
from einsplit.solver.pins.kept import kept_from
from einsplit.solver.pins.limits import limits_of
from einsplit.solver.pins.tables import pinned_tables
from einsplit.solver.pins.text import GRAMMAR, KeptPin, LabelPin, LayoutPin, NodePin, Pin, as_pins, parse_pin, pin_key

__all__ = [
    "GRAMMAR",
    "KeptPin",
    "LabelPin",
    "LayoutPin",
    "NodePin",
    "Pin",
    "apart",
    "as_pins",
    "kept_from",
    "limits_of",
    "parse_pin",
    "pin_key",
    "pinned_tables",
]
