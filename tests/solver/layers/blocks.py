"""Random blocks of a deep net: a few operators beside a stream, the same in every layer, with weights of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from einsplit.builder.views import Value
from einsplit.graph import Graph
from einsplit.scalar import call, const, operand
from tests.solver.known.cases import Net, acted
from tests.solver.layers.nets import BATCH, RELU, WIDTH, added, normed, product, stack, stacked
from tests.support.spelled import spelled

WIDTHS = (WIDTH, 24, 32)
JOINS = (call("tanh", operand(0)), RELU, operand(0) * operand(0), call("sigmoid", operand(0)))
USES = ("inference", "inference", "SGD", "momentum", "AdamW")


@dataclass
class RandomBlock:
    """Called once for each layer: every time it draws the same, by its seed."""

    seed: int
    shared: dict[str, Value] = field(default_factory=dict)  # what all layers read
    before: dict[int, Value] = field(default_factory=dict)  # by operator, its value in the layer before

    def __call__(self, net: Net, x: Value, layer: int) -> Value:
        random, values = Random(self.seed), [x]
        for at in range(random.randint(2, 5)):
            make = random.choice(OPERATORS)
            value = make(self, random, net, values, f"{layer}.{at}")
            if random.random() < 0.15:  # the layer before, too
                value, self.before[at] = added(value, self.before.get(at, value)), value
            values.append(value)
        y = values[-1]
        if y.shape[-1] != WIDTH:
            y = product(y, net.weight(f"{layer}.out", y.shape[-1], WIDTH))
        return added(x, y) if random.random() < 0.8 else acted("b d", y)

    def of_all(self, net: Net, name: str, *shape: int, role: str = "parameter") -> Value:
        """An input that all layers read."""
        if name not in self.shared:
            self.shared[name] = net.weight(name, *shape) if role == "parameter" else net.data(name, *shape)
        return self.shared[name]


def _product(block: RandomBlock, random: Random, net: Net, values: list[Value], name: str) -> Value:
    x = random.choice(values)
    return product(x, net.weight(name, x.shape[-1], random.choice(WIDTHS)))


def _product_of_all(block: RandomBlock, random: Random, net: Net, values: list[Value], name: str) -> Value:
    x = random.choice(values)
    return product(x, block.of_all(net, f"tied{name.partition('.')[2]}", x.shape[-1], x.shape[-1]))


def _acted(block: RandomBlock, random: Random, net: Net, values: list[Value], name: str) -> Value:
    return acted("b d", values[-1], random.choice(JOINS))


def _normed(block: RandomBlock, random: Random, net: Net, values: list[Value], name: str) -> Value:
    x = random.choice(values)
    return normed(x, net.weight(name, x.shape[-1]))


def _softmax(block: RandomBlock, random: Random, net: Net, values: list[Value], name: str) -> Value:
    x = values[-1]
    total = spelled("b d -> b", x, join=operand(0), agg="logsumexp")
    return spelled("b d, b -> b d", x, total, join=call("exp", operand(0) - operand(1)))


def _centred(block: RandomBlock, random: Random, net: Net, values: list[Value], name: str) -> Value:
    x = random.choice(values)
    middle = spelled("b d -> d", x, join=operand(0), agg=random.choice(("sum", "mean", "max")))
    return spelled("b d, d -> b d", x, middle, join=operand(0) - operand(1))


def _gated(block: RandomBlock, random: Random, net: Net, values: list[Value], name: str) -> Value:
    x = values[-1]
    fitting = [value for value in values if value.shape == x.shape]
    return spelled("b d, b d -> b d", x, random.choice(fitting))


def _mixed(block: RandomBlock, random: Random, net: Net, values: list[Value], name: str) -> Value:
    x = values[-1]
    return spelled("b c, c d -> b d", spelled("b d, c d -> b c", x, x), x)


def _biased(block: RandomBlock, random: Random, net: Net, values: list[Value], name: str) -> Value:
    x, role = values[-1], random.choice(("parameter", "data"))
    bias = block.of_all(net, f"bias{role}{x.shape[-1]}", x.shape[-1], role=role)
    return spelled("b d, d -> b d", x, bias, join=operand(0) + operand(1))


def _shifted(block: RandomBlock, random: Random, net: Net, values: list[Value], name: str) -> Value:
    """What all layers read is computed once."""
    if "row" not in block.shared:
        block.shared["row"] = spelled("b d -> b", net.data("rows", BATCH, 6), join=operand(0))
    return spelled("b d, b -> b d", values[-1], block.shared["row"], join=operand(0) - const(2.0) * operand(1))


def _fed(block: RandomBlock, random: Random, net: Net, values: list[Value], name: str) -> Value:
    """Every layer is fed something of its own."""
    x = values[-1]
    row = net.data(f"{name}.fed", random.choice((1, x.shape[0])), dtype="bool")
    if row.shape[0] == 1:
        return spelled("b d, o -> b d", x, row, join=call("where", operand(1), operand(0), const(0.0)))
    return spelled("b d, b -> b d", x, row, join=call("where", operand(1), operand(0), const(0.0)))


Operator = Callable[[RandomBlock, Random, Net, list[Value], str], Value]
OPERATORS: tuple[Operator, ...] = (
    *(_product,) * 4,
    _product_of_all,
    *(_acted,) * 3,
    _normed,
    _softmax,
    _centred,
    _gated,
    _mixed,
    _biased,
    _shifted,
    _fed,
)


def random_stack(seed: int, num_layers: int) -> Graph:
    """A net of layers, as inference or as a train step."""
    return stacked(stack(RandomBlock(seed), num_layers), Random(seed).choice(USES))
