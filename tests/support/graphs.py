"""Random small programs, built as a user's are: values, readings of them under labels, kernels, state.

`exact` programs keep whole numbers in floats and may jump (comparisons, floor); the others are smooth, so that rounding
stays rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from random import Random

import numpy as np

from einsplit.builder import Builder, Origin, variable_index
from einsplit.builder.settle import VariableDims
from einsplit.builder.views import Value, permute
from einsplit.graph import Graph
from einsplit.scalar import Expr, call, cast, const, operand

MAX_ELEMENTS = 1500  # of one node over all its labels: the oracle enumerates them
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 12)
COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")


@dataclass(frozen=True, slots=True)
class Case:
    """A program and what is fed to it."""

    graph: Graph
    feeds: dict[str, np.ndarray]

    def __repr__(self) -> str:
        return f"{self.graph!r}\n  feeds {self.feeds}"


def random_case(
    random: Random, *, exact: bool, num_nodes: int = 4, sizes: tuple[int, ...] = SIZES, max_elements: int = MAX_ELEMENTS
) -> Case:
    """A program of one to `num_nodes` nodes (kernels that readings need come on top), over three of the sizes."""
    return _Program(random, exact, tuple(random.choices(sizes, k=3)), max_elements).case(num_nodes)


class _Program:
    def __init__(self, random: Random, exact: bool, sizes: tuple[int, ...], max_elements: int) -> None:
        self.random = random
        self.exact = exact
        self.sizes = sizes
        self.max_elements = max_elements
        self.builder = Builder()
        self.feeds: dict[str, np.ndarray] = {}
        self.values: list[Value] = []
        self.scope: dict[int, int] = {}  # the variables of the node being made, with their sizes

    def case(self, num_nodes: int) -> Case:
        random = self.random
        for _ in range(random.randint(1, 3)):
            kind = random.choice(("float64", "float64", "float64", "int64", "bool"))
            self.input(kind, random.choices(self.sizes, k=random.randint(0, 3)))
        states = [k for k, name in enumerate(self.feeds) if name.startswith("state")]
        for _ in range(random.randint(1, num_nodes)):
            makers = [self.contract] * 4 + [self.join] * 4 + [self.linear] * 3 + [self.copy]
            makers += [self.lookup, self.pick, self.slice, self.cat, self.reshape, self.formula]
            self.scope = {}
            self.values.append(random.choice(makers)())
        outputs = {"last": self.values[-1]}
        for k in range(random.randint(0, 2)):
            outputs[f"other{k}"] = random.choice(self.values)
        updates = {}
        for k in states:
            state = self.values[k]
            fitting = [v for v in self.values if v.shape == state.shape and v.dtype == state.dtype]
            updates[list(self.feeds)[k]] = random.choice(fitting)
        return Case(self.builder.build(outputs, updates), self.feeds)

    # ------------------------------------------------------------------------------------------------ values

    def input(self, kind: str, shape: list[int], low: int = -2, high: int = 3) -> Value:
        role = self.random.choice(("data", "data", "parameter", "state"))
        name = f"{role}{len(self.feeds)}"
        numbers = np.random.default_rng(self.random.randint(0, 2**31))
        array = numbers.integers(low, high, shape)
        if kind == "bool":
            array = array > 0
        elif kind == "float64":
            array = array.astype(np.float64) if self.exact else numbers.normal(size=shape)
        self.feeds[name] = np.asarray(array)
        value = self.builder.input(name, shape, kind, role=role)  # type: ignore[arg-type]
        self.values.append(value)
        return value

    def value(self, *kinds: str, ndim: int = 0) -> Value:
        """A value of one of the dtypes, with at least `ndim` dimensions; a new input where there is none."""
        found = [v for v in self.values if v.dtype in kinds and v.ndim >= ndim and prod(v.shape) <= self.max_elements]
        if found:
            return self.random.choice(found)
        return self.input(kinds[0], self.random.choices(self.sizes, k=max(ndim, self.random.randint(0, 2))))

    def fits(self, size: int) -> bool:
        return prod(self.scope.values()) * size <= self.max_elements

    def fresh(self, size: int) -> int:
        variable = self.builder.variable(size)
        self.scope[variable] = size
        return variable

    def read(self, value: Value) -> VariableDims:
        """Labels for the value's dimensions: those in scope again (shared, diagonal), new ones, or two for one."""
        dims = []
        for size in value.shape:
            known = [v for v, n in self.scope.items() if n == size]
            if known and (self.random.random() < 0.6 or not self.fits(size)):
                dims.append((self.random.choice(known),))
                continue
            halves = [n for n in range(2, size) if size % n == 0]
            if halves and self.random.random() < 0.2:
                low = self.random.choice(halves)
                dims.append((self.fresh(size // low), self.fresh(low)))
            else:
                dims.append((self.fresh(size),))
        return tuple(dims)

    def write(self, keep: float = 0.5) -> VariableDims:
        """Some labels of the scope, in any order, some in one dimension; now and then one that no operand has."""
        kept = [v for v in self.scope if self.random.random() < keep]
        if self.random.random() < 0.1 and self.fits(3):
            kept.append(self.fresh(self.random.choice((2, 3))))
        self.random.shuffle(kept)
        dims: list[tuple[int, ...]] = []
        for variable in kept:
            if dims and self.random.random() < 0.2:
                dims[-1] = (*dims[-1], variable)
            else:
                dims.append((variable,))
        return tuple(dims)

    def einsum(self, values: list[Value], reads: list[VariableDims], dims: VariableDims, join: Expr, agg: str) -> Value:
        return self.builder.einsum(list(zip(values, reads, strict=True)), dims, join, agg, Origin("node"))

    # ------------------------------------------------------------------------------------------------- nodes

    def contract(self) -> Value:
        values = [self.value("float64") for _ in range(self.random.choice((2, 2, 2, 3)))]
        reads = [self.read(value) for value in values]
        join = operand(0)
        for k in range(1, len(values)):
            join = join * operand(k)
        return self.einsum(values, reads, self.write(), join, "sum")

    def join(self) -> Value:
        values = [self.value("float64", "int64", "bool") for _ in range(self.random.randint(1, 3))]
        reads = [self.read(value) for value in values]
        dims = self.write()
        kind = self.random.choice(("float64", "float64", "int64", "bool"))
        expr = self.typed(kind, [value.dtype for value in values], 2)
        if kind == "bool":
            agg = self.random.choice(("any", "all", "sum", "max", "min"))
        elif kind == "int64" or self.exact:
            agg = self.random.choice(("sum", "sum", "max", "min", "prod"))
        else:
            agg = self.random.choice(("sum", "mean", "logsumexp", "max", "min", "prod"))
        if agg == "prod":  # of numbers no larger than 1, so that products stay where floats are exact
            expr = call("min", call("max", expr, const(-1)), const(1))
        return self.einsum(values, reads, dims, expr, agg)

    def linear(self) -> Value:
        """Joins that let addends flow."""
        values = [self.value("float64") for _ in range(self.random.randint(1, 2))]
        reads = [self.read(value) for value in values]
        dims = self.write(0.8)
        x, y = operand(0), operand(len(values) - 1)
        joins = [x - y * const(2.0), x + y, x * const(3.0), -x, x]
        if len(self.scope) > 1:
            test = self.condition([], 0)
            joins += [call("where", test, x, const(0.0)), call("where", test, x, y)]
        return self.einsum(values, reads, dims, self.random.choice(joins), self.random.choice(("sum", "sum", "max")))

    def copy(self) -> Value:
        value = self.value("float64", "int64", "bool")
        order = list(range(value.ndim))
        self.random.shuffle(order)
        return permute(value, order)

    def lookup(self) -> Value:
        table = self.value("float64", ndim=1)
        rows = self.read(table)
        if len(rows[0]) > 1 or len({v for dim in rows for v in dim}) < len(rows):
            return self.contract()
        ids = self.input("int64", self.random.choices(self.sizes, k=self.random.randint(0, 2)), -1, table.shape[0] + 1)
        picked = tuple((self.builder.variable(n),) for n in ids.shape)
        join = call("where", call("eq", operand(0), variable_index(rows[0][0])), operand(1), cast(const(0), "float64"))
        return self.einsum([ids, table], [picked, rows], (*picked, *rows[1:]), join, "sum")

    def pick(self) -> Value:
        value = self.value("float64", "bool", ndim=1)
        labels = self.builder.variables(value.shape)
        dim = self.random.randrange(value.ndim)
        at = self.random.randrange(max(1, value.shape[dim]))
        is_bool = value.dtype == "bool"
        zero = const(False) if is_bool else const(0.0)
        join = call("where", call("eq", variable_index(labels[dim][0]), const(at)), operand(0), zero)
        return self.einsum([value], [labels], labels[:dim] + labels[dim + 1 :], join, "any" if is_bool else "sum")

    def slice(self) -> Value:
        value = self.value("float64", "int64", "bool", ndim=1)
        dim = self.random.randrange(value.ndim)
        start = self.random.randrange(max(1, value.shape[dim]))
        step = self.random.randint(1, 2)
        most = (value.shape[dim] - start + step - 1) // step
        length = self.random.randint(min(1, most), most)
        return self.along("slice", [value], dim, length, {"start": start, "step": step, "length": length})

    def cat(self) -> Value:
        value = self.value("float64", "int64", "bool", ndim=1)
        dim = self.random.randrange(value.ndim)

        def others(shape: tuple[int, ...]) -> tuple[int, ...]:
            return (*shape[:dim], *shape[dim + 1 :])

        alike = [v for v in self.values if v.dtype == value.dtype and v.ndim == value.ndim]
        fitting = [v for v in alike if others(v.shape) == others(value.shape)]
        parts = [value, self.random.choice(fitting or [value])]
        return self.along("cat", parts, dim, sum(part.shape[dim] for part in parts), {})

    def along(self, kernel: str, parts: list[Value], dim: int, length: int, attributes: dict[str, object]) -> Value:
        builder = self.builder
        labels = builder.variables(parts[0].shape)
        own = [builder.variable(part.shape[dim]) for part in parts]
        result = builder.variable(length)
        reads = [(part, (*labels[:dim], (row,), *labels[dim + 1 :])) for part, row in zip(parts, own, strict=True)]
        dims = (*labels[:dim], (result,), *labels[dim + 1 :])
        return builder.kernel(
            kernel,
            reads,
            [(dims, parts[0].dtype)],
            Origin(kernel),
            brackets=frozenset((*own, result)),
            attributes={**attributes, "dim": dim},
        )[0]

    def reshape(self) -> Value:
        value = self.value("float64", "int64", "bool", ndim=1)
        total = prod(value.shape)
        if total <= 1:
            return value
        low = self.random.choice([n for n in range(1, total + 1) if total % n == 0])
        return self.builder.reshape(value, self.random.choice(((total // low, low), (total,))), Origin("reshape"))

    def formula(self) -> Value:
        dims = tuple((self.fresh(n),) for n in self.random.choices(self.sizes, k=self.random.randint(1, 2)))
        expr = cast(self.index(), "float64") - cast(self.index(), "float64") * const(2.0)
        return self.builder.einsum([], dims, expr, "sum", Origin("formula"))

    # ------------------------------------------------------------------------------------------- expressions

    def index(self) -> Expr:
        return variable_index(self.random.choice(list(self.scope)))

    def typed(self, kind: str, dtypes: list[str], depth: int) -> Expr:
        """A random expression of dtype `kind` over operands of those dtypes."""
        if kind == "bool":
            return self.condition(dtypes, depth)
        own = [operand(k) for k, dtype in enumerate(dtypes) if dtype == kind]
        if depth == 0 or (own and self.random.random() < 0.2):
            others = [cast(operand(k), kind) for k, dtype in enumerate(dtypes) if dtype in ("bool", "int64")]
            if (own and self.random.random() < 0.8) or not (others or self.scope):
                return self.random.choice(own) if own else cast(const(2), kind)
            return self.random.choice([*others, *([cast(self.index(), kind)] if self.scope else [])])

        def again() -> Expr:
            return self.typed(kind, dtypes, depth - 1)

        def where() -> Expr:
            return call("where", self.condition(dtypes, depth - 1), again(), again())

        makers = [lambda: again() + again(), lambda: again() - again(), lambda: again() * again(), where]
        makers += [lambda: call("max", again(), again()), lambda: call("min", again(), const(1)), lambda: -again()]
        makers += [lambda: call("abs", again())]
        if kind == "int64":
            makers += [lambda: again() % const(3), lambda: again() // const(2)]
        elif self.exact:
            makers += [lambda: call("floor", again() * const(0.5))]
        else:
            smooth = ("tanh", "sin", "sigmoid")
            makers += [lambda: call(self.random.choice(smooth), again()), lambda: call("exp", call("tanh", again()))]
            makers += [lambda: again() / (again() * again() * const(0.0) + const(2.0))]
        return self.random.choice(makers)()

    def condition(self, dtypes: list[str], depth: int) -> Expr:
        """A random truth value; of smooth programs it depends on indices, integers and bools alone."""
        own = [operand(k) for k, dtype in enumerate(dtypes) if dtype == "bool"]
        if depth > 0 and self.random.random() < 0.3:
            op = self.random.choice(("and", "or", "not"))
            return call(op, *(self.condition(dtypes, depth - 1) for _ in range(1 if op == "not" else 2)))
        if own and self.random.random() < 0.5:
            return self.random.choice(own)
        compared = self.random.choice(COMPARE)
        numbers = [operand(k) for k, dtype in enumerate(dtypes) if dtype == "int64"]
        if self.exact:
            numbers += [operand(k) for k, dtype in enumerate(dtypes) if dtype == "float64"]
        indices = [self.index() for _ in range(2)] if self.scope else [const(1), const(2)]
        if numbers and self.random.random() < 0.7:
            return call(compared, self.random.choice(numbers), self.random.choice([*indices, const(1)]))
        return call(compared, indices[0], self.random.choice([indices[1], const(1)]))
