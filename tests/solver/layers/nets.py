"""Deep nets of small layers, and what is made of them: inference, gradients, train steps."""

from __future__ import annotations

from collections.abc import Callable

from einsplit.builder.views import Value
from einsplit.graph import Graph
from einsplit.optim import SGD, AdamW, Group, Optimizer
from einsplit.scalar import Expr, call, const, operand
from einsplit.training.graph import train_graph
from tests.solver.known.cases import Net, acted, squares
from tests.support.spelled import spelled

BATCH, WIDTH, HIDDEN = 8, 16, 32
RELU = call("max", operand(0), const(0.0))
OPTIMIZERS: dict[str, Optimizer] = {"SGD": SGD(lr=0.1), "momentum": SGD(lr=0.1, momentum=0.9), "AdamW": AdamW(lr=0.1)}

Block = Callable[[Net, Value, int], Value]


def stacked(make: Callable[[Net], Value], use: str) -> Graph:
    """The graph of a net: its inference, or a train step of an optimizer that makes the squares of its value small."""
    net = Net()
    y = make(net)
    if use == "inference":
        return net.inference(y)
    return trained(net, squares("b d", y), OPTIMIZERS[use])


def trained(net: Net, loss: Value, optimizer: Optimizer) -> Graph:
    return train_graph(net.builder.build({"loss": loss}), [Group(optimizer, tuple(net.names), "rate")])


def stack(block: Block, num_layers: int) -> Callable[[Net], Value]:
    """A net of so many blocks between two projections."""

    def make(net: Net) -> Value:
        x = product(net.data("x", BATCH, 12), net.weight("first", 12, WIDTH))
        for layer in range(num_layers):
            x = block(net, x, layer)
        return product(x, net.weight("last", x.shape[-1], 10))

    return make


def product(x: Value, w: Value) -> Value:
    return spelled("b d, d f -> b f", x, w)


def added(x: Value, y: Value) -> Value:
    return spelled("b d, b d -> b d", x, y, join=operand(0) + operand(1))


def normed(x: Value, scale: Value) -> Value:
    square = spelled("b d -> b", x, join=operand(0) * operand(0))
    of_row = spelled("b -> b", square, join=call("rsqrt", operand(0) + const(1e-6)))
    return spelled("b d, b, d -> b d", x, of_row, scale)


# ------------------------------------------------------------------------------------------------------- blocks


def residual(net: Net, x: Value, layer: int, join: Expr | None = None, hidden: int = HIDDEN) -> Value:
    """A norm, and a perceptron of one hidden layer beside the stream."""
    u = normed(x, net.weight(f"{layer}.scale", WIDTH))
    up = acted("b f", product(u, net.weight(f"{layer}.up", WIDTH, hidden)), join)
    return added(x, product(up, net.weight(f"{layer}.down", hidden, WIDTH)))


def chained(net: Net, x: Value, layer: int) -> Value:
    """A matrix: its hidden width is a label of the next layer too, and of no other."""
    return acted("b d", product(x, net.weight(f"{layer}.w", x.shape[-1], WIDTH)))


def alternating(net: Net, x: Value, layer: int) -> Value:
    """A perceptron in even layers; in odd ones a matrix with a gate."""
    if layer % 2 == 0:
        return residual(net, x, layer)
    gate = acted("b d", product(x, net.weight(f"{layer}.gate", WIDTH, WIDTH)), call("sigmoid", operand(0)))
    return spelled("b d, b d -> b d", x, gate)


def tied() -> Block:
    """Every layer reads one weight, and adds one vector."""
    shared: dict[str, Value] = {}

    def block(net: Net, x: Value, layer: int) -> Value:
        if not shared:
            shared.update(w=net.weight("shared.w", WIDTH, WIDTH), bias=net.weight("shared.bias", WIDTH))
        up = acted("b f", product(x, shared["w"]))
        down = product(up, net.weight(f"{layer}.down", WIDTH, WIDTH))
        return added(x, spelled("b d, d -> b d", down, shared["bias"], join=operand(0) + operand(1)))

    return block


