"""Attention and its gradients as a graph, and its kernels cut by labels that are called by what they are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa

from einsplit.autodiff import grad
from einsplit.capture import capture
from einsplit.graph import Graph, Kernel, Label
from einsplit.passes import tidy
from einsplit.solver.machine import Machine
from einsplit.solver.prepare import prepare
from einsplit.solver.problem.problem import Problem
from einsplit.solver.sharding import Sharding, extent_classes, make_tables
from tests.support.cuttings import Cutting

ROLES = ("batch", "head", "repeat", "query", "key", None)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, do: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Causal attention of two heads for each head of keys."""
    o = sdpa(q, k, v, is_causal=True, enable_gqa=True)
    return o, (o * do).sum()


def differentiated(*shapes: tuple[int, ...]) -> Graph:
    """The prepared graph of `attend` and of its gradients, without the sum that was differentiated."""
    captured = capture(attend, tuple(torch.zeros(shape, dtype=torch.float64) for shape in shapes), {})
    found = tidy(grad(tidy(captured.graph), "output_1", captured.feeds[:3]))
    return prepare(Graph(found.nodes, found.sizes, tuple(row for row in found.outputs if row[0] != "output_1")))


def label_of(graph: Graph, role: str | None) -> Label | None:
    """The label of all kernels of attention that has the role."""
    node = next(node for node in graph.nodes if isinstance(node, Kernel))
    ((batch,), (head, repeat), (i,), _), (_, _, (j,), _) = node.reads[:2]
    return {"batch": batch, "head": head, "repeat": repeat, "query": i, "key": j, None: None}[role]


def cutting(graph: Graph, machine: Machine, roles: Mapping[str, tuple[str | None, ...]]) -> Cutting:
    """Kernels by name cut by role, for each axis one; all else that has the first kernel's label is cut by it too."""
    axes = range(len(machine.axes))
    tables = make_tables(graph, machine.sizes, dict.fromkeys(extent_classes(graph).values(), axes))
    problem = Problem(graph, machine, tables)
    shardings: list[Sharding] = []
    for at, node in enumerate(graph.nodes):
        labels = [label_of(graph, role) for role in roles[node.kernel if isinstance(node, Kernel) else "attention"]]
        shardings.append(tuple(label if label in problem.choices(at, k) else None for k, label in enumerate(labels)))
    return Cutting(problem, tuple(shardings))


def alike(*roles: str | None) -> dict[str, tuple[str | None, ...]]:
    return dict.fromkeys(("attention", "attention_values", "attention_gradient"), roles)
