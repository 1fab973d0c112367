"""What no Graph can hold is refused, in one error that shows the user's own line and says what to change."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.capture.refusals.messages import expected_of, functions_of, message_of
from tests.capture.tensors import real

X = real(4, 6)
AVERAGING = nn.BatchNorm1d(6, momentum=None)
CHECKING = torch.distributions.Normal(0.0, 1.0, validate_args=True)


class Refused:
    """Functions that cannot be captured; the line at fault is marked, where there is one."""

    @staticmethod
    def branch(x: Tensor) -> Tensor:
        """the value of a tensor chooses what is computed, and values are not known while tracing
        at {here}
        Choose with torch.where, or pass the number or the choice in as an argument of its own."""
        if x.sum() > 0:  # here
            return x
        return -x

    @staticmethod
    def assertion(x: Tensor) -> Tensor:
        """the value of a tensor chooses what is computed, and values are not known while tracing
        at {here}
        Choose with torch.where, or pass the number or the choice in as an argument of its own."""
        assert x.max() < 9  # here
        return x

    @staticmethod
    def item(x: Tensor) -> Tensor:
        """aten.item.default makes a Python number of a tensor, and values are not known while tracing
        at {here}
        Choose with torch.where, or pass the number in as an argument of its own."""
        return x * x.sum().item()  # here

    @staticmethod
    def integer(x: Tensor) -> Tensor:
        """the value of a tensor chooses what is computed, and values are not known while tracing
        at {here}
        Choose with torch.where, or pass the number or the choice in as an argument of its own."""
        return x * int(x.sum())  # here

    @staticmethod
    def chosen_rows(x: Tensor) -> Tensor:
        """the shape of what aten.index.Tensor returns depends on the values of a tensor
        at {here}
        Keep the shape: torch.where(mask, x, 0) instead of x[mask]."""
        return x[x > 0]  # here

    @staticmethod
    def nonzero(x: Tensor) -> Tensor:
        """the shape of what aten.nonzero.default returns depends on the values of a tensor
        at {here}
        Keep the shape: torch.where(mask, x, 0) instead of x[mask]."""
        return torch.nonzero(x)  # here

    @staticmethod
    def cond(x: Tensor) -> Tensor:
        """operators that call functions (torch.cond, while_loop) are not captured
        at {here}
        Choose with torch.where, or pass the number or the choice in as an argument of its own."""
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))  # here

    @staticmethod
    def multinomial(x: Tensor) -> Tensor:
        """aten.multinomial.default draws random numbers, and a plan must not change them
        at {here}
        Call model.eval(), or pass the numbers in as an argument."""
        return torch.multinomial(x.sigmoid(), 2)  # here

    @staticmethod
    def poisson(x: Tensor) -> Tensor:
        """aten.poisson.default draws random numbers, and a plan must not change them
        at {here}
        Call model.eval(), or pass the numbers in as an argument."""
        return torch.poisson(x.exp())  # here

    @staticmethod
    def memory_of_a_view(x: Tensor) -> Tensor:
        """as_strided reads memory behind a view, and a value that is cut lies elsewhere
        at {here}
        Take x.contiguous() first, or index instead."""
        return torch.as_strided(x.T, (2, 2), (6, 1))  # here

    @staticmethod
    def nothing(x: Tensor) -> None:
        """the function returns no tensor.
        Return tensors, without .item() or .tolist(): einsplit computes what is returned, and nothing else."""

    @staticmethod
    def numbers(x: Tensor) -> object:
        """the function returns a number made of a tensor.
        Return tensors, without .item() or .tolist(): einsplit computes what is returned, and nothing else."""
        return x, x.tolist()

    @staticmethod
    def a_set(x: Tensor) -> object:
        """a tensor stands in a set, at top.
        Use a list or a dict."""
        return {x, x + 1}

    @staticmethod
    def sparse(x: Tensor) -> Tensor:
        """aten.to_sparse.default makes a tensor of torch.sparse_coo
        at {here}
        Stay with dense tensors of ordinary dtypes."""
        return x.to_sparse()  # here

    @staticmethod
    def float8(x: Tensor) -> Tensor:
        """aten.to.dtype makes a tensor of torch.float8_e4m3fn
        at {here}
        Stay with dense tensors of ordinary dtypes."""
        return x.to(torch.float8_e4m3fn).float()  # here

    @staticmethod
    def data(x: Tensor) -> Tensor:
        """a tensor is read in a way that torch.export does not record
        Instead of x.data write x.detach(); keep no tensors of one call for the next."""
        return x.data * 2

    @staticmethod
    def shapes(x: Tensor) -> Tensor:
        """the function cannot be traced: RuntimeError: a and b must have same reduction dim, but got [4, 6] X [4, 6].
        at {here}
        Call it without einsplit first: it is traced with tensors that have a shape and no values."""
        return x @ x  # here

    @staticmethod
    def distribution(x: Tensor) -> Tensor:
        """a distribution checks the values of its arguments, and values are not known while tracing
        at {here}
        Make it with validate_args=False."""
        return torch.distributions.Normal(x, x.exp(), validate_args=True).log_prob(x)  # here

    @staticmethod
    def sample_of_a_distribution(x: Tensor) -> Tensor:
        """a distribution checks the values of its arguments, and values are not known while tracing
        at {here}
        Make it with validate_args=False."""
        return CHECKING.log_prob(x)  # here

    @staticmethod
    def averaging_norm(x: Tensor) -> Tensor:
        """a batch norm with momentum=None divides by the number of its calls, and values are not known while tracing
        at {here}
        Give it a momentum, BatchNorm1d(..., momentum=0.1), or call eval() of that layer."""
        return AVERAGING(x)  # here

    @staticmethod
    def own_error(x: Tensor) -> Tensor:
        """the function cannot be traced: ValueError: six columns are too many
        at {here}
        Call it without einsplit first: it is traced with tensors that have a shape and no values."""
        raise ValueError("six columns are too many")  # here

    @staticmethod
    def numpy(x: Tensor) -> Tensor:
        """the function cannot be traced: RuntimeError: .numpy() is not supported for tensor subclasses.
        at {here}
        Call it without einsplit first: it is traced with tensors that have a shape and no values."""
        return torch.from_numpy(x.numpy())  # here


FUNCTIONS = functions_of(Refused)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_shows_the_line_and_says_what_to_change(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    function, before = FUNCTIONS[name], X.clone()
    assert message_of(function, X) == expected_of(function)
    assert capfd.readouterr() == ("", "")
    assert torch.equal(X, before)


class Centred(torch.distributions.Normal):
    """A user's own, which looks at a value itself."""

    def log_prob(self, value: Tensor) -> Tensor:
        """the value of a tensor chooses what is computed, and values are not known while tracing
        at {here}
        Choose with torch.where, or pass the number or the choice in as an argument of its own."""
        return super().log_prob(value if value.sum() > 0 else -value)  # here


class CentredNorm(nn.BatchNorm1d):
    """A user's own, which looks at a value itself."""

    def forward(self, input: Tensor) -> Tensor:
        """the value of a tensor chooses what is computed, and values are not known while tracing
        at {here}
        Choose with torch.where, or pass the number or the choice in as an argument of its own."""
        return super().forward(input if input.sum() > 0 else -input)  # here


OWN: dict[str, tuple[Callable[..., object], Callable[..., object]]] = {  # what is called, and what looks
    "distribution": (lambda x: Centred(x, x.exp(), validate_args=False).log_prob(x), Centred.log_prob),
    "norm": (CentredNorm(6).eval(), CentredNorm.forward),
}


@pytest.mark.parametrize("name", OWN)
def test_what_is_derived_from_a_layer_of_torchs_and_looks_itself_is_not_told_to_change_that_layer(name: str) -> None:
    called, looks = OWN[name]
    assert message_of(called, X) == expected_of(looks)
