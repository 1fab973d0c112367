"""Passes Graph -> Graph that leave every output and update what it was."""

from __future__ import annotations

from einsplit.graph import Graph
from einsplit.passes.attention import spell_attention
from einsplit.passes.common import content, merge_equal
from einsplit.passes.constants import inline_constants
from einsplit.passes.dead import drop_dead
from einsplit.passes.stops import drop_stops
from einsplit.passes.views import read_through

__all__ = [
    "content",
    "drop_dead",
    "drop_stops",
    "inline_constants",
    "merge_equal",
    "read_through",
    "spell_attention",
    "tidy",
]


def tidy(graph: Graph) -> Graph:
    """The graph smaller; what may be differentiated still keeps its stops."""
    return drop_dead(merge_equal(read_through(inline_constants(graph))))
