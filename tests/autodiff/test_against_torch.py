"""Gradients of random einsums are those of torch.autograd: at ties, zeros and infinities too."""

from __future__ import annotations

from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsplit.autodiff import grad, gradient_name
from einsplit.evaluate import evaluate
from tests.autodiff.einsums import AGGREGATIONS, FUNCTIONS, POOLS, UNSETTLED, Case, random_case
from tests.autodiff.torch_meaning import torch_gradients

seeds = st.integers(0, 2**32 - 1)


def agree(case: Case) -> None:
    """All gradients are torch's, up to rounding of the largest number of the gradient and 1; NaN is NaN."""
    tolerance = 1e-9 if "float32" not in repr(case.graph) else 2e-6  # sums of rounded numbers depend on their order
    graph = grad(case.graph, "loss", case.wrt)
    found = evaluate(graph, case.feeds)
    if ", prod" in repr(case.graph) and not np.isfinite(found["loss"]):
        return  # see UNSETTLED
    wanted = torch_gradients(case.graph, case.feeds, "loss", case.wrt)
    for name, array in zip(case.wrt, wanted, strict=True):
        own = found[gradient_name("loss", name)]
        assert (own.shape, own.dtype) == (array.shape, array.dtype), name
        scale = np.abs(array[np.isfinite(array)]).max(initial=1.0)
        if any(np.isinf(fed).any() for fed in case.feeds.values()):
            # Whether infinite slopes cancel (NaN), or are of what cancelled before, is a matter of who sums first.
            own = np.where(np.isinf(own) & np.isnan(array), np.nan, own)
        np.testing.assert_allclose(own, array, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("function", FUNCTIONS)
@given(seed=seeds)
@settings(max_examples=25)
def test_every_scalar_function(function: str, pool: str, seed: int) -> None:
    agree(random_case(Random(seed), pool, function=function))


@pytest.mark.parametrize("agg, pool", [pair for pair in product(AGGREGATIONS, POOLS) if pair not in UNSETTLED])
@given(seed=seeds)
@settings(max_examples=60)
def test_every_aggregation(agg: str, pool: str, seed: int) -> None:
    agree(random_case(Random(seed), pool, agg=agg))


@pytest.mark.parametrize("pool", POOLS)
@given(seed=seeds)
@settings(max_examples=100)
def test_chains_that_share_values(pool: str, seed: int) -> None:
    agree(random_case(Random(seed), pool, num_nodes=4))


@pytest.mark.parametrize("agg", AGGREGATIONS)
@given(seed=seeds)
@settings(max_examples=40)
def test_dimensions_without_elements(agg: str, seed: int) -> None:
    agree(random_case(Random(seed), "whole", agg=agg, num_nodes=2, sizes=(0, 1, 2)))


@given(seed=seeds)
@settings(max_examples=60)
def test_chains_in_single_precision(seed: int) -> None:
    agree(random_case(Random(seed), "smooth", num_nodes=2, dtype="float32"))
