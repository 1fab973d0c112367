"""What a Graph means: graphs of views, diagonals, joins and kernels against plain numpy."""

import subprocess
import sys

import numpy as np
import pytest

from einsplit.builder import Builder, Origin, variable_index
from einsplit.builder.views import Value, expand, permute, reshape
from einsplit.einsum import einsum
from einsplit.errors import DtypeError, EinsplitError, GraphError, ShapeError
from einsplit.evaluate import evaluate
from einsplit.graph import Einsum, Graph, Input, Kernel, Operand
from einsplit.kernels.door import kernel
from einsplit.scalar import call, const, operand

RANDOM = np.random.default_rng(7)


def viewed(value: Value, *shape: int) -> Value:
    found = reshape(value, shape)
    assert found is not None, "a view was expected"
    return found


def test_heads_are_split_attended_and_joined_again() -> None:
    builder = Builder()
    x = builder.input("x", (2, 5, 12), "float64")
    w = builder.input("w", (12, 12), "float64")
    projected = einsum("b s a, a f -> b s f", x, w)
    heads = permute(viewed(projected, 2, 5, 3, 4), (0, 2, 1, 3))
    scores = einsum("b h i d, b h j d -> b h i j", heads, heads)
    masked = einsum("b h i j -> b h i j", scores, join="where(index(i) >= index(j), x, -inf)")
    total = einsum("b h i j -> b h i", masked, agg="logsumexp")
    weights = einsum("b h i j, b h i -> b h i j", masked, total, join="exp(x - y)")
    mixed = permute(einsum("b h i j, b h j d -> b h i d", weights, heads), (0, 2, 1, 3))
    graph = builder.build({"y": viewed(mixed, 2, 5, 12)})
    assert not any(isinstance(node, Kernel) for node in graph.nodes)

    xs, ws = RANDOM.standard_normal((2, 5, 12)), RANDOM.standard_normal((12, 12))
    split = (xs @ ws).reshape(2, 5, 3, 4).transpose(0, 2, 1, 3)
    logits = np.where(np.tri(5, dtype=bool), split @ split.transpose(0, 1, 3, 2), -np.inf)
    soft = np.exp(logits - logits.max(-1, keepdims=True))
    soft /= soft.sum(-1, keepdims=True)
    wanted = (soft @ split).transpose(0, 2, 1, 3).reshape(2, 5, 12)
    np.testing.assert_allclose(evaluate(graph, {"x": xs, "w": ws})["y"], wanted, rtol=1e-12)


def test_one_value_is_read_under_two_names_and_along_its_diagonal() -> None:
    builder = Builder()
    x = builder.input("x", (3, 3), "float64")
    graph = builder.build({"gram": einsum("i k, j k -> i j", x, x), "diagonal": einsum("i i, i j -> j", x, x)})
    xs = RANDOM.standard_normal((3, 3))
    found = evaluate(graph, {"x": xs})
    np.testing.assert_allclose(found["gram"], xs @ xs.T, rtol=1e-12)
    np.testing.assert_allclose(found["diagonal"], np.diag(xs) @ xs, rtol=1e-12)


def test_repeated_dimensions_are_read_and_not_held() -> None:
    builder = Builder()
    x = builder.input("x", (3, 1), "int64")
    wide = expand(x, (2, 3, 4))
    graph = builder.build({"wide": wide, "sum": einsum("a b c -> b", wide)})
    xs = np.array([[1], [2], [3]])
    found = evaluate(graph, {"x": xs})
    np.testing.assert_array_equal(found["wide"], np.broadcast_to(xs, (2, 3, 4)))
    np.testing.assert_array_equal(found["sum"], [8, 16, 24])


def test_a_tensor_is_made_of_indices_alone() -> None:
    builder = Builder()
    rows, columns = builder.variable(3), builder.variable(4)
    join = call("ge", variable_index(rows), variable_index(columns))
    mask = builder.einsum([], ((rows,), (columns,)), join, "sum", Origin("mask"))
    graph = builder.build({"mask": mask})
    np.testing.assert_array_equal(evaluate(graph, {})["mask"], np.tri(3, 4, dtype=bool))


def test_a_sum_over_a_single_element_is_a_cast() -> None:
    builder = Builder()
    x = builder.input("x", (3, 1), "bool")
    graph = builder.build({"count": einsum("i j -> i", x), "same": einsum("i j -> j i", x)})
    found = evaluate(graph, {"x": np.array([[True], [False], [True]])})
    assert found["count"].dtype == "int64" and found["count"].tolist() == [1, 0, 1]
    assert found["same"].dtype == "bool" and found["same"].shape == (1, 3)


def test_updates_are_given_under_the_inputs_name_with_a_prime() -> None:
    builder = Builder()
    weight = builder.input("weight", (2,), "float64", role="state")
    grad = builder.input("grad", (2,), "float64")
    graph = builder.build({}, {"weight": einsum("i, i -> i", weight, grad, join="x - 0.5 * y")})
    found = evaluate(graph, {"weight": np.array([1.0, 2.0]), "grad": np.array([2.0, 2.0])})
    assert list(found) == ["weight'"] and found["weight'"].tolist() == [0.0, 1.0]


