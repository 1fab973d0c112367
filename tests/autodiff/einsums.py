"""Random einsums over every aggregation and every scalar function, fed with ties, zeros and infinities."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np

from einsplit.graph import Einsum, Graph, Input, Label, Node, Operand, factors
from einsplit.scalar import Expr, call, cast, const, index, operand, result_dtype

AGGREGATIONS = ("sum", "mean", "max", "min", "prod", "logsumexp")
UNARY = ("neg", "abs", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "erf", "sin", "cos", "floor", "stop_gradient")
BINARY = ("add", "sub", "mul", "div", "floordiv", "mod", "pow", "max", "min")
FUNCTIONS = (*UNARY, *BINARY, "where", "cast")
POSITIVE = ("log", "sqrt", "rsqrt")  # of what is not positive, hardly anything but NaN
COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")

# What elements are drawn of: smooth numbers; whole ones, with ties and zeros; those with infinities.
POOLS: dict[str, tuple[float, ...]] = {
    "smooth": (),
    "whole": (-2.0, -1.0, 0.0, 0.0, 1.0, 1.0, 2.0),
    "infinite": (-np.inf, -1.0, 0.0, 1.0, 1.0, np.inf),
}
# With an infinity or NaN in it, torch's gradient of a product depends on whether the tensor has a zero anywhere.
UNSETTLED = (("prod", "infinite"),)


@dataclass(frozen=True, slots=True)
class Case:
    """A graph whose output `loss` is one number, and what is fed to it."""

    graph: Graph
    feeds: dict[str, np.ndarray]

    @property
    def wrt(self) -> list[str]:
        """The inputs of real numbers."""
        return [name for name, at in self.graph.inputs.items() if self.graph.nodes[at].dtype.startswith("float")]

    def __repr__(self) -> str:
        return f"{self.graph!r}\n  feeds {self.feeds}"


def with_loss(graph: Graph, at: int) -> Graph:
    """The graph with one output more: the sum of node `at` under weights that differ from element to element."""
    node = graph.nodes[at]
    angle: Expr = const(1.0)
    for k, label in enumerate(factors(node)):
        angle = angle + index(label) * const(0.7 + 0.6 * k)
    weighted = operand(0) * call("sin", angle)
    loss = Einsum(
        name="loss", operands=(Operand(at, factors(node)),), dims=(), join=weighted, agg="sum", dtype=node.dtype
    )
    return Graph((*graph.nodes, loss), graph.sizes, (*graph.outputs, ("loss", len(graph.nodes))), graph.updates)


class Einsums:
    """Random einsums, one after the other, each reading inputs and those before it."""

    def __init__(
        self, random: Random, pool: str, sizes: tuple[int, ...] = (1, 2, 3, 3), dtype: str = "float64"
    ) -> None:
        self.random = random
        self.pool = pool
        self.dtype = dtype
        self.sizes = {label: random.choice(sizes) for label in "abcd"} | {"new": random.choice((2, 3))}
        self.nodes: list[Node] = []
        self.feeds: dict[str, np.ndarray] = {}

    def case(self) -> Case:
        """The last value, made one number."""
        at = len(self.nodes) - 1
        return Case(with_loss(Graph(tuple(self.nodes), self.sizes, (("last", at),)), at), self.feeds)

    def input(self, labels: list[Label], dtype: str) -> int:
        name = f"x{len(self.feeds)}"
        numbers = np.random.default_rng(self.random.randrange(2**32))
        shape = [self.sizes[label] for label in labels]
        pool = POOLS[self.pool]
        array = np.asarray(numbers.choice(pool, shape) if pool else numbers.normal(size=shape))
        self.feeds[name] = (
            np.nan_to_num(array, posinf=3, neginf=-3).astype(dtype) if dtype == "int64" else array.astype(dtype)
        )
        # An output has no label twice, and a reader of a diagonal names two of them alike.
        own = [f"{name}_{k}" for k in range(len(labels))]
        self.sizes |= {label: self.sizes[read] for label, read in zip(own, labels, strict=True)}
        self.nodes.append(Input(name=name, dims=tuple((label,) for label in own), dtype=dtype))
        return len(self.nodes) - 1

    def einsum(self, agg: str | None = None, function: str | None = None) -> None:
        """One more einsum, over new operands and old."""
        random = self.random
        rows = [self.operand() for _ in range(random.choice((1, 1, 2, 2, 3)))]
        met = list(dict.fromkeys(label for row in rows for label in row.labels))
        out = [label for label in met if random.random() < 0.4]
        if "new" not in met and random.random() < 0.15:
            out.append("new")  # a label that no operand has: the value repeats itself along it
        random.shuffle(out)
        dtypes = [self.nodes[row.node].dtype for row in rows]
        join = self.joined(dtypes, list(dict.fromkeys((*met, *out))), 2, function)
        self.nodes.append(
            Einsum(
                name=f"z{len(self.nodes)}",
                operands=tuple(rows),
                dims=tuple((label,) for label in out),
                join=join,
                agg=agg or random.choice([name for name in AGGREGATIONS if (name, self.pool) not in UNSETTLED]),
                dtype=result_dtype(join, dtypes),
            )
        )

    def operand(self) -> Operand:
        """A value read under labels that fit it: a new one, or one that is read once more."""
        random = self.random
        if self.nodes and random.random() < 0.4:
            at = random.randrange(len(self.nodes))
            sizes = [self.sizes[label] for label in factors(self.nodes[at])]
            return Operand(
                at, tuple(random.choice([k for k in ("a", "b", "c", "d", "new") if self.sizes[k] == n]) for n in sizes)
            )
        labels = random.choices("abcd", k=random.choice((0, 1, 2, 2, 3)))
        return Operand(
            self.input(labels, "int64" if self.feeds and random.random() < 0.1 else self.dtype), tuple(labels)
        )

    # ------------------------------------------------------------------------------------------- expressions

    def joined(self, dtypes: list[str], labels: list[Label], depth: int, function: str | None = None) -> Expr:
        """A random expression in the case's dtype; `function` is what its root applies."""
        random = self.random
        if function is None and (depth == 0 or random.random() < 0.25):
            return self.leaf(dtypes, labels)

        def again() -> Expr:
            return self.joined(dtypes, labels, depth - 1)

        op = function or random.choice(FUNCTIONS)
        if op == "where":
            own = again()
            compared = call(random.choice(COMPARE), own, random.choice((again(), const(0.0))))
            if len(labels) > 1 and random.random() < 0.4:
                compared = call(random.choice(COMPARE), *map(index, random.sample(labels, 2)))
            return call("where", compared, random.choice((own, again())), random.choice((again(), const(-1.0))))
        if op == "cast":
            narrow = cast(again(), "float32" if self.dtype == "float64" else "float64")
            return cast(call("mul", narrow, const(0.5)), self.dtype)
        if op == "pow":
            base = call("abs", again()) + const(0.5) if random.random() < 0.5 else again()
            return call("pow", base, random.choice((again(), const(random.choice((1, 2, 3, 1.5, -1, 2.0))))))
        if op == "mod":
            return call(op, again(), again()) + const(0.0)  # numpy and torch differ in the sign of a remainder 0
        if op in BINARY:
            return call(op, again(), again())
        argument = again()
        if op in POSITIVE and random.random() < 0.7:
            argument = call("abs", argument) + const(0.5)
        if op == "exp":
            argument = call("min", argument, const(3.0))
        return call(op, argument)

    def leaf(self, dtypes: list[str], labels: list[Label]) -> Expr:
        random = self.random
        if random.random() < 0.75:
            k = random.randrange(len(dtypes))
            return operand(k) if dtypes[k] == self.dtype else cast(operand(k), self.dtype)
        if labels and random.random() < 0.7:
            return cast(index(random.choice(labels)), self.dtype)
        return cast(const(random.choice((0.0, 1.0, -1.0, 0.5))), self.dtype)


def random_case(
    random: Random,
    pool: str,
    *,
    num_nodes: int = 1,
    agg: str | None = None,
    function: str | None = None,
    sizes: tuple[int, ...] = (1, 2, 3, 3),
    dtype: str = "float64",
) -> Case:
    """`num_nodes` einsums; of the last one aggregation and outermost function may be given."""
    einsums = Einsums(random, pool, sizes, dtype)
    for _ in range(num_nodes - 1):
        einsums.einsum()
    einsums.einsum(agg, function)
    return einsums.case()
