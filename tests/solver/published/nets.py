"""Small nets as Graphs, built without a capture: a perceptron, decoders, experts; as inference or as a train step."""

from __future__ import annotations

from math import prod
from random import Random

import numpy as np

from einsplit.builder import Builder
from einsplit.builder.views import Value
from einsplit.graph import Graph
from einsplit.optim import AdamW, Group, Optimizer
from einsplit.scalar import call, const, operand
from einsplit.solver.machine import Machine, MeshAxis
from einsplit.training.graph import train_graph
from tests.support.spelled import spelled

BATCH, SEQ, WIDTH, HEADS, HEAD, HIDDEN = 4, 8, 16, 4, 6, 24
RELU = call("max", operand(0), const(0.0))
ITEMSIZE = 8  # float64


def machine(*sizes: int) -> Machine:
    return Machine(
        name="one link",
        axes=tuple(MeshAxis(f"axis{k}", n, 1e9, 1e-6) for k, n in enumerate(sizes)),
        flops_per_second=1e10,
        memory_bytes_per_second=1e10,
        memory_bytes=1e9,
        launch_seconds=1e-7,
    )


class Net:
    """A Builder that knows its parameters."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.names: list[str] = []

    def data(self, name: str, *shape: int) -> Value:
        return self.builder.input(name, shape, "float64")

    def weight(self, name: str, *shape: int) -> Value:
        self.names.append(name)
        return self.builder.input(name, shape, "float64", role="parameter")

    def inference(self, y: Value) -> Graph:
        return self.builder.build({"y": y})

    def training(self, y: Value, optimizer: Optimizer, clip_norm: float | None = None) -> Graph:
        """A step that makes the squares of y small."""
        terms = "abcd"[: len(y.shape)]
        loss = spelled(f"{' '.join(terms)} -> ", y, join=operand(0) * operand(0), name="loss")
        graph = self.builder.build({"loss": loss})
        return train_graph(graph, [Group(optimizer, tuple(self.names), "rate")], clip_norm)


def perceptron(net: Net) -> Value:
    """Two layers over a batch."""
    x = net.data("x", 8, WIDTH)
    hidden = spelled("b a, a f -> b f", x, net.weight("up", WIDTH, HIDDEN))
    return spelled("b f, f c -> b c", spelled("b f -> b f", hidden, join=RELU), net.weight("down", HIDDEN, 12))


def decoder(net: Net, num_layers: int) -> Value:
    """Layers of attention, a perceptron and residuals, without norms, between two projections."""
    x = spelled("b s d, d a -> b s a", net.data("x", BATCH, SEQ, 6), net.weight("w_in", 6, WIDTH))
    for layer in range(num_layers):
        x = _added(x, _attention(net, x, f"{layer}."))
        up = spelled("b s a, a f -> b s f", x, net.weight(f"{layer}.up", WIDTH, HIDDEN))
        acted = spelled("b s f -> b s f", up, join=RELU)
        x = _added(x, spelled("b s f, f a -> b s a", acted, net.weight(f"{layer}.down", HIDDEN, WIDTH)))
    return x


def _added(x: Value, y: Value) -> Value:
    return spelled("b s a, b s a -> b s a", x, y, join=operand(0) + operand(1))


def _attention(net: Net, x: Value, prefix: str) -> Value:
    q, k, v = (
        spelled("b s a, a h e -> b s h e", x, net.weight(f"{prefix}{name}", WIDTH, HEADS, HEAD), name=name)
        for name in "qkv"
    )
    scores = spelled("b i h e, b j h e -> b h i j", q, k, name="scores")
    total = spelled("b h i j -> b h i", scores, join=operand(0), agg="logsumexp")
    weights = spelled("b h i j, b h i -> b h i j", scores, total, join=call("exp", operand(0) - operand(1)))
    mixed = spelled("b h i j, b j h e -> b i h e", weights, v, name="mixed")
    return spelled("b s h e, h e a -> b s a", mixed, net.weight(f"{prefix}o", HEADS, HEAD, WIDTH))


def experts(net: Net) -> Value:
    """Tokens are sent to experts and back by a given share of each (Lepikhin et al. 2020)."""
    x, share = net.data("x", BATCH, SEQ, WIDTH), net.data("share", BATCH, SEQ, 4, 2)
    sent = spelled("b s a, b s e c -> e b c a", x, share, name="sent")
    up = spelled("e b c a, e a f -> e b c f", sent, net.weight("up", 4, WIDTH, HIDDEN))
    acted = spelled("e b c f -> e b c f", up, join=RELU)
    made = spelled("e b c f, e f a -> e b c a", acted, net.weight("down", 4, HIDDEN, WIDTH), name="made")
    return spelled("b s e c, e b c a -> b s a", share, made)


def random_net(random: Random) -> Graph:
    """Layers of random sizes, with or without residuals and attention, as inference or as a train step."""
    net = Net()
    sizes = [random.choice((2, 3, 4, 6, 8, 16)) for _ in range(3)]
    x = net.data("x", *sizes)
    for layer in range(random.randint(1, 3)):
        width, hidden = x.shape[-1], random.choice((4, 8, 32, 64))
        kind = random.choice(("linear", "residual", "attention"))
        if kind == "attention":
            heads = random.choice((2, 4))
            q, k, v = (spelled("b s a, a h e -> b s h e", x, net.weight(f"{layer}{n}", width, heads, 3)) for n in "qkv")
            scores = spelled("b i h e, b j h e -> b h i j", q, k)
            mixed = spelled("b h i j, b j h e -> b i h e", scores, v)
            x = _added(x, spelled("b s h e, h e a -> b s a", mixed, net.weight(f"{layer}o", heads, 3, width)))
        else:
            up = spelled("b s a, a f -> b s f", x, net.weight(f"{layer}up", width, hidden))
            acted = spelled("b s f -> b s f", up, join=RELU)
            x = (
                acted
                if kind == "linear"
                else _added(x, spelled("b s f, f a -> b s a", acted, net.weight(f"{layer}down", hidden, width)))
            )
    return net.training(x, AdamW(lr=0.1)) if random.random() < 0.5 else net.inference(x)


def feeds_of(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    """Random tensors for all inputs; state is not negative, as squares are."""
    generator = np.random.default_rng(seed)
    found = {}
    for name, at in graph.inputs.items():
        shape = graph.shape(at)
        values = generator.normal(size=shape) / max(1.0, prod(shape[1:])) ** 0.25
        is_state = graph.nodes[at].role == "state"
        found[name] = np.asarray(np.abs(values) if is_state else values)
    return found
