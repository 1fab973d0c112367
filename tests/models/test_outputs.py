"""Models that people have are captured unmodified, and give what torch gives: whole, and cut at random over (2, 2)."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from einsplit.capture import Captured, capture
from einsplit.capture.structure import split_structure
from einsplit.passes import tidy
from tests.capture.driver import run, same
from tests.models.driver import cut, whole
from tests.models.plain import Example
from tests.models.shares import share
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


@pytest.mark.parametrize("name", ZOO)
def test_our_count_of_operations_misses_no_product(name: str) -> None:
    """Of matrices, and no convolution: torch counts those."""
    example, found = captured(name)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        example.module(*example.args, **example.kwargs)
    assert share(tidy(found.graph)).operations >= counter.get_total_flops()
