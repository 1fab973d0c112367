"""detach, no_grad, custom functions, buffers and random numbers in training: torch's gradient, or a refusal by name."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import einsplit
from einsplit.errors import CaptureError

BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32


class Sign(torch.autograd.Function):
    """The sign, with the gradient of the identity."""

    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def detached(model, x):
    y = model(x)
    return (y * model(y).detach()).sum()


def without_gradient(model, x):
    y = model(x)
    with torch.no_grad():
        z = model(y)
    return (y * z).sum()


def decorated(model, x):
    y = model(x)
    return (y * torch.no_grad()(model)(y)).sum()


def written_without_gradient(model, x):
    """torch rewrites a program that writes in place, and inlines its regions."""
    y = model(x)
    with torch.no_grad():
        z = model(y)
    z = z + 0
    z.mul_(2)
    return (y * z).sum()


def nested(model, x):
    y = model(x)
    with torch.no_grad():
        z = model(y)
        with torch.enable_grad():
            u = model(y + z)
        w = model(u)
    return (y * z + u * w).sum()


def parted(model, x):
    """One result of an operator is stopped, the other is not."""
    a, b = model(x).chunk(2, -1)
    return (a * b.detach()).sum()


def straight_through(model, x):
    """The sign forward, the identity backward, without a custom function."""
    y = model(x)
    return ((y.sign() - y).detach() + y).pow(2).sum()


def at_kinks(model, x):
    """relu, clamp, abs and max at and around their kinks."""
    y = model(x).round()
    low = y.clamp(-1, 1) + F.hardtanh(y) + F.relu(y) + F.relu6(y) + y.abs() + F.hardswish(3 * y) + F.leaky_relu(y)
    return (low.max(-1).values + y.amax(-1) + torch.maximum(y, y.flip(0)).sum(-1)).pow(2).sum()


CASES = [detached, without_gradient, decorated, written_without_gradient, nested, parted, straight_through, at_kinks]


@pytest.mark.parametrize("loss", CASES, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("devices", [1, 2])
def test_a_step_moves_the_weights_as_torch_does(loss, devices):
    torch.manual_seed(0)
    model, x = nn.Linear(4, 4).double(), torch.randn(6, 4, dtype=torch.float64)
    own = copy.deepcopy(model)
    with einsplit.train_step(model, loss, einsplit.optim.SGD(lr=0.1), devices=devices) as step:
        value = step(x)
        found = step.state_dict()
    expected = loss(own, x)
    expected.backward()
    torch.testing.assert_close(value, expected.detach())
    for name, parameter in own.named_parameters():
        torch.testing.assert_close(found[name], parameter.detach() - 0.1 * parameter.grad)


def test_a_custom_autograd_function_is_refused_by_name_and_line():
    step = einsplit.train_step(
        nn.Linear(3, 3), lambda model, x: Sign.apply(model(x)).sum(), einsplit.optim.SGD(), devices=1
    )
    with pytest.raises(CaptureError) as caught:
        step(torch.ones(2, 3))
    line = 1 + Path(__file__).read_text().splitlines().index("class Sign(torch.autograd.Function):")
    assert str(caught.value) == (
        "the gradient of Sign, a torch.autograd.Function, is written in Python and would be lost\n"
        f"  at {__file__}:{line}\n"
        "  Write what it computes with ordinary operators, detach() where no gradient flows, or make it an operator "
        "with torch.library.custom_op and register_autograd."
    )


def test_a_custom_function_without_a_source_file_is_refused_by_name():
    typed = type("Typed", (Sign,), {"__module__": "prompt"})
    step = einsplit.train_step(
        nn.Linear(3, 3), lambda model, x: typed.apply(model(x)).sum(), einsplit.optim.SGD(), devices=1
    )
    with pytest.raises(CaptureError, match=r"^the gradient of Typed, a torch\.autograd\.Function, .*\n  Write what"):
        step(torch.ones(2, 3))


def test_a_custom_function_that_no_gradient_reaches_is_none():
    step = einsplit.train_step(
        nn.Linear(3, 3), lambda model, x: (Sign.apply(x) * model(x)).sum(), einsplit.optim.SGD(), devices=1
    )
    with step:
        step(torch.ones(2, 3))


def test_running_statistics_move_as_torch_moves_them():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6, momentum=0.3), nn.Unflatten(1, (2, 3)), nn.BatchNorm1d(2))
    model = model.double()
    own = copy.deepcopy(model)
    optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
    with einsplit.train_step(
        model, lambda model, x: model(x).sin().sum(), einsplit.optim.SGD(lr=0.1), devices=2
    ) as step:
        for _ in range(3):
            x = torch.randn(7, 5, dtype=torch.float64)
            loss = own(x).sin().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            torch.testing.assert_close(step(x), loss.detach())
        found = step.state_dict()
    assert found["1.num_batches_tracked"] == 3
    for name, tensor in own.state_dict().items():
        torch.testing.assert_close(found[name], tensor)


@pytest.mark.parametrize("dtype, own_dtype", [(BF16, BF16), (BF16, F32), (F16, F16), (F16, F32)], ids=str)
def test_running_statistics_of_half_precision_are_rounded_once_as_torch_rounds_them(dtype, own_dtype):
    torch.manual_seed(0)
    model = nn.BatchNorm2d(3, momentum=0.3, dtype=own_dtype)
    own = copy.deepcopy(model)
    with einsplit.train_step(model, lambda model, x: model(x).sum(), einsplit.optim.SGD(lr=0.0), devices=2) as step:
        for _ in range(4):
            x = (3 * torch.randn(4, 3, 2, 5) + 1).to(dtype)
            own(x)
            step(x)
        found = step.state_dict()
    assert found["num_batches_tracked"] == 4
    for name in ("running_mean", "running_var"):
        wanted = own.state_dict()[name]
        assert found[name].dtype == wanted.dtype == own_dtype
        torch.testing.assert_close(found[name], wanted, rtol=max(torch.finfo(own_dtype).eps, 1e-5), atol=1e-5)


def test_dropout_draws_anew_at_every_step_and_as_the_seed_says():
    model = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 1))

    def losses():
        torch.manual_seed(5)
        with einsplit.train_step(model, lambda model, x: model(x).sum(), einsplit.optim.SGD(lr=0.0), devices=2) as step:
            return [step(torch.ones(3, 4)).item() for _ in range(3)]

    first = losses()
    assert len(set(first)) == 3
    assert first == losses()
