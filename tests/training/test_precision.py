"""bfloat16 inside, float32 weights: the steps of torch.autocast, as casts in the graph."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import einsplit
from einsplit.errors import EinsplitError


def loss(model, x, y):
    return F.cross_entropy(model(x), y)


@pytest.mark.parametrize("devices", [1, 2])
def test_steps_in_bfloat16_are_those_of_autocast(devices):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 5))
    own = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(own.parameters(), lr=1e-3)
    with einsplit.train_step(model, loss, einsplit.optim.AdamW(lr=1e-3), devices=devices, precision="bfloat16") as step:
        for _ in range(5):
            x, y = torch.randn(32, 16), torch.randint(5, (32,))
            with torch.autocast("cpu", torch.bfloat16):
                expected = loss(own, x, y)
            optimizer.zero_grad()
            expected.backward()
            optimizer.step()
            assert step(x, y).item() == pytest.approx(expected.item(), abs=5e-3)
        dtypes = {node.name: node.dtype for node in step.graph(x, y).nodes}
        products = {dtype for name, dtype in dtypes.items() if name.endswith(".product")}
        found = step.state_dict()
    assert products == {"bfloat16"}
    assert dtypes["optimizer.0.weight.mean"] == dtypes["0.weight"] == "float32"
    for name, parameter in own.named_parameters():
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], parameter.detach(), rtol=0, atol=6e-3)  # five steps of 1e-3


def test_an_unknown_precision_is_refused():
    with pytest.raises(EinsplitError, match=r"^precision='float33'\n  Did you mean 'float32'\?$"):
        einsplit.train_step(nn.Linear(2, 2), loss, einsplit.optim.SGD(), devices=1, precision="float33")
