"""The plans that experts would write down, as rivals under the same price, and as starts of a search.

Each is a restriction of what mesh axes may do at nodes, completed by sweeps: on any Graph, by what its extent classes
are, never by a name. An expert whose kind of plan a graph has nothing for says so.
"""

from einsplit.solver.published.experts.plain import all_whole, data_parallel
from einsplit.solver.published.experts.plans import EXPERTS, Expert, Suited, Unsuited, expert_plans

__all__ = ["EXPERTS", "Expert", "Suited", "Unsuited", "all_whole", "data_parallel", "expert_plans"]
