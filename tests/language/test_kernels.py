"""Kernels that users call: the same results on arrays, tensors and in a Graph; signatures are checked."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from einsplit.builder import Builder
from einsplit.errors import DtypeError, EinsplitError, NotationError, ShapeError
from einsplit.evaluate import evaluate
from einsplit.graph import Kernel
from einsplit.kernels.door import kernel

X = np.array([[3.0, 1.0, 2.0, 1.0], [np.nan, 5.0, -np.inf, np.nan]])


def everywhere(name: str, signature: str, x: np.ndarray, **attributes: int) -> list[np.ndarray]:
    """All results, which arrays, tensors and a Graph agree on."""
    builder = Builder()
    found = kernel(name, signature, x, **attributes)
    tensors = kernel(name, signature, torch.from_numpy(np.array(x)), **attributes)
    values = kernel(name, signature, builder.input("x", x.shape, str(x.dtype)), **attributes)
    if not isinstance(found, tuple):
        found, tensors, values = (found,), (tensors,), (values,)
    graph = builder.build({f"out{k}": value for k, value in enumerate(values)})
    assert any(isinstance(node, Kernel) and node.kernel == name for node in graph.nodes)
    evaluated = evaluate(graph, {"x": x})
    for k, (array, tensor) in enumerate(zip(found, tensors, strict=True)):
        assert array.dtype == tensor.numpy().dtype == evaluated[f"out{k}"].dtype
        np.testing.assert_array_equal(array, tensor.numpy())
        np.testing.assert_array_equal(array, evaluated[f"out{k}"])
    return list(found)


def test_top_k_is_in_order_and_of_equal_elements_the_first_comes_first() -> None:
    values, places = everywhere("top_k", "b [k] -> b [n], b [n]", X, n=3)
    np.testing.assert_array_equal(values, [[3, 2, 1], [np.nan, np.nan, 5]])
    np.testing.assert_array_equal(places, [[0, 2, 1], [0, 3, 1]])
    values, places = everywhere("top_k", "b [k] -> b [n], b [n]", X, n=2, largest=False)
    np.testing.assert_array_equal(places, [[1, 3], [2, 1]])


def test_sort_goes_both_ways_along_any_dimension() -> None:
    (values,) = everywhere("sort", "[s] b -> [s] b", X.T)
    np.testing.assert_array_equal(values, np.sort(X.T, 0))
    (places,) = everywhere("sort", "b [s] -> b [s]", X, descending=True, output=1)
    np.testing.assert_array_equal(places, [[0, 2, 1, 3], [0, 3, 1, 2]])


@pytest.mark.parametrize("dtype, result", [("int8", "int64"), ("bool", "int64"), ("float32", "float32")])
def test_cumsum_adds_as_sum_does(dtype: str, result: str) -> None:
    (found,) = everywhere("cumsum", "... [s] -> ... [s]", np.full((2, 2, 3), 100).astype(dtype))
    assert found.dtype == result
    np.testing.assert_array_equal(found[0, 0], np.cumsum(np.full(3, 100).astype(dtype).astype(result)))


def test_a_composite_dimension_may_be_in_brackets() -> None:
    (found,) = everywhere("cumsum", "[(a b)] c -> [(a b)] c", np.arange(12).reshape(6, 2), a=2)
    np.testing.assert_array_equal(found, np.arange(12).reshape(6, 2).cumsum(0))


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=6), st.booleans(), st.data())
def test_top_k_is_the_beginning_of_a_stable_sort(numbers: list[int], largest: bool, data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, len(numbers)))
    _, places = everywhere("top_k", "[k] -> [n], [n]", np.array(numbers), n=kept, largest=largest)
    order = sorted(range(len(numbers)), key=lambda at: (-numbers[at] if largest else numbers[at], at))
    assert places.tolist() == order[:kept]


def test_torch_differentiates_what_it_computes() -> None:
    x = torch.tensor([1.0, 3.0, 2.0], requires_grad=True)
    found = kernel("top_k", "[k] -> [n]", x, n=2)
    assert isinstance(found, torch.Tensor)
    (found * torch.tensor([1.0, 10.0])).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0.0, 1.0, 10.0]


CASES: dict[str, tuple[type[EinsplitError], Callable[[], object], str]] = {
    "unknown kernel": (
        NotationError,
        lambda: kernel("topk", "b [k] -> b [n]", X, n=2),
        "unknown kernel 'topk'.\n  Did you mean 'top_k'?",
    ),
    "no brackets": (
        NotationError,
        lambda: kernel("sort", "b k -> b k", X),
        """sort works along one dimension, all of it in brackets.
  b k -> b k
  ^^^
  As in 'b s [k] -> b s [k]'.""",
    ),
    "another order": (
        NotationError,
        lambda: kernel("top_k", "b [k] -> [n] b", X, n=2),
        """top_k keeps the dimensions outside the brackets as they are.
  b [k] -> [n] b
           ^^^^^
  As in 'b s [k] -> b s [n]'.""",
    ),
    "another label": (
        NotationError,
        lambda: kernel("cumsum", "b [k] -> b [n]", X, n=4),
        """cumsum keeps the dimension in brackets: k.
  b [k] -> b [n]
           ^^^^^
  As in 'b s [k] -> b s [k]'.""",
    ),
    "too many results": (
        NotationError,
        lambda: kernel("cumsum", "b [k] -> b [k], b [k]", X),
        """cumsum has 1 results.
  b [k] -> b [k], b [k]
                  ^^^^^
  As in 'b s [k] -> b s [k]'.""",
    ),
    "no such result": (
        NotationError,
        lambda: kernel("sort", "b [k] -> b [k]", X, output=2),
        "sort has 2 results, numbered from 0, and no 2.",
    ),
    "an option that is no truth value": (
        NotationError,
        lambda: kernel("sort", "b [k] -> b [k]", X, descending=3),
        "descending of sort is True or False, not 3.",
    ),
    "an option of another kernel": (
        NotationError,
        lambda: kernel("sort", "b [k] -> b [k]", X, largest=True),
        """a size is given for 'largest', which stands nowhere.
  b [k] -> b [k]
  ^^^^^^^^^^^^^^
  Labels here: b k.""",
    ),
    "more than there are": (
        ShapeError,
        lambda: kernel("top_k", "b [k] -> b [n]", X, n=5),
        """top_k gives 5 elements of 4.
  b [k] -> b [n]
           ^^^^^
  There are not so many.""",
    ),
    "another rank": (
        ShapeError,
        lambda: kernel("sort", "b s [k] -> b s [k]", X),
        """operand 0 has 2 dimensions, the text names 3.
  b s [k] -> b s [k]
  ^^^^^^^
  operand (2, 4).""",
    ),
    "two operands": (
        NotationError,
        lambda: kernel("sort", "b [k], b -> b [k]", X, X[:, 0]),
        """sort takes one operand.
  b [k], b -> b [k]
  ^^^^^^^^^^^^^^^^^
  As in 'b s [k] -> b s [k]'.""",
    ),
    "a diagonal": (
        NotationError,
        lambda: kernel("sort", "b b [k] -> b b [k]", np.zeros((2, 2, 3))),
        """label 'b' stands twice in the output.
  b b [k] -> b b [k]
               ^
  Only an operand may repeat a label: its diagonal.""",
    ),
    "complex numbers": (
        DtypeError,
        lambda: kernel("sort", "b [k] -> b [k]", X + 1j),
        "complex numbers have no order.\n  Take abs first.",
    ),
}


@pytest.mark.parametrize("mistake", CASES)
def test_the_whole_message(mistake: str) -> None:
    kind, call, text = CASES[mistake]
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind and str(caught.value) == text
