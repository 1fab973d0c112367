"""Graph with gradients -> Graph with state: every trained parameter's next value, and the optimizer's own.

Moments are inputs with the role `state`, and so is the number of steps. The learning rate is a feed, so that a
schedule makes no new program. Numbers that are the same for all elements (1 - b1^t) are computed in float64: of
b2 = 0.999 a float32 would lose the fifth digit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from einsplit.autodiff import gradient_name
from einsplit.draft import Draft, Origin
from einsplit.graph import Graph, Input, Operand, factors
from einsplit.optim.settings import SGD, Adam, AdamW, Optimizer
from einsplit.scalar import Expr, call, cast, const, operand

STEPS = "optimizer.steps"  # the number of steps made, float64


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that one optimizer updates, by name, and the name of the feed of its learning rate."""

    optimizer: Optimizer
    parameters: tuple[str, ...]
    rate: str


def with_updates(graph: Graph, of: str, groups: Sequence[Group], clip_norm: float | None = None) -> Graph:
    """The graph with one step of every group's optimizer: inputs for rates and state, and their updates.

    `graph` has the gradients of output `of` by all the parameters, as `grad` gives them; they are outputs no more.
    `clip_norm`: gradients are scaled so that the norm of all of them together is at most that, as
    torch.nn.utils.clip_grad_norm_ does it.
    """
    draft = Draft(graph.nodes, graph.sizes)
    outputs, inputs = dict(graph.outputs), graph.inputs
    names = [name for group in groups for name in group.parameters]
    gradients = {name: outputs.pop(gradient_name(of, name)) for name in names}
    if clip_norm is not None and gradients:
        gradients = _clipped(draft, gradients, clip_norm)
    steps = draft.add(Input(name=STEPS, dims=(), dtype="float64", role="state"))
    now = draft.pointwise(operand(0) + const(1.0), [steps], Origin("step"))
    updates = [*graph.updates, (steps, now)]
    for group in groups:
        rate = draft.add(Input(name=group.rate, dims=(), dtype="float64"))
        for name in group.parameters:
            parameter = _Parameter(draft, name, inputs[name], gradients[name], rate, now)
            updates.extend(RULES[type(group.optimizer)](parameter, group.optimizer))
    return draft.built(tuple(outputs.items()), updates)


def _clipped(draft: Draft, gradients: dict[str, int], norm: float) -> dict[str, int]:
    """Every gradient times min(1, norm / (norm of all + 1e-6))."""
    wide = "float64" if any(draft.nodes[at].dtype == "float64" for at in gradients.values()) else "float32"
    squares = [
        draft.einsum([draft.read(at)], (), cast(operand(0) * operand(0), wide), "sum", Origin(f"{name}.square"))
        for name, at in gradients.items()
    ]
    while len(squares) > 1:  # in groups, so that no join is too deep
        few = [squares[k : k + 32] for k in range(0, len(squares), 32)]
        squares = [_total(draft, part) for part in few]
    share = const(norm) / (call("sqrt", operand(0)) + const(1e-6))
    scale = draft.pointwise(call("min", share, const(1.0)), squares, Origin("clip"))
    clipped = {}
    for name, at in gradients.items():
        rows = [draft.read(at), Operand(scale, ())]
        dtype = draft.nodes[at].dtype
        join = operand(0) * (operand(1) if dtype == wide else cast(operand(1), dtype))
        clipped[name] = draft.einsum(rows, draft.nodes[at].dims, join, "sum", Origin(f"{name}.clipped"))
    return clipped