def conditioned() -> Block:
    """Every layer reads one value that is computed from what is fed."""
    shared: dict[str, Value] = {}

    def block(net: Net, x: Value, layer: int) -> Value:
        if not shared:
            shared["of"] = acted("b d", product(net.data("given", BATCH, 6), net.weight("given.w", 6, WIDTH)))
        up = acted("b f", product(added(x, shared["of"]), net.weight(f"{layer}.up", WIDTH, HIDDEN)))
        return added(x, product(up, net.weight(f"{layer}.down", HIDDEN, WIDTH)))

    return block


def weighed() -> Block:
    """Every layer reads one sum: its addends may be combined for each of them."""
    shared: dict[str, Value] = {}

    def block(net: Net, x: Value, layer: int) -> Value:
        if not shared:
            shared["of"] = spelled("b d -> b", net.data("given", BATCH, 6), join=operand(0))
        return residual(net, spelled("b d, b -> b d", x, shared["of"]), layer)

    return block


def fed(net: Net, x: Value, layer: int) -> Value:
    """Every layer is fed a matrix of its own."""
    return residual(net, added(x, net.data(f"{layer}.fed", BATCH, WIDTH)), layer)


# -------------------------------------------------------------------------------------------------------- state

Updates = dict[str, Value]


def averaged(updates: Updates) -> Block:
    """Every layer takes away a running mean of the stream."""

    def block(net: Net, x: Value, layer: int) -> Value:
        mean = net.builder.input(f"{layer}.mean", (WIDTH,), "float32", role="state")
        now = spelled("b d -> d", x, join=operand(0), agg="mean")
        updates[f"{layer}.mean"] = spelled("d, d -> d", mean, now, join=const(0.9) * operand(0) + operand(1))
        return residual(net, spelled("b d, d -> b d", x, mean, join=operand(0) - operand(1)), layer)

    return block


def handed_on(updates: Updates) -> Block:
    """Every layer leaves its hidden values for the next layer's next step."""
    last = ""

    def block(net: Net, x: Value, layer: int) -> Value:
        nonlocal last
        kept = net.builder.input(f"{layer}.kept", (BATCH, HIDDEN), "float32", role="state")
        up = acted("b f", added(product(x, net.weight(f"{layer}.up", WIDTH, HIDDEN)), kept))
        if last:
            updates[last] = up
        last = f"{layer}.kept"
        return added(x, product(up, net.weight(f"{layer}.down", HIDDEN, WIDTH)))

    return block


def delayed(updates: Updates) -> Block:
    """Every layer reads what its stream was two steps ago: one state takes another's value as it is."""

    def block(net: Net, x: Value, layer: int) -> Value:
        one, two = (net.builder.input(f"{layer}.{k}", (BATCH, WIDTH), "float32", role="state") for k in ("one", "two"))
        updates[f"{layer}.one"], updates[f"{layer}.two"] = x, one
        return residual(net, added(x, two), layer)

    return block


def overwritten(updates: Updates) -> Block:
    """All layers' states, which nothing reads, take one value: it is copied for each but the first."""
    shared: dict[str, Value] = {}

    def block(net: Net, x: Value, layer: int) -> Value:
        if not shared:
            shared["of"] = acted("b d", net.data("given", BATCH, WIDTH))
        net.builder.input(f"{layer}.kept", (BATCH, WIDTH), "float32", role="state")
        updates[f"{layer}.kept"] = shared["of"]
        return residual(net, added(x, shared["of"]), layer)

    return block


def stateful(make: Callable[[Updates], Block], use: str, num_layers: int) -> Graph:
    """A net whose layers have state that every step updates."""
    net, updates = Net(), Updates()
    y = stack(make(updates), num_layers)(net)
    if use == "inference":
        return net.builder.build({"y": y}, updates)
    graph = net.builder.build({"loss": squares("b d", y)}, updates)
    return train_graph(graph, [Group(OPTIMIZERS[use], tuple(net.names), "rate")])
