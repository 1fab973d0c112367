"""Whether a plan is what it says: judged from the file and the graph alone, by means that the search does not have."""

from einsplit.solver.check.checks import check_plan
from einsplit.solver.check.faults import Check, Fault

__all__ = ["Check", "Fault", "check_plan"]
