"""Regions under no_grad, whose results hand no gradient on."""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node


def keep_stops(program: ExportedProgram) -> None:
    """Write `detach` behind every region under no_grad, in place: torch inlines regions when it rewrites a program."""
    for module in program.graph_module.modules():
        if isinstance(module, GraphModule):
            for node in [node for node in module.graph.nodes if _stops(node)]:
                for part in list(node.users):
                    _detach(module, part)


def _stops(node: Node) -> bool:
    return str(node.target) == "wrap_with_set_grad_enabled" and node.args[0] is False


def _detach(module: GraphModule, part: Node) -> None:
    """Whoever reads `part` reads it detached; it is an item of what a region returns."""
    value = part.meta.get("val")
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return
    with module.graph.inserting_after(part):
        stopped = module.graph.call_function(torch.ops.aten.detach.default, (part,))
    stopped.meta.update(part.meta)
    part.replace_all_uses_with(stopped, delete_user_cb=lambda user: user is not stopped)
