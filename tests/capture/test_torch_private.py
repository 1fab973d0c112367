"""What is read of torch that is not public still says what it did."""

import torch

from einsplit.capture.torch_private import Operator, is_of_registered_operator, users_function, writes_in_place


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
