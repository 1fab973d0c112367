"""Writes in place and shared storage: what stays inside a function is right, whatever shares what."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from einsplit.capture import capture
from tests.capture.driver import check, programs, run, same
from tests.capture.tensors import real, truth, whole

X, Y = real(4, 6), real(4, 6)


class Inside:
    """Every function writes in place, into what it made itself."""

    @staticmethod
    def into_a_column(x: Tensor) -> Tensor:
        y = x * 2
        y[:, 0] = 1
        return y

    @staticmethod
    def through_a_flat_view(x: Tensor) -> Tensor:
        y = x * 2
        y.view(-1).add_(1)
        return y

    @staticmethod
    def under_a_view_that_is_read_later(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x * 2
        row, column = y[1], y[:, 2]
        y += 1
        return row, column

    @staticmethod
    def under_a_copy_that_is_read_later(x: Tensor) -> Tensor:
        y = x * 2
        before = y.clone()
        y += 1
        return before - y

    @staticmethod
    def through_contiguous_that_copies_nothing(x: Tensor) -> Tensor:
        y = x * 2
        y.contiguous().add_(1)
        return y

    @staticmethod
    def through_contiguous_that_copies(x: Tensor) -> Tensor:
        y = (x * 2).t()
        y.contiguous().add_(1)
        return y

    @staticmethod
    def through_reshape_that_copies_nothing(x: Tensor) -> Tensor:
        y = x * 2
        y.reshape(2, 12).mul_(3)
        return y

    @staticmethod
    def through_reshape_that_copies(x: Tensor) -> Tensor:
        y = (x * 2).t()
        y.reshape(24).mul_(3)
        return y

    @staticmethod
    def through_a_cast_that_casts_nothing(x: Tensor) -> Tensor:
        y = x * 2
        y.float().add_(1)
        y.to(torch.float64).add_(1)
        return y

    @staticmethod
    def through_detach(x: Tensor) -> Tensor:
        y = x * 2
        y.detach().add_(1)
        return y

    @staticmethod
    def through_the_diagonal(x: Tensor) -> Tensor:
        y = x * 2
        y.diagonal().zero_()
        return y.fill_diagonal_(3.0) + y

    @staticmethod
    def through_transposed_parts(x: Tensor) -> Tensor:
        y = x * 2
        for k, part in enumerate(y.t().split(2)):
            part.add_(k)
        return y

    @staticmethod
    def row_by_row(x: Tensor) -> Tensor:
        y = x * 2
        for k, row in enumerate(y):
            row.mul_(k)
        return y

    @staticmethod
    def by_swapping_views(x: Tensor) -> Tensor:
        y = x * 2
        first, second = y[0], y[1]
        y[0] = second
        y[1] = first
        return y

    @staticmethod
    def by_copy(x: Tensor, y: Tensor) -> Tensor:
        z = torch.empty(2, 4, 6)
        z[0].copy_(x)
        z[1, 1:3] = y[2]
        z[1, 0].copy_(y[0, 0])
        z[1, 3] = 5
        return z

    @staticmethod
    def by_indices(x: Tensor, y: Tensor) -> Tensor:
        z = x * 1
        z[torch.tensor([2, 0])] = y[:2]
        z[:, [1, 3]] += 1
        return z.index_put_((torch.tensor([1, 1]), torch.tensor([2, 2])), torch.tensor(1.5), accumulate=True)

    @staticmethod
    def by_a_mask(x: Tensor) -> Tensor:
        y = x * 2
        y[y > 0] = 0
        y.masked_fill_(y < -1, -1.0)
        return y

    @staticmethod
    def by_scatter(x: Tensor, y: Tensor) -> Tensor:
        return (
            torch.zeros(4, 6)
            .scatter_(1, torch.tensor([[0], [2], [1], [5]]), 1.0)
            .scatter_add_(1, torch.tensor([[3], [2], [1], [0]]), y)
            .add_(x)
        )

    @staticmethod
    def by_out(x: Tensor) -> Tensor:
        y = torch.empty(4, 6)
        z = torch.add(x, 1, out=y)
        torch.mul(x, 2, out=z)
        return y

    @staticmethod
    def in_a_narrower_dtype(x: Tensor) -> Tensor:
        y = x.half()
        y += x * 1e-3
        y.mul_(torch.tensor(3.0))
        return y

    @staticmethod
    def into_booleans_and_integers(x: Tensor) -> tuple[Tensor, Tensor]:
        mask, count = x > 0, (x * 3).long()
        mask &= x < 1
        mask[0] |= True
        count += 1
        count //= 2
        return mask, count

    @staticmethod
    def by_comparing(x: Tensor) -> Tensor:
        y = x * 2
        return y.gt_(0).add_(1)

    @staticmethod
    def by_turning_the_tensor_itself(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x * 2
        before = y.view(4, 6)
        y.t_()
        y.unsqueeze_(0).squeeze_()
        y.add_(1)
        return y, before

    @staticmethod
    def without_gradients(x: Tensor) -> Tensor:
        y = x * 2
        with torch.no_grad():
            y[0] += 1
        return y

    @staticmethod
    def while_casting(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = x @ x.t()
            y += 1
            return y @ x

    @staticmethod
    def into_a_constant_that_was_read(x: Tensor) -> Tensor:
        steps = torch.tensor([1.0, 3.0, 2.0, 9.0, 4.0, 7.0])
        y = x + steps
        steps.add_(1)
        return y * steps

    @staticmethod
    def into_a_mask_of_a_formula(x: Tensor) -> Tensor:
        mask = torch.full((4, 6), float("-inf")).triu(1)
        mask[:, 0] = 0
        return x + mask.clamp(min=-9)

    @staticmethod
    def until_it_returns_the_same_twice(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x * 2
        z = y.add_(1)
        return y, z

    @staticmethod
    def by_activations(x: Tensor) -> Tensor:
        y = x * 2
        return F.relu(F.dropout(y, 0.5, training=False, inplace=True), inplace=True) + y.clamp_(max=1).sqrt_()


FUNCTIONS = {name: function for name, function in vars(Inside).items() if not name.startswith("_")}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_writing_in_place(name: str) -> None:
    function = FUNCTIONS[name].__func__
    x, y = X.clone(), Y.clone()
    args = (x, y)[: function.__code__.co_argcount]
    check(function, *args, meshes=((2, 2),), random_seeds=(0,))
    assert torch.equal(x, X) and torch.equal(y, Y)


def test_two_arguments_that_are_one_tensor() -> None:
    check(lambda x, y: x @ y.t(), X, X, meshes=((2,),), random_seeds=(0,))


def test_an_argument_that_is_a_view_with_odd_strides() -> None:
    base = real(2, 6, 8)
    check(lambda x, y: x + y, base[0, :, ::2].t(), base[1, :, :4].t(), meshes=((2,),), random_seeds=(0,))
    check(lambda x: x.sum(0), real(1, 6).expand(4, 6), meshes=((2,),), random_seeds=(0,))


def test_results_that_are_arguments_and_constants() -> None:
    check(
        lambda x, y: (y, x, x, torch.arange(3), torch.tensor([1.5, 0.0, 7.0])), X, Y, meshes=((2,),), random_seeds=(0,)
    )


SCALE = real(6)
LIMIT = torch.tensor(0.5)


def test_tensors_found_outside_are_read_at_every_call() -> None:
    offset = whole(6)

    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > LIMIT, x * SCALE.exp(), x + offset)

    captured = check(function, X, meshes=((2,),), random_seeds=(0,))
    named = {"SCALE": SCALE, "LIMIT": LIMIT, "offset": offset}
    assert {name: id(tensor) for name, tensor in captured.tensors.items()} == {k: id(v) for k, v in named.items()}
    (program,) = programs(captured, (), ())
    offset += 1
    same(run(captured, program, [X]), function(X))


def test_parameters_of_modules_are_read_at_every_call_wherever_they_are_kept() -> None:
    layers = [torch.nn.Linear(6, 6) for _ in range(5)]
    table = {"one": layers[0], "more": [layers[1], (layers[2],)]}

    class Owner:
        def __init__(self) -> None:
            self.layer = layers[3]

        def apply(self, x: Tensor) -> Tensor:
            return self.layer(x)

    owner = Owner()

    def helper(x: Tensor, last: torch.nn.Linear = layers[4]) -> Tensor:
        return last(owner.apply(x))

    def function(x: Tensor) -> Tensor:
        return helper(table["more"][1][0](table["more"][0](table["one"](x))))

    captured = capture(function, (X,), {})
    weights = {id(p) for layer in layers for p in layer.parameters()}
    assert {id(tensor) for tensor in captured.tensors.values()} == weights
    assert not any("constant" in name for name in captured.tensors)


def test_in_place_on_booleans_cut_over_devices() -> None:
    def function(mask: Tensor) -> Tensor:
        mask = mask.clone()
        mask[1] = ~mask[1]
        return mask

    check(function, truth(4, 6), meshes=((2, 2),), random_seeds=(0, 1))
