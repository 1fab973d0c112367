"""Operators that nobody has a rule for: they run, their gradients are torch's, and the plan names them."""

import numpy as np
import pytest
import torch
from torch import nn

import einsplit
from einsplit.capture import capture
from einsplit.graph import Kernel


@torch.library.custom_op("einsplit_tests::cube", mutates_args=())
def cube(x: torch.Tensor, scale: float) -> torch.Tensor:
    return torch.from_numpy(scale * x.detach().numpy() ** 3)


@cube.register_fake
def _(x, scale):
    return torch.empty_like(x)


def _backward(ctx, gradient):
    (x,) = ctx.saved_tensors
    return 3 * ctx.scale * x**2 * gradient, None


def _setup(ctx, inputs, output):
    ctx.save_for_backward(inputs[0])
    ctx.scale = inputs[1]


cube.register_autograd(_backward, setup_context=_setup)


@torch.library.custom_op("einsplit_tests::steps", mutates_args=())
def steps(x: torch.Tensor) -> torch.Tensor:
    return torch.floor(x)


@steps.register_fake
def _(x):
    return torch.empty_like(x)


class Strange(nn.Module):
    """A linear layer, then an operator that is strange to einsplit."""

    def __init__(self, operator):
        super().__init__()
        self.linear = nn.Linear(6, 6, dtype=torch.float64)
        self.operator = operator

    def forward(self, x):
        return self.operator(self.linear(x))


INDEX = torch.tensor(
    [[0, 2, 1, 5, 4, 3], [3, 3, 0, 0, 1, 1], [5, 4, 3, 2, 1, 0], [0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 0]]
)
PERMUTED = torch.tensor([3, 4, 0, 1, 5, 2]).expand(5, 6)
OPERATORS = {
    "custom": (lambda x: cube(x, 0.5), "einsplit_tests.cube"),
    "svd": (lambda x: torch.linalg.svd(x, full_matrices=False).S, "aten.linalg_svd"),
    "fft": (lambda x: torch.fft.rfft(x).abs(), "aten.fft_rfft"),
    "scatter": (lambda x: torch.zeros(5, 6, dtype=x.dtype).scatter(1, PERMUTED, x), "aten.scatter"),
    "sort": (lambda x: x.sort(-1).values * torch.arange(6.0, dtype=x.dtype), "aten.sort"),
    "median": (lambda x: x.median(-1).values, "aten.median"),
    "cummax": (lambda x: x.cummax(-1).values, "aten.cummax"),
    "cdist": (lambda x: torch.cdist(x, x + 1), "aten.cdist"),
    "determinant": (lambda x: torch.linalg.det(x.T @ x), "aten.linalg_det"),
}


@pytest.mark.parametrize("operator, name", OPERATORS.values(), ids=list(OPERATORS))
def test_it_runs_equals_torch_and_is_named(operator, name):
    torch.manual_seed(0)
    module, x = Strange(operator), torch.randn(5, 6, dtype=torch.float64)
    with einsplit.parallelize(module, devices=2) as fast, torch.no_grad():
        torch.testing.assert_close(fast(x), module(x))
        found = [node.attributes for node in einsplit.trace(module, x).nodes if isinstance(node, Kernel)]
        assert any(name in attributes for attributes in found)
        kind = name.split(".")[1].removeprefix("linalg_")
        assert kind in str(fast.plan(x)).lower().replace("linalg_", "")


@pytest.mark.parametrize("operator, name", OPERATORS.values(), ids=list(OPERATORS))
def test_its_gradient_is_torchs(operator, name):
    torch.manual_seed(0)
    module, x = Strange(operator), torch.randn(5, 6, dtype=torch.float64)
    captured = capture(lambda x: module(x).pow(2).sum(), (x,), {}, training=True)
    names = [name for name, tensor in captured.tensors.items() if tensor.requires_grad]
    graph = einsplit.grad(captured.graph, "output", names)
    feeds = {name: tensor.detach().numpy() for name, tensor in captured.tensors.items()} | {"x": x.numpy()}
    found = einsplit.evaluate(graph, feeds)
    module(x).pow(2).sum().backward()
    for name in names:
        gradient = captured.tensors[name].grad.numpy()
        np.testing.assert_allclose(found[f"d(output)/d({name})"], gradient, rtol=1e-8, atol=1e-10)


def test_an_operator_without_a_gradient_is_refused_when_it_is_trained_through():
    step = einsplit.train_step(Strange(steps), lambda module, x: module(x).sum(), einsplit.optim.SGD(lr=0.1), devices=1)
    with pytest.raises(einsplit.EinsplitError, match="has no gradient in torch"):
        step(torch.randn(5, 6, dtype=torch.float64))