def _total(draft: Draft, values: Sequence[int]) -> int:
    if len(values) == 1:
        return values[0]
    join: Expr = operand(0)
    for k in range(1, len(values)):
        join = join + operand(k)
    return draft.pointwise(join, values, Origin("square"))


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter to be updated: positions of it, its gradient, the learning rate and the number of this step."""

    draft: Draft
    name: str
    at: int
    gradient: int
    rate: int
    now: int

    @property
    def dtype(self) -> str:
        return self.draft.nodes[self.at].dtype

    def state(self, name: str) -> int:
        """An input of the parameter's dims and dtype, 0 at first."""
        dims = self.draft.nodes[self.at].dims
        return self.draft.add(Input(name=f"optimizer.{self.name}.{name}", dims=dims, dtype=self.dtype, role="state"))

    def number(self, name: str, join: Expr) -> int:
        """A number for all elements: a join of the learning rate (x) and the number of the step (y)."""
        rows = [Operand(self.rate, ()), Operand(self.now, ())]
        return self.draft.einsum(rows, (), cast(join, self.dtype), "sum", Origin(f"{self.name}.{name}"))

    def value(self, name: str, join: Expr, values: Sequence[int], numbers: Sequence[int] = ()) -> int:
        """A join of values of the parameter's dims, and then of numbers for all elements."""
        node = self.draft.nodes[self.at]
        rows = [Operand(at, factors(node)) for at in values] + [Operand(at, ()) for at in numbers]
        return self.draft.einsum(rows, node.dims, join, "sum", Origin(f"{self.name}.{name}"))


Updates = list[tuple[int, int]]


def _sgd(p: _Parameter, settings: SGD) -> Updates:
    x, g = operand(0), operand(1)
    rate = p.number("rate", operand(0))
    gradient = p.gradient
    if settings.weight_decay:
        gradient = p.value("decayed", g + const(settings.weight_decay) * x, [p.at, gradient])
    if not settings.momentum:
        return [(p.at, p.value("next", x - operand(2) * g, [p.at, gradient], [rate]))]
    state = p.state("momentum")
    kept = const(settings.momentum) * x + const(1 - settings.dampening) * g
    if settings.dampening:
        first = p.number("first", call("where", call("eq", operand(1), const(1.0)), const(1.0), const(0.0)))
        kept = call("where", call("eq", operand(2), const(1.0)), g, kept)
        moved = p.value("momentum", kept, [state, gradient], [first])
    else:
        moved = p.value("momentum", kept, [state, gradient])
    if settings.nesterov:
        ahead = x - operand(3) * (g + const(settings.momentum) * operand(2))
        return [(state, moved), (p.at, p.value("next", ahead, [p.at, gradient, moved], [rate]))]
    return [(state, moved), (p.at, p.value("next", x - operand(2) * g, [p.at, moved], [rate]))]


def _adam(p: _Parameter, settings: Adam) -> Updates:
    x, g = operand(0), operand(1)
    b1, b2 = settings.betas
    gradient = p.gradient
    decoupled = isinstance(settings, AdamW)
    if settings.weight_decay and not decoupled:
        gradient = p.value("decayed", g + const(settings.weight_decay) * x, [p.at, gradient])
    mean, square = p.state("mean"), p.state("square")
    new_mean = p.value("mean", x + const(1 - b1) * (g - x), [mean, gradient])
    new_square = p.value("square", const(b2) * x + const(1 - b2) * (g * g), [square, gradient])
    length = p.number("length", operand(0) / (const(1.0) - call("pow", const(b1), operand(1))))
    spread = p.number("spread", call("sqrt", const(1.0) - call("pow", const(b2), operand(1))))
    kept: Expr = x
    numbers = [length, spread]
    if settings.weight_decay and decoupled:
        numbers.append(p.number("kept", const(1.0) - operand(0) * const(settings.weight_decay)))
        kept = x * operand(5)
    step = operand(3) * (operand(1) / (call("sqrt", operand(2)) / operand(4) + const(settings.eps)))
    moved = p.value("next", kept - step, [p.at, new_mean, new_square], numbers)
    return [(mean, new_mean), (square, new_square), (p.at, moved)]


RULES: dict[type, Callable[..., Updates]] = {SGD: _sgd, Adam: _adam, AdamW: _adam}
