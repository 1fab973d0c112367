"""The gradients of a model by all its parameters are torch's: whole, and cut at random over (2, 2)."""

from __future__ import annotations

import pytest
import torch

from tests.models.driver import cut, differentiated, farthest, whole
from tests.models.zoo import ZOO

# Relative to the largest element of each gradient. Norms and softmaxes of transformers compute in float32.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 5e-6}
# Cut too: one of each kind. The others are made of the same parts, and are cut where there is more time.
CUT = ("Llama", "GPT-2", "BERT", "ViT", "Mixtral", "convolutions", "convolutions in training", "recommender")


@pytest.mark.parametrize("name", ZOO)
def test_all_gradients_of_a_model_are_torchs(name: str) -> None:
    row = ZOO[name]
    case = differentiated(row.build())
    wanted = case.wanted()
    assert len(case.parameters) == sum(tensor.requires_grad for tensor in case.example.module.parameters())
    programs = [whole(case.graph)] + ([cut(case.graph, name)] if name in CUT else [])
    for program in programs:
        distance, where = farthest(case.gradients(program), wanted)
        assert distance <= TOLERANCE[row.dtype], where


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ZOO if name not in CUT])
def test_all_gradients_of_the_other_models_are_torchs_when_cut(name: str) -> None:
    case = differentiated(ZOO[name].build())
    distance, where = farthest(case.gradients(cut(case.graph, name)), case.wanted())
    assert distance <= TOLERANCE[ZOO[name].dtype], where
