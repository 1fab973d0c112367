"""Models that people have are captured unmodified, and give what torch gives: whole, and cut at random over (2, 2)."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from einsplit.capture import Captured, capture
from einsplit.capture.structure import split_structure
from einsplit.report import understood
from tests.capture.driver import run, same
from tests.models.driver import cut, whole
from tests.models.plain import Example
from tests.models.shares import counted_by_torch
from tests.models.zoo import ZOO

# Norms and softmaxes of transformers compute in float32 whatever the model is made of.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 2e-6}


@cache
def captured(name: str) -> tuple[Example, Captured]:
    example = ZOO[name].build()
    return example, capture(example.module, example.args, example.kwargs)


@pytest.mark.parametrize("name", ZOO)
def test_a_model_gives_what_torch_gives(name: str) -> None:
    example, found = captured(name)
    with torch.no_grad():
        wanted = example.module(*example.args, **example.kwargs)
    tensors = [tensor for _, tensor in split_structure((example.args, example.kwargs))[1]]
    for program in (whole(found.graph), cut(found.graph, name)):
        same(run(found, program, tensors), wanted, TOLERANCE[ZOO[name].dtype])


MOST = 1.3  # of what torch counts: the rest is element by element
NOT_COUNTED = {"Mixtral", "recommender"}  # grouped products, and sums of bags: most of what these do


@pytest.mark.parametrize("name", ZOO)
def test_our_count_of_operations_has_every_product_once(name: str) -> None:
    """Of matrices, and every convolution: torch counts those."""
    example, found = captured(name)
    counted, ours = counted_by_torch(example), understood(found.graph).operations
    assert counted <= ours
    assert name in NOT_COUNTED or ours <= MOST * counted
