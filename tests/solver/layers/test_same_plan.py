"""What is planned by a short form is the plan of the whole graph, to the byte and the row."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from einsplit.capture import capture
from einsplit.graph import Graph
from einsplit.optim import Group
from einsplit.solver.plan import Plan
from einsplit.solver.prepare import prepare
from einsplit.solver.problem.fold import MIN_NODES
from einsplit.training.graph import train_graph
from tests.solver.layers.compare import Refused, check_same, planned, shortened, some_machine
from tests.solver.layers.nets import (
    OPTIMIZERS,
    Block,
    Updates,
    alternating,
    averaged,
    chained,
    conditioned,
    delayed,
    fed,
    handed_on,
    overwritten,
    residual,
    stack,
    stacked,
    stateful,
    tied,
)
from tests.solver.test_fold import WIDTH, Layer

MESHES = ((2,), (4,), (2, 2), (2, 3))
SLOW = pytest.mark.slow

# By what a layer is: one of it, and of how many layers a net is for so much to be folded as inference and when trained.
BLOCKS: dict[str, tuple[Callable[[], Block], int, int]] = {
    "residual": (lambda: residual, 40, 12),
    "chained": (lambda: chained, 140, 34),
    "alternating": (lambda: alternating, 56, 20),
    "tied": (tied, 60, 0),  # the gradient of a weight that all layers read is one sum over all of them
    "conditioned": (conditioned, 54, 0),
    "fed": (lambda: fed, 40, 12),
}
CASES = [(name, "inference") for name in BLOCKS] + [
    (name, use) for name, (_, _, trained) in BLOCKS.items() if trained for use in OPTIMIZERS
]
# Every case on one of the meshes; on all others where there is time.
ON_ONE = [MESHES[number % 2 if use != "inference" else number % 4] for number, (_, use) in enumerate(CASES)]


@cache
def net(name: str, use: str) -> Graph:
    block, in_inference, in_training = BLOCKS[name]
    return stacked(stack(block(), in_inference if use == "inference" else in_training), use)


@cache
def attention(use: str) -> Graph:
    """Layers of torch modules between an embedding and a head, their logits or a train step."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Embedding(32, WIDTH), *(Layer() for _ in range(12)), nn.Linear(WIDTH, 32))
        ids = torch.zeros((4, 8), dtype=torch.int64)
    if use == "inference":
        return capture(model, (ids,), {}).graph
    captured = capture(lambda ids: F.cross_entropy(model(ids).flatten(0, 1), ids.flatten()), (ids,), {})
    names = tuple(name for name, tensor in captured.tensors.items() if tensor.requires_grad)
    return train_graph(captured.graph, [Group(OPTIMIZERS[use], names, "rate")])


def check(graph: Graph, seed: int, mesh: tuple[int, ...]) -> None:
    assert len(prepare(graph).nodes) >= MIN_NODES  # a whole graph is folded from there on
    shortened(graph)
    assert isinstance(check_same(graph, some_machine(seed, mesh)), Plan)


@pytest.mark.parametrize(("case", "mesh"), [
    pytest.param(case, mesh, marks=[] if mesh == on_one and case[1] != "AdamW" else SLOW)
    for case, on_one in zip(CASES, ON_ONE, strict=True) for mesh in MESHES
], ids=str)  # fmt: skip
def test_equal_layers_are_planned_as_in_the_whole_graph(case: tuple[str, str], mesh: tuple[int, ...]) -> None:
    check(net(*case), 10 * CASES.index(case) + MESHES.index(mesh), mesh)


@pytest.mark.parametrize("mesh", [(2,), pytest.param((2, 2), marks=SLOW)], ids=str)
@pytest.mark.parametrize("use", ["inference", pytest.param("SGD", marks=SLOW), pytest.param("AdamW", marks=SLOW)])
def test_captured_layers_of_attention_are_planned_as_in_the_whole_graph(use: str, mesh: tuple[int, ...]) -> None:
    check(attention(use), 3, mesh)


@pytest.mark.parametrize("mesh", [(4,), *(pytest.param(mesh, marks=SLOW) for mesh in ((2,), (2, 2), (2, 3)))], ids=str)
@pytest.mark.parametrize("make", [averaged, handed_on, delayed, overwritten], ids=lambda make: make.__name__)
def test_layers_with_state_are_planned_as_in_the_whole_graph(
    make: Callable[[Updates], Block], mesh: tuple[int, ...]
) -> None:
    check(stateful(make, "inference", 60), 7 + MESHES.index(mesh), mesh)


# ------------------------------------------------------------------------------------------------------- memory


BOUND = [("residual", "AdamW", (2,)), ("chained", "momentum", (4,)), ("conditioned", "inference", (4,))]
BOUND_ON_TWO = [("residual", "SGD", (2, 2)), ("alternating", "SGD", (2, 3)), ("tied", "inference", (2, 2))]


@pytest.mark.parametrize(("name", "use", "mesh", "share"), [
    *((*BOUND[number % 3], share) for number, share in enumerate((0.9, 0.8, 0.6))),
    *(pytest.param(*case, share, marks=SLOW) for case in BOUND + BOUND_ON_TWO for share in (0.95, 0.85, 0.7, 0.5)),
])  # fmt: skip
def test_under_a_memory_limit_the_plan_or_the_refusal_is_that_of_the_whole_graph(
    name: str, use: str, mesh: tuple[int, ...], share: float
) -> None:
    graph, on = net(name, use), some_machine(len(name), mesh)
    free = planned(graph, on)
    assert isinstance(free, Plan)
    found = check_same(graph, on, int(share * free.peak_bytes))
    assert isinstance(found, Refused) or found.peak_bytes <= share * free.peak_bytes
