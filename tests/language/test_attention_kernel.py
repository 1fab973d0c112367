"""Attention's kernels mean their formulas; states of parts of the keys combine to that of all (online softmax)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from einsplit.kernels.registry import reference

State = tuple[np.ndarray, np.ndarray]  # (z, o)

# How a kernel is told its score, and what that is; x1 is True where a query looks at a key.
SCORES: dict[str, Callable[..., float]] = {
    "x0 * 0.5": lambda x: 0.5 * x,
    "where(x1, x0, -inf)": lambda x, looks: x if looks else -math.inf,
    "where(x1, 2.0 * x0 + x2, -inf)": lambda x, looks, bias: 2 * x + bias if looks else -math.inf,
}
SLOPES = ("0.5", "where(x1, 1.0, 0.0)", "where(x1, 2.0, 0.0)")

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 3)


class Example:
    """Random operands of an attention; of the masks some are the same along some dimensions."""

    def __init__(self, seed: int, repeats: int = 2, score: str = "where(x1, 2.0 * x0 + x2, -inf)") -> None:
        random = np.random.default_rng(seed)
        batch, groups, queries, features, values = random.integers(1, 4, 5)
        keys = random.integers(1, 7)
        self.score = score
        self.slope = dict(zip(SCORES, SLOPES, strict=True))[score]
        self.query = random.normal(size=(batch, groups * repeats, queries, features))
        self.key = random.normal(size=(batch, groups, keys, features))
        self.value = random.normal(size=(batch, groups, keys, values))
        whole = (batch, groups * repeats, queries, keys)
        shapes = [[size if random.random() < 0.7 else 1 for size in whole] for _ in range(2)]
        every = [random.random(shapes[0]) < 0.6, random.normal(size=shapes[1])]
        self.masks = every[: score.count("x1") + score.count("x2")]

    def part(self, chosen: np.ndarray) -> list[np.ndarray]:
        """The operands with some of the keys only."""
        masks = [mask if mask.shape[-1] == 1 else mask[..., chosen] for mask in self.masks]
        return [self.query, self.key[:, :, chosen], self.value[:, :, chosen], *masks]

    @property
    def operands(self) -> list[np.ndarray]:
        return self.part(np.ones(self.key.shape[2], bool))

    def state(self, chosen: np.ndarray | None = None) -> State:
        """(z, o) of all keys, or of some."""
        o, z = self.call("attention", self.operands if chosen is None else self.part(chosen))
        return z, o

    def call(self, kernel: str, operands: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        return reference(kernel)({"score": self.score, "slopes": {"0": self.slope}}, operands, ())


def looped(example: Example) -> State:
    """(z, o), query by query."""
    query, key, value = example.operands[:3]
    score, repeats = SCORES[example.score], query.shape[1] // key.shape[1]
    masks = [np.broadcast_to(mask, (*query.shape[:3], key.shape[2])) for mask in example.masks]
    z, o = np.full(query.shape[:3], -np.inf), np.zeros((*query.shape[:3], value.shape[-1]))
    for b, h, i in np.ndindex(query.shape[:3]):
        g = h // repeats
        scores = [
            score(sum(query[b, h, i] * key[b, g, j]), *(mask[b, h, i, j] for mask in masks))
            for j in range(key.shape[2])
        ]
        total = sum(math.exp(s) for s in scores)
        if total > 0:
            z[b, h, i] = math.log(total)
            o[b, h, i] = sum(math.exp(s) / total * row for s, row in zip(scores, value[b, g], strict=True))
    return z, o


def combined(left: State, right: State) -> State:
    """The docstring's formula; a state of no keys has z = -inf, and weighs nothing."""
    (z1, o1), (z2, o2) = left, right
    with np.errstate(divide="ignore"):
        z = np.log(np.exp(z1) + np.exp(z2))
    finite = np.where(z == -np.inf, 0, z)
    return z, np.exp(z1 - finite)[..., None] * o1 + np.exp(z2 - finite)[..., None] * o2


