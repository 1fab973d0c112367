"""A true plan has no fault, however it came about."""

from __future__ import annotations

import ast
from pathlib import Path
from random import Random

import pytest
import torch

from einsplit.autodiff import grad
from einsplit.capture import capture
from einsplit.graph import Graph
from einsplit.passes import tidy
from einsplit.solver.check import check_plan
from einsplit.solver.planner import METHODS, make_plan
from einsplit.solver.published.experts import EXPERTS, Unsuited
from tests.doors.graphs import machine, mlp_graph
from tests.solver.check.plans import any_machine, random_plan, wrong
from tests.support.attention import differentiated
from tests.support.cuttings import MESHES
from tests.support.graphs import random_case

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("mesh", MESHES, ids=str)
def test_any_legal_plan_of_a_random_program_is_sound(mesh):
    random = Random(sum(mesh))
    for _ in range(25):
        graph = random_case(random, exact=random.random() < 0.5, num_nodes=6).graph
        for _ in range(2):
            plan = random_plan(random, graph, any_machine(random, mesh))
            checks = check_plan(plan, graph)
            assert all(row.verdict == "ok" for row in checks), (graph, plan.digits, plan.machine, wrong(checks))


@pytest.mark.parametrize("method", METHODS)
def test_what_every_method_plans_is_sound(method):
    graph = mlp_graph()
    try:
        plan = make_plan(graph, machine(2), method)
    except Unsuited:
        assert method in EXPERTS  # whose kind of plan this graph has nothing for
        return
    assert wrong(check_plan(plan, graph)) == {}


def trained() -> Graph:
    """A convolution, an embedding and experts by a key, with their gradients and an update."""
    torch.manual_seed(0)
    image, kernel = torch.randn(2, 4, 8, 8), torch.randn(8, 4, 3, 3)
    ids, table = torch.randint(0, 16, (2, 6)), torch.randn(16, 8)
    rows, experts = torch.randn(8, 16).bfloat16(), torch.randn(4, 16, 8).bfloat16()
    ends = torch.tensor([2, 2, 7, 8], dtype=torch.int32)

    def loss(image, kernel, ids, table, rows, experts, ends):
        seen = torch.nn.functional.conv2d(image, kernel, padding=1).mean((2, 3))
        read = torch.nn.functional.embedding(ids, table).mean(1)
        routed = torch.nn.functional.grouped_mm(rows, experts, offs=ends).float()
        return (torch.softmax(seen + read, -1) * routed[:2]).sum() + routed.square().sum()

    captured = capture(loss, (image, kernel, ids, table, rows, experts, ends), {})
    feeds = [captured.feeds[k] for k in (1, 3, 5)]
    return tidy(grad(tidy(captured.graph), "output", feeds))


def attended() -> Graph:
    return differentiated((2, 4, 8, 4), (2, 2, 8, 4), (2, 2, 8, 4), (2, 4, 8, 4))


@pytest.mark.parametrize("graph", [trained, attended])
@pytest.mark.parametrize("mesh", [(2, 2), (3, 2), (8,)], ids=str)
def test_any_legal_plan_of_kernels_and_gradients_is_sound(graph, mesh):
    random, made = Random(graph.__name__), graph()
    for _ in range(4):
        plan = random_plan(random, made, any_machine(random, mesh))
        assert wrong(check_plan(plan, made)) == {}


def test_a_plan_for_thousands_of_devices_is_sound():
    graph = mlp_graph(4096, 4096)
    plan = make_plan(graph, machine(64, 64), "data-parallel")
    assert plan.bytes > 0 and wrong(check_plan(plan, graph)) == {}


TYPES_ONLY = {"Choice", "Sharding", "Sum"}  # of what the search's own description of shardings may be used


def test_the_checks_share_no_code_with_the_search_or_its_price():
    """Of the solver they know the Machine, the Plan, the graph that is planned, and how figures are printed."""
    known = ("einsplit.solver.check", "einsplit.solver.machine", "einsplit.solver.plan", "einsplit.solver.prepare")
    for path in sorted((ROOT / "solver" / "check").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.Import) or not any("solver" in name.name for name in node.names), path
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("einsplit.solver"):
                continue
            names, module = {name.name for name in node.names}, str(node.module)
            if module == "einsplit.solver.sharding":
                assert names <= TYPES_ONLY, path
            elif module == "einsplit.solver.plan":
                assert names <= {"Plan", "Status"}, path
            else:
                assert module.startswith((*known, "einsplit.solver.units")), f"{path} imports {module}"
