"""`strict=True` refuses kernels that run whole, with the user's lines; every door takes it."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

import einsplit
from einsplit.errors import CaptureError, EinsplitError
from einsplit.kernels.door import kernel
from einsplit.optim import SGD
from einsplit.report import refuse_whole
from einsplit.training import train_step


class Whole(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.weights = nn.ParameterList(torch.eye(3) + k for k in range(count))

    def forward(self, x):
        return sum(torch.linalg.svd(x @ weight)[1].sum() for weight in self.weights)


LINE = Whole.forward.__code__.co_firstlineno + 1
AT = f"    at {__file__}:{LINE}: return sum(torch.linalg.svd(x @ weight)[1].sum() for weight in self.weights)"
WHY = "einsplit knows no way to cut aten.linalg_svd.default here"
ADVICE = "  Write this with operators that can be cut; or leave strict out, and every device repeats it."
X = torch.arange(9.0).reshape(3, 3) + 5 * torch.eye(3)


def refused(call):
    with pytest.raises(CaptureError) as found:
        call()
    return str(found.value).splitlines()


def test_trace_names_each_kind_once_with_its_line():
    assert refused(lambda: einsplit.trace(Whole(1), X, strict=True)) == [
        "a kernel runs whole, and strict refuses that.",
        f"  linalg_svd: {WHY}",
        AT,
        ADVICE,
    ]
    assert refused(lambda: einsplit.trace(Whole(3), X, strict=True)) == [
        "3 kernels run whole, and strict refuses that.",
        f"  linalg_svd x3: {WHY}",
        AT,
        ADVICE,
    ]


def test_without_strict_it_runs():
    model = Whole(2).requires_grad_(False)
    assert einsplit.trace(model, X) == einsplit.trace(model, X, strict=False)
    with einsplit.parallelize(model, devices=2) as fast:
        torch.testing.assert_close(fast(X), model(X))


def test_parallelize_refuses_at_the_call():
    fast = einsplit.parallelize(Whole(1), devices=2, strict=True)
    for call in (fast, fast.plan):
        assert refused(lambda call=call: call(X))[:3] == [
            "a kernel runs whole, and strict refuses that.",
            f"  linalg_svd: {WHY}",
            AT,
        ]

    @einsplit.parallelize(devices=2, strict=True)
    def double(x):
        return x * 2

    torch.testing.assert_close(double(X), X * 2)
    double.close()


def test_a_train_step_refuses_gradients_too():
    step = train_step(Whole(1), lambda model, x: model(x), SGD(lr=0.1), devices=2, strict=True)
    told = refused(lambda: step(X))
    assert told[0] == "2 kernels run whole, and strict refuses that."
    gradient = "einsplit knows no way to cut the gradient of aten.linalg_svd.default here"
    assert told[1:5] == [f"  linalg_svd: {WHY}", AT, f"  linalg_svd.grad: {gradient}", AT]
    step = train_step(nn.Linear(3, 3), lambda model, x: model(x).sum(), SGD(lr=0.1), devices=2, strict=True)
    step.plan(X)


def test_a_kernel_that_some_label_can_cut_is_not_whole():
    builder = einsplit.Builder()
    rows = builder.input("rows", (2, 5), "float32", labels=["b", "k"])
    line = builder.input("line", (5,), "float32", labels=["j"])
    refuse_whole(builder.build({"y": kernel("sort", "b [k] -> b [k]", rows)}))
    single = builder.input("single", (1,), "float32", labels=["o"])
    refuse_whole(builder.build({"y": kernel("sort", "[o] -> [o]", single)}))
    assert refused(lambda: refuse_whole(builder.build({"y": kernel("sort", "[j] -> [j]", line)}))) == [
        "a kernel runs whole, and strict refuses that.",
        "  sort: sort needs each of its labels whole",
        ADVICE,
    ]


def test_of_many_kinds_the_first_are_named_and_the_others_counted():
    names = ("inv", "pinv", "svdvals", "eigvals", "eigvalsh", "matrix_exp", "cholesky", "qr", "lu", "eigh")

    def function(x):
        found = [getattr(torch.linalg, name)(x) for name in names]
        return [each[0] if isinstance(each, tuple) else each for each in found]

    told = refused(lambda: einsplit.trace(function, X, strict=True))
    assert told[0] == "10 kernels run whole, and strict refuses that."
    assert len(told) == 1 + 2 * 8 + 2 and told[-2:] == ["  and 2 more kinds", ADVICE]


def test_a_functions_own_argument_is_not_taken_from_it():
    def function(x, strict=False):
        return x + 1 if strict else x + 2

    assert einsplit.trace(function, X) == einsplit.trace(lambda x: x + 2, X)
    for value in (False, True):
        with pytest.raises(EinsplitError) as found:
            einsplit.trace(function, X, strict=value)
        assert str(found.value) == (
            "both trace and the function have an argument `strict`\n"
            "  Give the function its own by functools.partial(function, strict=...)."
        )
    bound = functools.partial(function, strict=True)
    assert einsplit.trace(bound, X) == einsplit.trace(bound, X, strict=True) == einsplit.trace(lambda x: x + 1, X)
