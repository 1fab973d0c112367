"""A model is after a capture what it was before it: what its first run registers is registered by the next."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import einsplit
from einsplit.capture import capture
from einsplit.errors import CaptureError
from tests.support import decoders

X, Y = torch.ones(1, 2), torch.ones(3, 2)


def twice(module: nn.Module, args: object, out: Tensor) -> Tensor:
    return out * 2


class Lazy(nn.Module):
    """Does something to itself on its first run, and says so in one of several ways."""

    def __init__(self, first: Callable[[Lazy], object]) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.is_ready = False
        self.done: set[str] = set()
        self.order: list[str] = []
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_ready:
            self.first(self)
            self.is_ready = True
        return self.layer(x)


FIRST: dict[str, Callable[[Lazy], object]] = {
    "forward hook": lambda m: m.layer.register_forward_hook(twice),
    "forward hook of the whole": lambda m: m.register_forward_hook(twice),
    "pre-hook": lambda m: m.layer.register_forward_pre_hook(lambda _, args: (args[0] * 2,)),
    "pre-hook with names": lambda m: m.layer.register_forward_pre_hook(
        lambda _, a, k: ((a[0] * 2,), k), with_kwargs=True
    ),
    "hook that is always called": lambda m: m.layer.register_forward_hook(twice, always_call=True),
    "state hook": lambda m: m.layer.register_state_dict_post_hook(lambda *_: None),
    "load hook": lambda m: m.layer.register_load_state_dict_post_hook(lambda *_: None),
    "backward hook": lambda m: m.layer.register_full_backward_hook(lambda *_: None),
    "submodule": lambda m: m.add_module("more", nn.ReLU()),
    "set": lambda m: m.done.add("hooks"),
    "list": lambda m: m.order.append("hooks"),
    "submodule that is replaced": lambda m: setattr(m, "first", None) or m.add_module("layer", nn.Identity()),
}


def contents(module: nn.Module) -> list[tuple[str, str, object]]:
    """Every attribute of every module, as text where it is a container."""
    return [
        (name, key, repr(value) if isinstance(value, (dict, list, set)) else id(value))
        for name, part in module.named_modules()
        for key, value in vars(part).items()
    ]


@pytest.mark.parametrize("name", FIRST)
def test_what_a_first_run_does_to_a_module_is_taken_back(name: str) -> None:
    model = Lazy(FIRST[name])
    before = contents(model)
    captured = capture(model, (X,), {})
    assert contents(model) == before
    assert capture(model, (X,), {}).graph == captured.graph


def test_a_hook_is_registered_once_whatever_was_captured_before() -> None:
    torch.manual_seed(0)
    model = Lazy(FIRST["forward hook"])
    wanted = model.layer(X) * 2
    with einsplit.parallelize(model, devices=1) as parallel:
        torch.testing.assert_close(parallel(X), wanted, check_stride=False)
        torch.testing.assert_close(parallel(Y)[:1], wanted)
    torch.testing.assert_close(model(X), wanted)
    torch.testing.assert_close(model(X), wanted)


def test_a_run_that_is_refused_leaves_no_hook() -> None:
    def first(model: Lazy) -> None:
        model.layer.register_forward_hook(lambda _, args, out: out * out.sum().item())

    model = Lazy(first)
    with pytest.raises(CaptureError):
        capture(model, (X,), {})
    assert not model.layer._forward_hooks and not model.is_ready


def test_a_buffer_that_is_registered_on_the_way_is_taken_back_and_told_of() -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if not hasattr(self, "scale"):
                self.register_buffer("scale", torch.ones(2) * 3)
            return x * self.scale

    model = Model()
    with pytest.warns(UserWarning, match="the attribute 'scale' is set while the function runs in torch, and not here"):
        capture(model, (X,), {})
    assert not hasattr(model, "scale")
    assert torch.equal(model(X), X * 3)


def test_hidden_states_of_a_llama_are_as_many_at_every_shape() -> None:
    model = decoders.llama(vocabulary=16, hidden=8, inner=8, heads=2, kv_heads=1, use_cache=False).eval()
    with torch.no_grad(), einsplit.parallelize(model, devices=1) as parallel, warnings.catch_warnings():
        for size in (5, 4):
            tokens = torch.arange(size)[None]
            assert len(parallel(input_ids=tokens, output_hidden_states=True).hidden_states) == 3
        assert len(model(input_ids=tokens, output_hidden_states=True).hidden_states) == 3
