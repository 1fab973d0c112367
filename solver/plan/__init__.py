"""What was chosen, at what price, and why: the Plan, its file, its table."""

from einsplit.solver.plan.format import FORMAT, NodePlan, Plan, Status, decode_plan, realise
from einsplit.solver.plan.words import Words

__all__ = ["FORMAT", "NodePlan", "Plan", "Status", "Words", "decode_plan", "realise"]
