"""What is read of torch that is not public still says what it did."""

import sys

import torch

from einsplit.capture.torch_private import (
    GRADIENT_TRANSFORMS,
    MODULE_HOOKS,
    TENSOR_HOOKS,
    VALIDATES_SAMPLE,
    Operator,
    is_of_registered_operator,
    num_writes,
    users_function,
    viewed,
    writes_in_place,
)


@torch.library.custom_op("einsplit_tests::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


twice.register_autograd(lambda ctx, gradient: 2 * gradient)


def test_operators_are_of_the_class_that_is_looked_for():
    assert isinstance(torch.ops.aten.add.Tensor, Operator)
    assert not isinstance(torch.ops.aten.add, Operator)
    assert not isinstance(torch.add, Operator)


def test_the_schema_says_what_writes_in_place():
    assert writes_in_place(torch.ops.aten.add_.Tensor)
    assert writes_in_place(torch.ops.aten.add.out)
    assert not writes_in_place(torch.ops.aten.add.Tensor)
    assert not writes_in_place(torch.add)


def test_functions_of_registered_operators_are_told_from_users_own():
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

    x = torch.ones(3, requires_grad=True)
    assert is_of_registered_operator(type(twice(x).grad_fn))
    assert not is_of_registered_operator(type(Own.apply(x).grad_fn))
    assert users_function(type(Own.apply(x).grad_fn)) is Own


def test_autograd_counts_writes_and_knows_views():
    x = torch.zeros(4)
    before, view = num_writes(x), x[:2]
    view.add_(1)
    assert num_writes(x) == num_writes(view) == before + 1
    assert viewed(view) is x and viewed(x) is None


def test_hooks_stand_where_they_are_looked_for():
    x, layer = torch.zeros(1, requires_grad=True), torch.nn.Linear(1, 1)
    for holder, attributes in ((x, TENSOR_HOOKS), (layer, MODULE_HOOKS)):
        for attribute, registers in attributes.items():
            assert not getattr(holder, attribute, None)
            handle = getattr(holder, registers)(lambda *args: None)
            assert getattr(holder, attribute)
            handle.remove()


def test_transforms_and_the_checks_of_distributions_stand_where_they_are_looked_for():
    assert torch.func.grad(torch.sin)(torch.tensor(0.0)) == 1
    assert sys.modules[GRADIENT_TRANSFORMS].grad_impl
    assert VALIDATES_SAMPLE.__code__ is torch.distributions.Distribution._validate_sample.__code__
