"""Where formulas could go wrong: nothing to attend to, nothing to average, ties, repetition, paths and padding."""

from __future__ import annotations

from itertools import product
from random import Random

import numpy as np
import pytest
import torch
from torch import Tensor

from einsplit import functional as F
from einsplit.autodiff import grad
from einsplit.evaluate import evaluate
from einsplit.graph import Kernel
from tests.functional.cases import CASES, Call, graph_of, normal

inf, nan = np.inf, np.nan


def gradients(call: Call) -> dict[str, np.ndarray]:
    graph, feeds = graph_of(call)
    found = evaluate(grad(graph, "loss", call.wrt), feeds)
    return {name.removeprefix("d(loss)/d(")[:-1]: x for name, x in found.items() if name.startswith("d(")}


@pytest.mark.parametrize("name", CASES)
def test_every_label_can_be_cut_but_the_neighbours(name: str) -> None:
    """Nothing but einsums, whose every label may be cut; top_k needs all points of a query."""
    graph, _ = graph_of(CASES[name](Random(name)))
    kernels = {node.kernel for node in graph.nodes if isinstance(node, Kernel)}
    assert kernels == ({"top_k"} if name == "k_nearest" else set())


def test_scores_are_shifted_before_exp_is_taken() -> None:
    x = np.array([1000.0, 1001.0, -inf])
    np.testing.assert_allclose(F.softmax(x), torch.softmax(torch.from_numpy(x), -1).numpy())
    np.testing.assert_allclose(F.log_softmax(x), torch.log_softmax(torch.from_numpy(x), -1).numpy())
    assert F.log_softmax(np.array([1e4, 0.0], np.float32))[1] == -1e4


def test_of_nothing_but_minus_infinity_there_is_no_softmax() -> None:
    assert np.isnan(F.softmax(np.full((1, 3), -inf))).all()


def test_a_position_that_looks_at_none_gets_zeros_and_gives_no_gradient() -> None:
    random = Random(0)
    query, key, value = (normal(random, 2, 3, 4) for _ in range(3))
    mask = np.array([[True, False, True], [False, False, False], [True, True, True]])
    for given in (mask, np.where(mask, 0.0, -inf)):
        call = Call(lambda q, k, v, m: F.attention(q, k, v, mask=m), lambda: None, [query, key, value, given])
        found = F.attention(query, key, value, mask=given)
        assert (found[:, 1] == 0).all() and (found[:, 0] != 0).all()
        slope = gradients(call)
        assert (slope["x0"][:, 1] == 0).all() and all(np.isfinite(x).all() for x in slope.values())


def test_more_queries_than_keys_are_causal_from_the_first() -> None:
    """Position i looks at keys 0 to i, as torch has it, and not at the last ones."""
    values = np.arange(3.0).reshape(1, 3, 1)
    found = F.attention(np.zeros((1, 5, 2)), np.zeros((1, 3, 2)), values, causal=True)
    np.testing.assert_allclose(found.ravel(), [0, 0.5, 1, 1, 1])


@pytest.mark.parametrize("reduction, wanted", [("mean", nan), ("sum", 0.0), ("none", [0.0, 0.0])])
def test_where_no_target_counts_the_mean_is_nan_as_torchs(reduction: str, wanted: object) -> None:
    found = F.cross_entropy(np.ones((2, 3)), np.array([-100, -100]), reduction=reduction)
    np.testing.assert_array_equal(found, wanted)


def test_what_is_no_class_and_no_row_counts_as_zero() -> None:
    np.testing.assert_array_equal(F.embedding(np.array([-1, 3, 1]), np.ones((3, 2))), [[0, 0], [0, 0], [1, 1]])
    assert F.cross_entropy(np.ones((2, 3)), np.array([3, -1]), reduction="sum") == 0


