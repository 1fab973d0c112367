"""Views dissolve into labels, and the Graph still means what the program meant."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsplit.builder import Builder, Origin
from einsplit.builder.views import Value, drop, expand, insert, permute
from einsplit.einsum import einsum
from einsplit.errors import GraphError, ShapeError
from einsplit.evaluate import evaluate
from einsplit.graph import Einsum, Graph, Input, Kernel
from einsplit.kernels.door import kernel

HERE = Origin("here")


def kernels(graph: Graph) -> list[str]:
    return [node.kernel for node in graph.nodes if isinstance(node, Kernel)]


def only_input(*shape: int) -> tuple[Builder, Value]:
    builder = Builder()
    return builder, builder.input("x", shape, "int64")


def counted(*shape: int) -> np.ndarray:
    return np.arange(math.prod(shape)).reshape(shape)


@pytest.mark.parametrize(
    "start, shapes",
    [
        ((2, 12), [(2, 3, 4), (6, 4), (24,), (6, 2, 2), (2, 3, 2, 2), (2, 12)]),
        ((2, 3, 4), [(6, 4), (2, 12), (24,), (1, 24, 1), (2, 3, 2, 2)]),
        ((64,), [(8, 8), (4, 16), (2, 2, 2, 2, 2, 2), (64,)]),
        ((5, 1), [(1, 5), (5,), (1, 1, 5, 1)]),
        ((), [(1,), (1, 1), ()]),
    ],
)
def test_a_chain_of_reshapes_that_nest_is_no_node_at_all(start: tuple[int, ...], shapes: list[tuple[int, ...]]) -> None:
    builder, x = only_input(*start)
    value = x
    for shape in shapes:
        value = builder.reshape(value, shape, HERE)
        assert value.shape == shape and value.node == x.node
    graph = builder.build({"y": value})
    assert kernels(graph) == []
    np.testing.assert_array_equal(evaluate(graph, {"x": counted(*start)})["y"], counted(*start).reshape(shapes[-1]))


def test_transposes_between_reshapes_vanish_where_factors_allow_it() -> None:
    builder, x = only_input(2, 5, 12)
    heads = permute(builder.reshape(x, (2, 5, 3, 4), HERE), (0, 2, 1, 3))
    back = builder.reshape(permute(heads, (0, 2, 1, 3)), (10, 12), HERE)
    graph = builder.build({"heads": heads, "back": back})
    assert kernels(graph) == []
    (inner,) = (node for node in graph.nodes if isinstance(node, Input))
    assert [len(dim) for dim in inner.dims] == [1, 1, 2]  # 12 is known as 3 x 4
    found = evaluate(graph, {"x": counted(2, 5, 12)})
    np.testing.assert_array_equal(found["heads"], counted(2, 5, 3, 4).transpose(0, 2, 1, 3))
    np.testing.assert_array_equal(found["back"], counted(10, 12))


def test_a_cut_found_late_holds_for_everything_of_that_dimension() -> None:
    builder, x = only_input(2, 12)
    w = builder.input("w", (12, 3), "int64")
    product = einsum("b i, i o -> b o", x, w)  # i is one label here ...
    heads = builder.reshape(x, (2, 3, 4), HERE)  # ... and two from here on
    graph = builder.build({"product": product, "heads": einsum("b h d -> h", heads)})
    assert kernels(graph) == [] and [len(dim) for dim in graph.nodes[1].dims] == [2, 1]
    found = evaluate(graph, {"x": counted(2, 12), "w": counted(12, 3)})
    np.testing.assert_array_equal(found["product"], counted(2, 12) @ counted(12, 3))
    np.testing.assert_array_equal(found["heads"], counted(2, 3, 4).sum((0, 2)))


@pytest.mark.parametrize(
    "old, new, free",
    [
        ((6, 4), (8, 3), 0),
        ((2, 6, 4), (2, 8, 3), 1),  # the leading dimension is not touched
        ((6, 4, 5), (8, 3, 5), 1),
        ((2, 6, 4, 2, 3), (2, 8, 3, 6), 3),
    ],
)
def test_a_reshape_that_does_not_nest_is_a_kernel_over_the_dimensions_concerned(
    old: tuple[int, ...], new: tuple[int, ...], free: int
) -> None:
    builder, x = only_input(*old)
    graph = builder.build({"y": builder.reshape(x, new, HERE)})
    assert kernels(graph) == ["reshape"]
    (node,) = (node for node in graph.nodes if isinstance(node, Kernel))
    read = [label for label in node.operands[0].labels if label not in node.brackets]
    assert len(read) == free
    np.testing.assert_array_equal(evaluate(graph, {"x": counted(*old)})["y"], counted(*new))


@pytest.mark.parametrize(
    "old, new",
    [((0, 2), (0,)), ((0,), (0, 2)), ((2, 0, 3), (0, 5)), ((0, 3), (3, 0)), ((2, 0), (2, 0, 1)), ((0,), (0,))],
)
def test_tensors_without_elements_are_reshaped_too(old: tuple[int, ...], new: tuple[int, ...]) -> None:
    builder, x = only_input(*old)
    graph = builder.build({"y": builder.reshape(x, new, HERE), "sum": einsum("... ->", x)})
    found = evaluate(graph, {"x": counted(*old)})
    assert found["y"].shape == new and found["sum"] == 0


def test_a_flattened_transpose_is_a_kernel_only_where_it_is_split_across() -> None:
    builder, x = only_input(3, 4)
    turned = builder.reshape(permute(x, (1, 0)), (12,), HERE)
    graph = builder.build({"flat": turned, "six": builder.reshape(turned, (6, 2), HERE)})
    found = evaluate(graph, {"x": counted(3, 4)})
    np.testing.assert_array_equal(found["flat"], counted(3, 4).T.reshape(12))
    np.testing.assert_array_equal(found["six"], counted(3, 4).T.reshape(6, 2))
    assert kernels(graph) == ["reshape"]


def test_one_value_cut_in_two_ways_that_do_not_fit_is_copied_once_for_the_second() -> None:
    builder, x = only_input(24)
    y = builder.input("y", (24,), "int64")
    total = einsum("i, i -> i", x, y)
    first = builder.reshape(x, (4, 6), HERE)
    second = builder.reshape(y, (3, 8), HERE)
    graph = builder.build({"t": total, "a": einsum("i j -> i", first), "b": einsum("i j -> i", second)})
    found = evaluate(graph, {"x": counted(24), "y": counted(24)})
    np.testing.assert_array_equal(found["t"], counted(24) ** 2)
    np.testing.assert_array_equal(found["a"], counted(4, 6).sum(1))
    np.testing.assert_array_equal(found["b"], counted(3, 8).sum(1))
    assert len(kernels(graph)) <= 1


def test_repetitions_that_are_summed_are_counted() -> None:
    builder, x = only_input(3, 1)
    wide = expand(x, (2, 3, 4))
    graph = builder.build({
        "sum": einsum("a b c -> b", wide),
        "mean": einsum("a b c -> a", wide, join="cast(x, float64)", agg="mean"),
        "product": einsum("a b c, c -> a", wide, builder.input("y", (4,), "int64")),
        "index": einsum("a b c -> b", wide, join="x * index(c)"),
    })  # fmt: skip
    xs, ys = counted(3, 1), counted(4)
    full = np.broadcast_to(xs, (2, 3, 4))
    found = evaluate(graph, {"x": xs, "y": ys})
    np.testing.assert_array_equal(found["sum"], full.sum((0, 2)))
    np.testing.assert_array_equal(found["mean"], full.mean((1, 2)))
    np.testing.assert_array_equal(found["product"], (full * ys).sum((1, 2)))
    np.testing.assert_array_equal(found["index"], (full * np.arange(4)).sum((0, 2)))


def test_repetitions_that_another_operand_has_are_not_made() -> None:
    builder = Builder()
    queries = builder.input("queries", (2, 6, 5), "int64")
    keys = builder.input("keys", (2, 3, 5), "int64")
    repeated = builder.reshape(expand(insert(keys, 2), (2, 3, 2, 5)), (2, 6, 5), HERE)  # grouped-query attention
    graph = builder.build({"scores": einsum("b h d, b h d -> b h", queries, repeated)})
    assert [type(node) for node in graph.nodes] == [Input, Input, Einsum]
    found = evaluate(graph, {"queries": counted(2, 6, 5), "keys": counted(2, 3, 5)})
    wanted = (counted(2, 6, 5) * counted(2, 3, 5).repeat(2, 1)).sum(2)
    np.testing.assert_array_equal(found["scores"], wanted)


def test_dead_nodes_and_parameters_go_and_data_stays() -> None:
    builder, x = only_input(3)
    builder.input("unused", (2,), "int64")
    builder.input("weight", (2,), "int64", role="parameter")
    einsum("i -> ", x)
    graph = builder.build({"y": x})
    assert list(graph.inputs) == ["x", "unused"] and len(graph.nodes) == 2


def test_the_same_calls_make_equal_graphs() -> None:
    def build() -> Graph:
        builder, x = only_input(4, 6)
        return builder.build({"y": einsum("i (j k) -> j i", x, j=2, join="x * x", agg="max")})

    assert build() == build() and build().hash == build().hash and repr(build()) == repr(build())


def test_values_of_another_builder_are_refused() -> None:
    builder, _ = only_input(2)
    _, other = only_input(2)
    with pytest.raises(GraphError, match="another builder"):
        builder.build({"y": other})


def test_an_input_has_one_label_for_each_dimension() -> None:
    with pytest.raises(ShapeError, match=r"shape \(2, 3\) is given 1 labels"):
        Builder().input("x", (2, 3), "int64", labels=["b"])


# ----------------------------------------------------------------------------------------- random programs


class Program:
    """A value, and the array that it stands for, under one random step after another."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.builder = Builder()
        shape = tuple(random.choice([1, 2, 3, 4, 6]) for _ in range(random.randint(0, 4)))
        self.start = counted(*shape) - 3
        self.met = [(self.builder.input("x", shape, "int64"), self.start)]

    def step(self) -> None:
        value, array = self.random.choice(self.met[-3:])
        steps = [self.reshaped, self.reshaped, self.permuted, self.expanded, self.inserted, self.dropped]
        steps += [self.sliced, self.joined, self.summed, self.added, self.cumulated]
        found = self.random.choice(steps)(value, array)
        assert found[0].shape == found[1].shape
        if found[1].size <= 3000:
            self.met.append(found)

    def reshaped(self, value: Value, array: np.ndarray) -> tuple[Value, np.ndarray]:
        shape, rest = [], array.size
        while rest > 1:
            divisors = [d for d in range(1, rest + 1) if rest % d == 0]
            shape.append(self.random.choice(divisors))
            rest //= shape[-1]
        self.random.shuffle(shape)
        return self.builder.reshape(value, tuple(shape), HERE), array.reshape(shape)

    def permuted(self, value: Value, array: np.ndarray) -> tuple[Value, np.ndarray]:
        order = self.random.sample(range(array.ndim), array.ndim)
        return permute(value, order), array.transpose(order)

    def expanded(self, value: Value, array: np.ndarray) -> tuple[Value, np.ndarray]:
        shape = tuple(self.random.choice([2, 3]) if size == 1 else size for size in array.shape)
        shape = (2,) * self.random.randint(0, 1) + shape
        return expand(value, shape), np.broadcast_to(array, shape)

    def inserted(self, value: Value, array: np.ndarray) -> tuple[Value, np.ndarray]:
        at = self.random.randint(0, array.ndim)
        return insert(value, at), np.expand_dims(array, at)

    def dropped(self, value: Value, array: np.ndarray) -> tuple[Value, np.ndarray]:
        return drop(value, list(range(array.ndim))), array.squeeze()

    def sliced(self, value: Value, array: np.ndarray) -> tuple[Value, np.ndarray]:
        if not array.ndim:
            return value, array
        dim = self.random.randrange(array.ndim)
        start = self.random.randint(0, array.shape[dim] - 1)
        length = self.random.randint(1, array.shape[dim] - start)
        labels = self.builder.variables(array.shape)
        short = (self.builder.variable(length),)
        results = [((*labels[:dim], short, *labels[dim + 1 :]), "int64")]
        (found,) = self.builder.kernel(
            "slice", [(value, labels)], results, HERE,
            brackets=frozenset((*labels[dim], *short)), attributes={"dim": dim, "start": start, "step": 1},
        )  # fmt: skip
        return found, array.take(range(start, start + length), dim)

    def joined(self, value: Value, array: np.ndarray) -> tuple[Value, np.ndarray]:
        return einsum("... -> ...", value, join="x % 7 - 3"), array % 7 - 3

    def summed(self, value: Value, array: np.ndarray) -> tuple[Value, np.ndarray]:
        if not array.ndim:
            return value, array
        if self.random.random() < 0.5:
            return einsum("... i -> ...", value, join="x % 5"), (array % 5).sum(-1)
        return einsum("i ... -> ...", value, agg="max"), array.max(0)

    def added(self, value: Value, array: np.ndarray) -> tuple[Value, np.ndarray]:
        """Two values, or two views of one, that happen to have one shape."""
        fits = [(v, a) for v, a in self.met if sorted(a.shape) == sorted(array.shape)]
        other, numbers = self.random.choice(fits)
        order = list(np.argsort(numbers.shape, kind="stable")[np.argsort(np.argsort(array.shape, kind="stable"))])
        other, numbers = permute(other, order), numbers.transpose(order)
        return einsum("..., ... -> ...", value, other, join="x - 2 * y"), array - 2 * numbers

    def cumulated(self, value: Value, array: np.ndarray) -> tuple[Value, np.ndarray]:
        if not array.ndim:
            return value, array
        found = kernel("cumsum", "... [s] -> ... [s]", einsum("... -> ...", value, join="x % 3"))
        assert isinstance(found, Value)
        return found, (array % 3).cumsum(-1)


@settings(max_examples=400)
@given(st.integers(0, 2**48), st.integers(1, 12))
def test_random_programs_mean_what_numpy_does(seed: int, num_steps: int) -> None:
    program = Program(Random(seed))
    for _ in range(num_steps):
        program.step()
    graph = program.builder.build({f"out{k}": value for k, (value, _) in enumerate(program.met)})
    found = evaluate(graph, {"x": program.start})
    for k, (_, array) in enumerate(program.met):
        np.testing.assert_array_equal(found[f"out{k}"], array)