def test_reshapes_that_are_no_views_slices_and_concatenations_are_kernels() -> None:
    builder = Builder()
    x = builder.input("x", (2, 6, 4), "float64")
    strange = builder.reshape(x, (2, 8, 3), Origin("strange"))
    labels = builder.variables((2, 8))
    (part,) = builder.kernel(
        "slice",
        [(strange, (*labels, long := (builder.variable(3),)))],
        [((*labels, short := (builder.variable(2),)), "float64")],
        Origin("slice"),
        brackets=frozenset((*long, *short)),
        attributes={"dim": 2, "start": 0, "step": 2},
    )
    whole = (builder.variable(5),)
    pieces = [(strange, (*labels, (builder.variable(3),))), (part, (*labels, (builder.variable(2),)))]
    brackets = frozenset((*whole, *(dims[2][0] for _, dims in pieces)))
    (joined,) = builder.kernel(
        "cat", pieces, [((*labels, whole), "float64")], Origin("cat"), brackets=brackets, attributes={"dim": 2}
    )
    graph = builder.build({"joined": joined})
    assert [n.kernel for n in graph.nodes if isinstance(n, Kernel)] == ["reshape", "slice", "cat"]
    xs = RANDOM.standard_normal((2, 6, 4))
    wanted = xs.reshape(2, 8, 3)
    np.testing.assert_array_equal(evaluate(graph, {"x": xs})["joined"], np.concatenate([wanted, wanted[:, :, ::2]], 2))


def test_a_kernel_reads_views_as_the_tensors_that_they_are() -> None:
    builder = Builder()
    x = builder.input("x", (2, 6), "float64")
    turned = permute(viewed(x, 2, 3, 2), (1, 0, 2))  # 3 2 2
    graph = builder.build({"sums": kernel("cumsum", "a [b] c -> a [b] c", expand(turned, (3, 2, 2)))})
    xs = RANDOM.standard_normal((2, 6))
    wanted = xs.reshape(2, 3, 2).transpose(1, 0, 2).cumsum(1)
    np.testing.assert_allclose(evaluate(graph, {"x": xs})["sums"], wanted, rtol=1e-12)


def test_an_operator_of_torch_means_what_torch_does() -> None:
    builder = Builder()
    x = builder.input("x", (2, 3), "float32")
    rows, columns = builder.variables((2, 3))
    attributes = {"op": "aten.flip.default", "args": [{"tensor": 0}, [1]], "kwargs": {}}
    brackets = frozenset((*rows, *columns))
    (flipped,) = builder.kernel(
        "aten", [(x, (rows, columns))], [((rows, columns), "float32")], Origin("flip"),
        brackets=brackets, attributes=attributes,
    )  # fmt: skip
    xs = np.arange(6, dtype="float32").reshape(2, 3)
    found = evaluate(builder.build({"y": flipped}), {"x": xs})["y"]
    np.testing.assert_array_equal(found, xs[:, ::-1])


def test_without_such_a_node_torch_is_not_loaded() -> None:
    program = (
        "import sys, numpy, einsplit.kernels.door\n"
        "from einsplit.builder import Builder\n"
        "from einsplit.einsum import einsum\n"
        "from einsplit.evaluate import evaluate\n"
        "builder = Builder()\n"
        "x = builder.input('x', (2,), 'float64')\n"
        "evaluate(builder.build({'y': einsum('i -> ', x)}), {'x': numpy.ones(2)})\n"
        "einsum('i ->', [1, 2])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_values_of_one_input_may_be_several_outputs() -> None:
    builder = Builder()
    x = builder.input("x", (2, 3), "float64")
    graph = builder.build({"same": x, "turned": permute(x, (1, 0)), "again": x})
    xs = RANDOM.standard_normal((2, 3))
    found = evaluate(graph, {"x": xs})
    np.testing.assert_array_equal(found["same"], xs)
    np.testing.assert_array_equal(found["turned"], xs.T)
    np.testing.assert_array_equal(found["again"], xs)


def test_a_graph_written_by_hand_needs_no_builder() -> None:
    x = Input(name="x", dims=(("i",), ("h", "d")), dtype="int32")
    total = Einsum(
        name="total",
        operands=(Operand(0, ("i", "d", "h")),),
        dims=(("h", "i"),),
        join=operand(0) * const(2),
        agg="sum",
        dtype="int64",
    )
    graph = Graph((x, total), {"i": 2, "h": 3, "d": 3}, (("y", 1),))
    xs = np.arange(18, dtype="int32").reshape(2, 9)
    wanted = 2 * xs.reshape(2, 3, 3).sum(1).T.reshape(6)  # factor h is read as d, and d as h
    np.testing.assert_array_equal(evaluate(graph, {"x": xs})["y"], wanted)


MISTAKES: dict[str, tuple[type[EinsplitError], dict[str, np.ndarray], str]] = {
    "missing": (GraphError, {}, "input 'tokens' of the graph is not given.\n  Given: none."),
    "misspelt": (
        GraphError,
        {"tokens": np.zeros((2, 6)), "token": np.zeros(2)},
        "the graph has no input 'token'.\n  Did you mean 'tokens'?",
    ),
    "shape": (
        ShapeError,
        {"tokens": np.zeros((2, 5))},
        "input 'tokens' has shape (2, 5).\n  The graph has tokens_0 tokens_1 = (2, 6).",
    ),
    "dtype": (DtypeError, {"tokens": np.zeros((2, 6), "int8")}, "input 'tokens' is int8.\n  The graph has float64."),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_tensors_that_do_not_fit_the_graph_are_refused(mistake: str) -> None:
    kind, tensors, text = MISTAKES[mistake]
    builder = Builder()
    graph = builder.build({"y": einsum("i j -> i", builder.input("tokens", (2, 6), "float64"))})
    with pytest.raises(kind) as caught:
        evaluate(graph, tensors)
    assert str(caught.value) == text