def test_a_row_that_is_looked_up_twice_gets_both_gradients() -> None:
    call = Call(F.embedding, lambda: None, [np.array([1, 1, 0]), np.ones((3, 1))])
    weights = np.cos([0, 1, 2])
    np.testing.assert_allclose(gradients(call)["x1"].ravel(), [weights[2], weights[0] + weights[1], 0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_far_positions_are_turned_exactly_in_halves_too(dtype: str) -> None:
    """8191 is no float16 and no bfloat16: an angle made of it in those would be off by whole turns."""
    x = torch.ones(1, 2, dtype=getattr(torch, dtype))
    found = F.rotary_embedding(x, torch.tensor([8191])).double()
    turned = torch.tensor([[np.cos(8191) - np.sin(8191), np.cos(8191) + np.sin(8191)]])
    torch.testing.assert_close(found, turned, rtol=0, atol=1e-2)


def test_the_rotation_keeps_products_of_equal_distance() -> None:
    query, key = (np.tile(normal(Random(k), 1, 8), (6, 1)) for k in range(2))
    scores = F.rotary_embedding(query) @ F.rotary_embedding(key).T
    for distance in range(1, 6):
        np.testing.assert_allclose(np.diag(scores, distance), scores[0, distance])


def test_padding_of_a_pool_is_no_zero_and_nan_is_the_largest() -> None:
    x = np.array([[-3.0, -2.0], [-5.0, nan]])
    np.testing.assert_array_equal(F.max_pool(x, 2, stride=1, padding=1), [[-3, -2, -2], [-3, nan, nan], [-5, nan, nan]])
    assert np.isinf(F.max_pool(np.full((3,), -inf), (2,), stride=1)).all()


def test_ties_of_a_pool_share_the_gradient() -> None:
    call = Call(lambda x: F.max_pool(x, (2,)), lambda: None, [np.array([1.0, 1.0])])
    np.testing.assert_array_equal(gradients(call)["x0"], [0.5, 0.5])


def test_of_points_equally_far_the_first_comes_first() -> None:
    points = np.array([[3.0], [1.0], [-1.0], [1.0]])
    distances, which = F.k_nearest(np.zeros((1, 1)), points, 3)
    np.testing.assert_array_equal(distances, [[1, 1, 1]])
    np.testing.assert_array_equal(which, [[1, 2, 3]])


def test_viterbi_finds_the_best_of_all_paths() -> None:
    random = Random(1)
    start, transitions, emissions = normal(random, 3), normal(random, 3, 3), normal(random, 4, 3)
    scores, came_from = start, []
    for seen in emissions:
        scores, pointers = F.viterbi_step(scores, transitions, seen)
        came_from.append(pointers)
    path = [int(scores.argmax())]
    for pointers in reversed(came_from):
        path.insert(0, int(pointers[path[0]]))

    def total(states: tuple[int, ...]) -> float:
        steps = zip(states, states[1:], emissions, strict=False)
        return float(start[states[0]] + sum(transitions[i, j] + seen[j] for i, j, seen in steps))

    best = max(product(range(3), repeat=5), key=total)
    assert tuple(path) == best
    np.testing.assert_allclose(scores.max(), total(best))


def test_of_states_equally_good_the_first_is_pointed_at() -> None:
    _, came_from = F.viterbi_step(np.zeros(3), np.zeros((3, 2)), np.zeros(2))
    np.testing.assert_array_equal(came_from, [0, 0])
    assert came_from.dtype == np.int64


@pytest.mark.parametrize(
    "function, shapes, wanted",
    [
        (F.softmax, [(2, 0)], (2, 0)),
        (F.layer_norm, [(0, 3)], (0, 3)),
        (F.attention, [(2, 0, 4), (2, 3, 4), (2, 3, 5)], (2, 0, 5)),
        (F.attention, [(2, 3, 4), (2, 0, 4), (2, 0, 5)], (2, 3, 5)),
        (F.convolution, [(0, 2, 3, 3), (4, 2, 2, 2)], (0, 4, 2, 2)),
        (F.convolution, [(1, 0, 3), (4, 0, 2)], (1, 4, 2)),
        (F.all_pairs_distances, [(0, 3), (2, 3)], (0, 2)),
        (F.matrix_chain, [(2, 0), (0, 3)], (2, 3)),
    ],
)
def test_where_there_is_nothing_the_shape_is_right(
    function: object, shapes: list[tuple[int, ...]], wanted: tuple[int, ...]
) -> None:
    assert callable(function)
    for make in (np.ones, torch.ones):
        found = function(*(make(shape) for shape in shapes))
        assert tuple(found.shape) == wanted
        assert np.isfinite(np.asarray(found)).all()


def test_lists_are_taken_as_numpy_takes_them() -> None:
    np.testing.assert_array_equal(F.embedding([2, 0], [[1.0], [2.0], [3.0]]), [[3], [1]])


def test_a_convolution_of_one_channel_is_the_sum_under_the_window() -> None:
    x: Tensor = torch.arange(16.0).reshape(1, 1, 4, 4)
    found = F.convolution(x, torch.ones(1, 1, 2, 2), stride=2)
    assert found.flatten().tolist() == [10, 18, 42, 50]
