"""From calls on values that are not there yet to a Graph.

`extents` and `views` keep dimensions as their finest factors, `build` collects nodes, `settle` names the labels.
"""

from einsplit.builder.build import Builder, variable_index
from einsplit.builder.views import Value
from einsplit.draft import Origin

__all__ = ["Builder", "Origin", "Value", "variable_index"]
