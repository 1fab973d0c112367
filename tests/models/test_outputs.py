"""Models that people have are captured unmodified, and give what torch gives: whole, and cut at random over (2, 2)."""

from __future__ import annotations

import pytest
import torch

from einsplit.capture import capture
from einsplit.capture.structure import split_structure
from tests.capture.driver import run, same
from tests.models.driver import cut, whole
from tests.models.zoo import ZOO

# Norms and softmaxes of transformers compute in float32 whatever the model is made of.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 2e-6}


@pytest.mark.parametrize("name", ZOO)
def test_a_model_gives_what_torch_gives(name: str) -> None:
    row = ZOO[name]
    example = row.build()
    with torch.no_grad():
        wanted = example.module(*example.args, **example.kwargs)
    captured = capture(example.module, example.args, example.kwargs)
    tensors = [tensor for _, tensor in split_structure((example.args, example.kwargs))[1]]
    for program in (whole(captured.graph), cut(captured.graph, name)):
        same(run(captured, program, tensors), wanted, TOLERANCE[row.dtype])
