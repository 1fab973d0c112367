"""Products of matrices of truth values: torch traces them and then computes none, so they are refused."""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from einsplit.capture.export.writes import nodes_in
from einsplit.capture.sources import capture_error, line_of_node

_PRODUCTS = frozenset(
    f"aten.{name}.default"
    for name in ("matmul", "mm", "bmm", "mv", "dot", "inner", "linear", "tensordot", "addmm", "baddbmm", "addmv")
)


def refuse_products_of_bool(program: ExportedProgram) -> None:
    """Raise CaptureError, with the user's line, where matrices or vectors of bool are multiplied."""
    for node in nodes_in(program.graph_module):
        if str(node.target) in _PRODUCTS and any(map(_is_bool, node.all_input_nodes)):
            message = f"{node.target} of bool is traced by torch, which then refuses to compute it"
            advice = "Cast first: x.float() @ y.float(), or (x.long() @ y.long()) > 0."
            raise capture_error(message, line_of_node(node), advice)


def _is_bool(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype == torch.bool
