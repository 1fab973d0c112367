"""Repeated layers are one in the search: what it prices is what all of them cost, at any depth."""

from __future__ import annotations

from functools import cache
from random import Random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from einsplit.autodiff import grad
from einsplit.capture import capture
from einsplit.graph import Graph, Input
from einsplit.passes import tidy
from einsplit.solver.contraction.tropical import minimise
from einsplit.solver.prepare import prepare
from einsplit.solver.problem import fold as folding
from einsplit.solver.problem.memo import Memo
from einsplit.solver.problem.network import network
from einsplit.solver.problem.problem import Folded
from einsplit.solver.search.starts import digit_tables
from tests.support.cuttings import random_machine
from tests.support.searches import swept, whole

WIDTH, HEADS = 16, 4


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.other_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.mixed = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        x = x + self.mixed(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.other_norm(x))))


@cache
def training(num_layers: int) -> Graph:
    """A stack of layers between an embedding and a head, with the gradients by all weights."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Embedding(32, WIDTH), *(Layer() for _ in range(num_layers)), nn.Linear(WIDTH, 32))
        ids = torch.zeros((4, 8), dtype=torch.int64)
    captured = capture(lambda ids: F.cross_entropy(model(ids).flatten(0, 1), ids.flatten()), (ids,), {})
    names = [name for name, tensor in captured.tensors.items() if tensor.requires_grad]
    return prepare(tidy(grad(tidy(captured.graph), "output", names)))


def start(graph: Graph, mesh: tuple[int, ...], seed: int) -> Folded:
    machine = random_machine(Random(seed), mesh)
    return whole(graph, machine, digit_tables(graph, machine, Memo(graph, machine).classes)[0])


def test_the_number_of_variables_does_not_depend_on_the_number_of_layers() -> None:
    found = {n: len(start(training(n), (2,), 0).problem.memo.folding.members) for n in (4, 5, 8)}
    assert found[4] == found[5] == found[8] < len(training(4).nodes) / 2


def test_every_layers_weight_is_of_one_class_with_its_like_and_with_nothing_else() -> None:
    graph = training(4)
    classes = start(graph, (2,), 0).problem.memo.folding.members
    for members in classes:
        names = [graph.nodes[at].name for at in members if isinstance(graph.nodes[at], Input)]
        kinds = {name.split(".", 1)[-1].partition(".")[2] for name in names}
        assert len(kinds) <= 1 and len(names) in (0, 1, 4), names


def priced(found: Folded) -> float:
    """Seconds of the plan, node by node."""
    every = found.spread()
    assert every.seconds == pytest.approx(every.problem.price(every.shardings).seconds, rel=1e-9)
    return every.seconds


@pytest.mark.parametrize("mesh", [(2,), (4,), (2, 2)], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_the_network_prices_what_the_whole_plan_costs(mesh: tuple[int, ...], seed: int) -> None:
    random, found = Random(seed), start(training(4), mesh, seed)
    for group in [(axis,) for axis in range(len(mesh))] * 2:
        of = network(found, group, alike=False)
        optimum = minimise(of.num_options, of.tables)
        assert priced(of.plan(optimum.choices)) == pytest.approx(optimum.price, rel=1e-9)
        chosen = [random.randrange(count) for count in of.num_options]
        price = sum(float(table.prices[tuple(chosen[v] for v in table.variables)]) for table in of.tables)
        assert priced(of.plan(chosen)) == pytest.approx(price, rel=1e-9)
        found = of.plan(chosen)


@pytest.mark.parametrize("seed", range(3))
def test_layers_cut_alike_are_hardly_dearer_than_layers_cut_each_on_its_own(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, machine = training(3), random_machine(Random(seed), (2,))
    folded = swept(graph, machine)
    monkeypatch.setattr(folding, "MIN_NODES", len(graph.nodes) + 1)
    assert Memo(graph, machine).folding.is_trivial
    alone = swept(graph, machine)
    assert alone.seconds * (1 - 1e-9) <= folded.seconds <= alone.seconds * 1.02
