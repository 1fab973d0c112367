"""Mixture of experts: grouped products are einsums with an expert label, equal to torch's on any cutting."""

from __future__ import annotations

from random import Random

import pytest
import torch
from torch.nn import functional as F
from transformers import MixtralConfig, MixtralForCausalLM

from einsplit.autodiff import grad, gradient_name
from einsplit.capture import capture
from einsplit.graph import Einsum, Graph, Kernel
from einsplit.passes import tidy
from einsplit.runtime.local import LocalSession
from einsplit.solver.prepare import prepare
from einsplit.solver.pricing.forms import form, operations
from einsplit.solver.problem.problem import Problem, Solution
from einsplit.solver.program import Compute
from einsplit.solver.program.lower import lower
from einsplit.solver.sharding import Sharding, cuttable_labels, extent_classes, make_tables
from tests.capture.driver import check, keen, kernels
from tests.capture.gradients import check_gradients
from tests.capture.tensors import real
from tests.support.cuttings import random_cutting

FLOAT32 = 1e-5
HALF = 3e-2  # of the largest gradient: torch's own adjoints are rounded at other places
ENDS = torch.tensor([2, 2, 7, 7], dtype=torch.int32)  # two experts have no row, and one row has no expert


def product_of_rows(x: torch.Tensor, y: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    return torch.ops.transformers.grouped_mm_fallback(x, y, ends)


def example(rows: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows, the matrices of four experts, and the ends of their rows."""
    return real(rows, 6, dtype=torch.float64), real(4, 6, 5, dtype=torch.float64), ENDS


def test_rows_times_their_experts_matrix_are_those_of_torch_on_any_cutting() -> None:
    captured = check(product_of_rows, *example(), random_seeds=range(6))
    assert not kernels(captured)
    (node,) = [n for n in captured.graph.nodes if isinstance(n, Einsum) and len(n.operands) == 3]
    assert len(cuttable_labels(node)) == 4  # experts too
    graph = check_gradients(product_of_rows, *example())
    assert kinds(graph).count("grouped") == 3  # the product and its two adjoints


@pytest.mark.parametrize(
    "x, y",
    [
        pytest.param(real(8, 16), real(4, 16, 8), id="t d, e d f -> t f"),
        pytest.param(real(4, 8, 16), real(16, 8), id="e f d, d t -> f t"),
        pytest.param(real(16, 8), real(8, 16), id="d t, t f -> e d f"),
    ],
)
def test_torchs_own_grouped_product_of_every_shape(x: torch.Tensor, y: torch.Tensor) -> None:
    """Its last end is that of all rows: what torch gives behind it is anything."""
    args = (x.bfloat16(), y.bfloat16(), ENDS + torch.tensor([0, 0, 0, 1], dtype=torch.int32))
    captured = check(lambda x, y, ends: F.grouped_mm(x, y, offs=ends), *args, random_seeds=range(4))
    assert not kernels(captured)
    check_gradients(lambda x, y, ends: F.grouped_mm(x, y, offs=ends), *args, tolerance=HALF)


def test_products_of_batches_have_no_groups() -> None:
    captured = check(F.grouped_mm, real(4, 8, 16).bfloat16(), real(4, 16, 8).bfloat16())
    assert not kernels(captured)


def kinds(graph: Graph) -> list[str]:
    return [form(n, [graph.nodes[o.node].dtype for o in n.operands], graph.sizes).kind for n in graph.nodes]


def grouped_graph(args: tuple[torch.Tensor, ...]) -> tuple[Graph, int]:
    """A prepared graph of one grouped product, and where that stands."""
    graph = prepare(capture(product_of_rows, args, {}).graph)
    return graph, kinds(graph).index("grouped")


def test_a_grouped_product_costs_what_its_rows_cost() -> None:
    """2 t d f operations, and not e times as many; half of them where two devices share the experts."""
    graph, at = grouped_graph(example())
    node = graph.nodes[at]
    found = form(node, [graph.nodes[o.node].dtype for o in node.operands], graph.sizes)
    tables = make_tables(graph, (2,), {label: [0] for label in graph.sizes})
    whole = {label: tables[label].padded for label in graph.sizes}
    assert operations(node, found, whole, tables) == 2 * 8 * 6 * 6
    for label in cuttable_labels(node):
        halved = {**whole, label: whole[label] // 2}
        assert operations(node, found, halved, tables) == 8 * 6 * 6, label


@pytest.mark.parametrize("mesh", [(2,), (3,), (2, 2)], ids=str)
def test_experts_cut_over_devices(mesh: tuple[int, ...]) -> None:
    """Every axis cuts the experts; 4 of them over 3 devices are padded to 6."""
    args = example()
    graph, at = grouped_graph(args)
    axes = tuple(range(len(mesh)))
    (expert,) = form(graph.nodes[at], ["float64", "float64", "int64"], graph.sizes).chosen
    classes = extent_classes(graph)
    problem = Problem(graph, keen(*mesh), make_tables(graph, mesh, {classes[expert]: axes}))
    whole: Sharding = tuple(None for _ in mesh)
    shardings = [tuple(expert for _ in mesh) if k == at else whole for k in range(len(graph.nodes))]
    program = lower(Solution(problem, tuple(shardings), 0.0))
    (step,) = [s for s in program.instructions if isinstance(s, Compute) and s.kind == "grouped"]
    assert step.operations == 2 * 8 * 6 * 5 // program.num_devices
    with LocalSession(program, timeout_seconds=60) as session:
        (found,) = session.step(dict(zip(program.feeds, args, strict=True))).values()
    torch.testing.assert_close(found, product_of_rows(*args), rtol=0, atol=1e-12)


HEAVY = 4096  # operations: the least product of the model has more


def test_mixtral_and_its_gradients_are_those_of_torch_whole_and_cut() -> None:
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        use_cache=False,
    )
    model = MixtralForCausalLM(config).eval()
    ids = torch.randint(3, 64, (2, 8))

    def loss(ids: torch.Tensor) -> torch.Tensor:
        return model(input_ids=ids, labels=ids).loss

    wanted = loss(ids)
    wanted.backward()
    captured = capture(loss, (ids,), {})
    names = [name for name, tensor in captured.tensors.items() if tensor.requires_grad]
    graph = prepare(tidy(grad(tidy(captured.graph), "output", names)))
    assert kinds(graph).count("grouped") == 12  # two products of each layer, and their adjoints
    for node in graph.nodes:
        assert not isinstance(node, Kernel) or cuttable_labels(node) or node.operations < HEAVY, node
    for seed, mesh in enumerate([(), (2, 2), (3,)]):
        program = random_cutting(Random(seed), graph, keen(*mesh)).program
        with LocalSession(program, timeout_seconds=120) as session:
            for name in program.parameters:
                session.put(name, captured.tensors[name].detach())
            found = session.step(dict(zip(captured.feeds, [ids], strict=True)))
        torch.testing.assert_close(found["output"], wanted.detach(), rtol=0, atol=FLOAT32)
        for name in names:
            torch.testing.assert_close(
                found[gradient_name("output", name)], captured.tensors[name].grad, rtol=0, atol=FLOAT32, msg=name
            )
