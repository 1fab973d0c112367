"""Planning measured: how fast it is, how far from the best its plans may be, and what rivals' plans cost.

models      what is planned: models by their configs, shapes, training or not
machines    what it is planned for
fast        processes that plan one thing once, for their seconds and their peak of memory
case        one model on one machine: our plan, its bound, every rival's price
run         processes that plan one model on all machines; what they find is kept as lines of JSON
tables      the lines as tables
"""

from __future__ import annotations

from benchmarks.report import Table

TITLE = "Planning: fast, near to the best, never worse than a rival"


def measure(quick: bool) -> list[Table]:
    """The tables of the result file; `quick` only sees that everything runs."""
    # Not above: rooms of this package are processes of their own, too, and may not be loaded before they are run.
    from benchmarks.planning.measure import everything

    return everything(quick)
