"""Layers that are not all alike, or are read from without: no short form, or one whose plan is that of the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from einsplit.builder.views import Value
from einsplit.graph import Graph
from einsplit.optim import SGD
from einsplit.scalar import call, cast, const, operand
from einsplit.solver.layers.deep import deep
from einsplit.solver.plan import Plan
from einsplit.solver.prepare import computed
from tests.solver.known.cases import Net, acted, squares
from tests.solver.layers.compare import check_same, shortened, some_machine
from tests.solver.layers.nets import (
    BATCH,
    HIDDEN,
    RELU,
    WIDTH,
    Block,
    added,
    averaged,
    chained,
    handed_on,
    product,
    residual,
    stack,
    stacked,
    stateful,
    tied,
    trained,
)
from tests.support.spelled import spelled

LAYERS, MIDDLE = 24, 12


def but_one(other: Block, at: int = MIDDLE, block: Block = residual) -> Block:
    """All layers alike but for one."""
    return lambda net, x, layer: (other if layer == at else block)(net, x, layer)


def other_activation(net: Net, x: Value, layer: int) -> Value:
    return residual(net, x, layer, RELU)


def other_size(net: Net, x: Value, layer: int) -> Value:
    return residual(net, x, layer, hidden=HIDDEN + 16)


def scaled(factor: float) -> Block:
    """At a glance all of these are the same."""
    return lambda net, x, layer: residual(net, x, layer, call("tanh", operand(0) * const(factor)))


def tied_to_another() -> Block:
    """One layer in the middle has the weight of the third one."""
    known: dict[int, Value] = {}

    def block(net: Net, x: Value, layer: int) -> Value:
        weight = known[3] if layer == MIDDLE else net.weight(f"{layer}.w", WIDTH, HIDDEN)
        known[layer] = weight
        up = acted("b f", product(x, weight))
        return added(x, product(up, net.weight(f"{layer}.down", HIDDEN, WIDTH)))

    return block


def wider(net: Net, x: Value, layer: int) -> Value:
    """Of float64 inside."""
    up = acted("b f", product(x, net.weight(f"{layer}.up", WIDTH, HIDDEN)), cast(operand(0), "float64"))
    return added(x, product(acted("b f", up, cast(operand(0), "float32")), net.weight(f"{layer}.down", HIDDEN, WIDTH)))


def over_two() -> Block:
    """Every layer reads the one before the last, too."""
    before: list[Value] = []

    def block(net: Net, x: Value, layer: int) -> Value:
        before.append(x)
        return residual(net, added(x, before[max(0, layer - 2)]), layer)

    return block


def ringed(at: int) -> Callable[[Net], Value]:
    """A chain of matrices whose last width is that of another one, too: a label shared far apart."""

    def make(net: Net) -> Value:
        x, kept = net.data("x", BATCH, WIDTH), []
        for layer in range(LAYERS):
            x = chained(net, x, layer)
            kept.append(x)
        return added(x, kept[at])

    return make


def with_outputs(of: Callable[[int], bool]) -> Graph:
    """Hidden states of some layers are outputs, too."""
    net, outputs = Net(), {}
    x = net.data("x", BATCH, WIDTH)
    for layer in range(LAYERS):
        x = residual(net, x, layer)
        if of(layer):
            outputs[f"hidden{layer}"] = x
    return net.builder.build({**outputs, "y": acted("b d", x)})


def with_losses(at_once: bool, of: Callable[[int], bool] = lambda layer: True) -> Graph:
    """Layers have losses of their own: added up one by one, or all together by one node that reads them all."""
    net, losses = Net(), []
    x = net.data("x", BATCH, WIDTH)
    for layer in range(10 if at_once else LAYERS):
        x = residual(net, x, layer)
        if of(layer):
            losses.append(spelled("b d -> ", x, join=operand(0) * call("tanh", operand(0))))
    loss = squares("b d", x)
    if at_once:
        join = operand(0)
        for number in range(1, len(losses) + 1):
            join = join + operand(number)
        text = ", ".join([""] * (len(losses) + 1))
        loss = spelled(f"{text} -> ", loss, *losses, join=join)
    else:
        for other in losses:
            loss = spelled(", -> ", loss, other, join=operand(0) + const(0.01) * operand(1))
    return trained(net, loss, SGD(lr=0.1))


SHORTENED: dict[str, Callable[[], Graph]] = {  # as far as layers are alike
    "another activation": lambda: stacked(stack(but_one(other_activation), LAYERS), "inference"),
    "another size": lambda: stacked(stack(but_one(other_size), LAYERS), "inference"),
    "another size, trained": lambda: stacked(stack(but_one(other_size), LAYERS), "SGD"),
    "another dtype": lambda: stacked(stack(but_one(wider), LAYERS), "inference"),
    "another near the beginning": lambda: stacked(stack(but_one(other_activation, 1), 14), "SGD"),
    "another near the end": lambda: stacked(stack(but_one(other_activation, 12), 14), "SGD"),
    "another constant at the beginning": lambda: stacked(stack(but_one(scaled(2.0), 0, scaled(3.0)), 16), "SGD"),
    "another constant at the end": lambda: stacked(stack(but_one(scaled(2.0), 15, scaled(3.0)), 16), "SGD"),
    "an output at the beginning": lambda: with_outputs(lambda layer: layer == 0),
    "labels shared by the ends": lambda: stacked(ringed(0), "inference"),
}
REFUSED: dict[str, Callable[[], Graph]] = {
    "all are outputs": lambda: with_outputs(lambda layer: True),
    "every third one is an output": lambda: with_outputs(lambda layer: layer % 3 == 0),
    "a node reads all": lambda: with_losses(at_once=True),
    "another constant": lambda: stacked(stack(but_one(scaled(2.0), MIDDLE, scaled(3.0)), LAYERS), "inference"),
    "too few": lambda: stacked(stack(residual, 5), "SGD"),
    "the last but one is read": lambda: stacked(stack(over_two(), LAYERS), "inference"),
    "the gradient of one weight is of all": lambda: stacked(stack(tied(), 12), "SGD"),
    "updates of a layer stand apart": lambda: stateful(averaged, "SGD", 12),
}
EITHER: dict[str, Callable[[], Graph]] = {
    "an output at the end": lambda: with_outputs(lambda layer: layer == LAYERS - 1),
    "an output near the end": lambda: with_outputs(lambda layer: layer == LAYERS - 2),
    "an output near the beginning": lambda: with_outputs(lambda layer: layer == 1),
    "an output in the middle": lambda: with_outputs(lambda layer: layer == MIDDLE),
    "labels shared with the second": lambda: stacked(ringed(1), "inference"),
    "labels shared with the third": lambda: stacked(ringed(2), "SGD"),
    "labels shared with the middle": lambda: stacked(ringed(MIDDLE), "SGD"),
    "another activation, trained": lambda: stacked(stack(but_one(other_activation), LAYERS), "SGD"),
    "a tied weight": lambda: stacked(stack(tied_to_another(), LAYERS), "inference"),
    "a tied weight, trained": lambda: stacked(stack(tied_to_another(), LAYERS), "SGD"),
    "losses one by one": lambda: with_losses(at_once=False),
    "losses of every third": lambda: with_losses(False, lambda layer: layer % 3 == 0),
    "state handed on, trained": lambda: stateful(handed_on, "SGD", 14),
    "another dtype, trained": lambda: stacked(stack(but_one(wider), LAYERS), "momentum"),
}


SLOW = {"another size, trained", "another activation, trained", "losses one by one", "another constant at the end"}


def seldom(names: Iterable[str]) -> list[object]:
    """Those that take long only where there is time."""
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in names]


@pytest.fixture(autouse=True)
def small_graphs_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("einsplit.solver.problem.fold.MIN_NODES", 0)


@pytest.mark.parametrize("name", seldom(SHORTENED))
def test_layers_beside_one_that_is_unlike_them_are_planned_as_in_the_whole_graph(name: str) -> None:
    graph = SHORTENED[name]()
    shortened(graph)
    check(graph, name)


@pytest.mark.parametrize("name", seldom(EITHER))
def test_where_layers_are_tied_to_something_far_the_plan_is_that_of_the_whole_graph(name: str) -> None:
    check(EITHER[name](), name)


@pytest.mark.parametrize("name", REFUSED)
def test_where_layers_are_read_from_without_or_are_too_few_there_is_no_short_form(name: str) -> None:
    graph = REFUSED[name]()
    assert deep(computed(graph)) is None


def check(graph: Graph, name: str) -> None:
    mesh = ((2,), (4,))[len(name) % 2]
    assert isinstance(check_same(graph, some_machine(len(name), mesh)), Plan)
