"""Hooks that wait for gradients are refused by name, gradients inside a loss too, and a loss that no batch fits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import einsplit
from einsplit.errors import CaptureError, EinsplitError
from einsplit.optim import SGD
from tests.training.loops import batches, net, square_loss

(BATCH,) = batches(4)
HOOKS: dict[str, Callable[[nn.Module], object]] = {
    "parameter 'first.weight' has a gradient hook (register_hook)": (
        lambda model: model.first.weight.register_hook(lambda g: g * 2)
    ),
    "parameter 'first.weight' has a gradient hook (register_post_accumulate_grad_hook)": (
        lambda model: model.first.weight.register_post_accumulate_grad_hook(lambda p: None)
    ),
    "module 'second' has a gradient hook (register_full_backward_hook)": (
        lambda model: model.second.register_full_backward_hook(lambda *_: None)
    ),
    "module 'second' has a gradient hook (register_full_backward_pre_hook)": (
        lambda model: model.second.register_full_backward_pre_hook(lambda *_: None)
    ),
}


def step_of(model: nn.Module, loss: Callable[..., Tensor] = square_loss) -> einsplit.TrainStep:
    return einsplit.train_step(model, loss, SGD(), devices=1)


def said(call: Callable[[], object], kind: type[EinsplitError] = CaptureError) -> str:
    with pytest.raises(EinsplitError) as caught:
        call()
    assert type(caught.value) is kind
    return str(caught.value)


@pytest.mark.parametrize("what", HOOKS)
def test_a_hook_is_refused_by_name_and_trained_when_it_is_gone(what: str) -> None:
    message = (
        f"the {what}, which would not be called: gradients stay with the devices\n"
        "  Remove it: handle.remove(). What it does to gradients can be written into the loss, or be clip_norm."
    )
    model = net()
    handle = HOOKS[what](model)
    with step_of(model) as step:
        assert said(lambda: step(*BATCH)) == message
        assert said(lambda: step.plan(*BATCH)) == message
        handle.remove()
        step(*BATCH)
        HOOKS[what](model)
        assert said(lambda: step(*BATCH)) == message
        assert step.num_steps == 1


INNER = (
    "gradients are asked for inside the function, which tracing does not see: einsplit differentiates what it traces",
    "Return the loss and let train_step differentiate it; write an inner gradient out with ordinary operators.",
)


def by_grad(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)  # here
    return g.square().sum()


def by_func(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return torch.func.grad(lambda x: model(x).sum())(x).square().sum()  # here


def by_backward(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    loss = square_loss(model, x, y)
    loss.backward()  # here
    return loss


def by_backward_of_many(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    loss = square_loss(model, x, y)
    torch.autograd.backward([loss])  # here
    return loss


def hooked(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    hidden = model(x)
    hidden.register_hook(lambda g: g * 2)  # here
    return (hidden - y).square().mean()


HOOKED = (
    "a gradient hook that the function registers would not be called, and what it changes would be lost",
    "Write it into what is computed: y * 2 - y.detach() has the value of y, and twice its gradient.",
)


@pytest.mark.parametrize(
    "loss, words",
    [(by_grad, INNER), (by_func, INNER), (by_backward, INNER), (by_backward_of_many, INNER), (hooked, HOOKED)],
    ids=["grad", "func", "backward", "backward of many", "hook"],
)
def test_gradients_inside_the_loss_are_refused_with_the_line(
    loss: Callable[..., Tensor], words: tuple[str, str]
) -> None:
    with open(__file__) as file:
        lines = file.read().splitlines()
    start = loss.__code__.co_firstlineno
    number = next(k for k, line in enumerate(lines, 1) if k > start and line.endswith("# here"))
    mistake, advice = words
    message = said(lambda: step_of(net(), loss)(*BATCH))
    assert message == f"{mistake}\n  at {__file__}:{number}\n  {advice}"


def test_a_hook_that_the_function_registers_is_no_matter_where_nobody_asks_for_gradients() -> None:
    model = net()

    def function(x: Tensor) -> Tensor:
        hidden = model(x)
        if hidden.requires_grad:
            hidden.register_hook(lambda g: g * 2)
        return hidden

    with einsplit.parallelize(function, devices=1) as parallel:
        torch.testing.assert_close(parallel(BATCH[0]), model(BATCH[0]))


def test_a_checkpoint_that_hides_gradients_is_refused_with_the_setting_that_does_not() -> None:
    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return (checkpoint(model.second, model.first(x), use_reentrant=True) - y).square().mean()

    assert said(lambda: step_of(net(), loss)(*BATCH)) == (
        "torch.utils.checkpoint with use_reentrant=True hides the gradient of what it calls\n"
        "  Call checkpoint(..., use_reentrant=False)."
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_batch_that_does_not_fit_the_loss(precision: str) -> None:
    step = einsplit.train_step(net(), lambda model, x: model(x).sum(), SGD(), devices=1, precision=precision)
    advice = "\n  Call the step with what the loss takes after the model."
    called = "the loss, which takes (model, x), is called as loss(model, *batch), and the batch is"
    assert said(lambda: step(*BATCH), EinsplitError) == f"{called} 2 arguments: too many positional arguments{advice}"
    assert said(step, EinsplitError) == f"{called} 0 arguments: missing a required argument: 'x'{advice}"