def close(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("score", SCORES)
@given(seed=seeds, repeats=sizes)
def test_each_query_gets_the_mean_of_the_values_weighted_by_its_scores_exponentials(
    score: str, seed: int, repeats: int
) -> None:
    example = Example(seed, repeats, score)
    close(example.state(), looped(example))


@given(seed=seeds, data=st.data())
def test_states_of_any_parts_of_the_keys_combine_to_that_of_all_in_any_order(seed: int, data: st.DataObject) -> None:
    """Parts without keys, and parts that no query looks at, are among them."""
    example = Example(seed)
    keys = example.key.shape[2]
    of_part = np.array(data.draw(st.lists(st.integers(0, 2), min_size=keys, max_size=keys)))
    for order in ((0, 1, 2), (2, 0, 1)):
        first, second, third = (example.state(of_part == number) for number in order)
        close(combined(combined(first, second), third), example.state())
        close(combined(first, combined(second, third)), example.state())


def test_a_part_that_nobody_looks_at_and_an_empty_part_have_the_state_of_nothing() -> None:
    example = Example(0)
    example.masks[0] = np.zeros((1, 1, 1, 1), bool)
    z, o = example.state()
    assert (z == -np.inf).all() and (o == 0).all()
    z, o = example.state(np.zeros(example.key.shape[2], bool))
    assert z.shape == example.query.shape[:3] and (z == -np.inf).all() and (o == 0).all()


@given(seed=seeds, data=st.data())
def test_values_given_the_logsum_of_all_keys_add_up_over_any_parts_to_the_output(
    seed: int, data: st.DataObject
) -> None:
    example = Example(seed)
    keys = example.key.shape[2]
    of_part = np.array(data.draw(st.lists(st.integers(0, 2), min_size=keys, max_size=keys)))
    z, o = example.state()
    addends = [example.call("attention_values", [*example.part(of_part == k), z])[0] for k in range(3)]
    close([sum(addends)], [o])


@given(seed=seeds, repeats=sizes)
def test_a_head_of_keys_serves_as_many_heads_of_queries_in_a_row(seed: int, repeats: int) -> None:
    """The same as its copies would; what copies get as gradients adds up."""
    example = Example(seed, repeats)
    copied = Example(seed, repeats)
    copied.key, copied.value = (np.repeat(x, repeats, axis=1) for x in (example.key, example.value))
    close(example.state(), copied.state())
    given_ = adjoints(example, seed)
    found = example.call("attention_gradient", [*example.operands, *given_])[:3]
    dq, dk, dv = copied.call("attention_gradient", [*copied.operands, *given_])[:3]
    groups = example.key.shape[1]
    summed = [x.reshape(x.shape[0], groups, repeats, *x.shape[2:]).sum(2) for x in (dk, dv)]
    close(found, [dq, *summed])


def adjoints(example: Example, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, o, and some do."""
    z, o = example.state()
    return z, o, np.random.default_rng(seed).normal(size=o.shape)


@pytest.mark.parametrize("score", SCORES)
@given(seed=seeds)
def test_gradients_are_those_of_torch(score: str, seed: int) -> None:
    """Of a softmax spelled out, whose queries that look at no key get the weights 0."""
    example = Example(seed, score=score)
    z, o, do = adjoints(example, seed)
    found = example.call("attention_gradient", [*example.operands, z, o, do])[:3]
    query, key, value = leaves = [torch.from_numpy(x).requires_grad_() for x in example.operands[:3]]
    repeats = query.shape[1] // key.shape[1]
    products = query @ key.repeat_interleave(repeats, 1).mT
    masks = [torch.from_numpy(np.asarray(mask)) for mask in example.masks]
    scores = {0: lambda: products * 0.5, 1: lambda: products, 2: lambda: products * 2 + masks[1]}[len(masks)]()
    if masks:
        scores = scores.masked_fill(~masks[0], -torch.inf)
    empty = (scores == -torch.inf).all(-1, keepdim=True)
    weights = torch.softmax(scores.masked_fill(empty, 0), -1).masked_fill(empty, 0)
    (weights @ value.repeat_interleave(repeats, 1) * torch.from_numpy(do)).sum().backward()
    close(found, [leaf.grad.numpy() for leaf in leaves])


@given(seed=seeds, data=st.data())
def test_of_parts_of_the_keys_gradients_of_queries_add_up_and_those_of_keys_are_their_own(
    seed: int, data: st.DataObject
) -> None:
    example = Example(seed)
    keys = example.key.shape[2]
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=keys, max_size=keys)))
    given_ = adjoints(example, seed)
    dq, dk, dv = example.call("attention_gradient", [*example.operands, *given_])[:3]
    parts = [example.call("attention_gradient", [*example.part(some), *given_])[:3] for some in (chosen, ~chosen)]
    close([parts[0][0] + parts[1][0]], [dq])
    for (_, own_key, own_value), some in zip(parts, (chosen, ~chosen), strict=True):
        close([own_key, own_value], [dk[:, :, some], dv[:, :, some]])


@pytest.mark.parametrize("slope", ["inf", "nan"])
def test_a_query_that_looks_at_no_key_gives_0_and_hands_on_0_whatever_the_slope_there(slope: str) -> None:
    example = Example(1, score="where(x1, x0, -inf)")
    example.masks = [np.ones((1, 1, example.query.shape[2], 1), bool)]
    example.masks[0][:, :, 0] = False
    example.slope = f"where(x1, 1.0, {slope})"
    z, o = example.state()
    assert (z[:, :, 0] == -np.inf).all() and (o[:, :, 0] == 0).all()
    with np.errstate(invalid="ignore"):
        dq, dk, dv = example.call("attention_gradient", [*example.operands, *adjoints(example, 1)])[:3]
    assert (dq[:, :, 0] == 0).all() and all(np.isfinite(x).all() for x in (dq, dk, dv))


@pytest.mark.parametrize("kernel, far", list(product(("attention", "attention_values"), (-1e4, 1e4))))
def test_scores_far_from_0_neither_overflow_nor_vanish(kernel: str, far: float) -> None:
    """Only differences of scores count."""
    example = Example(2, score="where(x1, 2.0 * x0 + x2, -inf)")
    example.masks = [np.ones((1, 1, 1, 1), bool), np.full((1, 1, 1, 1), 0.0)]
    z, o = example.state()
    example.masks[1] = np.full((1, 1, 1, 1), far)
    given_ = [z + far] if kernel == "attention_values" else []
    np.testing.assert_allclose(example.call(kernel, [*example.operands, *given_])[0], o, rtol=1e-9)
