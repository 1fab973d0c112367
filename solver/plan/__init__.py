"""What was chosen, at what price, and why: the Plan, its file, its table."""

from einsplit.solver.plan.format import FORMAT, NodePlan, Plan, Status, decode_plan, realise

__all__ = ["FORMAT", "NodePlan", "Plan", "Status", "decode_plan", "realise"]
