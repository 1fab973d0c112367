"""What cannot be captured is refused, in one error that shows the user's own line and says what to change."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from einsplit.capture import capture
from einsplit.errors import CaptureError
from tests.capture.tensors import real

X = real(4, 6)
OUTSIDE = real(6)
LINEAR = torch.nn.Linear(6, 6)
NORM = torch.nn.BatchNorm1d(6)
AVERAGING = torch.nn.BatchNorm1d(6, momentum=None)
HALF = torch.nn.Linear(6, 6, dtype=torch.bfloat16)


class Keeping(torch.nn.Module):
    """Sums what it sees, without a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.total = torch.zeros(6)

    def forward(self, x: Tensor) -> Tensor:
        self.total = self.total + x.sum(0)
        return self.total * 1


@dataclass
class Box:
    parts: list[Tensor] = field(default_factory=list)


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
    def argument(x: Tensor) -> Tensor:
        """the function writes into its argument 'x', and a forward pass keeps no state
        at {here}
        Write into a copy, x = x.clone(), and return it."""
        x[:, 0] = 1  # here
        return x

    @staticmethod
    def view_of_an_argument(x: Tensor) -> Tensor:
        """the function writes into its argument 'x', and a forward pass keeps no state
        at {here}
        Write into a copy, x = x.clone(), and return it."""
        y = x.view(-1)
        y.add_(1)  # here
        return x

    @staticmethod
    def argument_in_place(x: Tensor) -> Tensor:
        """the function writes into its argument 'x', and a forward pass keeps no state
        at {here}
        Write into a copy, x = x.clone(), and return it."""
        return F.relu(x, inplace=True)  # here

    @staticmethod
    def argument_by_out(x: Tensor) -> Tensor:
        """the function writes into its argument 'x', and a forward pass keeps no state
        at {here}
        Write into a copy, x = x.clone(), and return it."""
        return torch.add(OUTSIDE, 1, out=x[0])  # here

    @staticmethod
    def parameter(x: Tensor) -> Tensor:
        """the function writes into the parameter 'weight', and a forward pass keeps no state
        at {here}
        Compute a new tensor and return it."""
        with torch.no_grad():
            LINEAR.weight.mul_(2)  # here
        return LINEAR(x)

    @staticmethod
    def batch_norm(x: Tensor) -> Tensor:
        """the function writes into the buffer 'running_mean', and a forward pass keeps no state
        at {here}
        Compute a new tensor and return it; of batch norm in training: call model.eval(), or train with train_step."""
        return NORM(x)  # here

    @staticmethod
    def outside(x: Tensor) -> Tensor:
        """the function writes into a tensor that it finds outside, and a forward pass keeps no state
        at {here}
        Compute a new tensor and return it."""
        OUTSIDE.add_(1)  # here
        return x + OUTSIDE

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
    def dtypes(x: Tensor) -> Tensor:
        """aten.linear.default is given tensors of float32 and bfloat16, and takes one dtype, as in torch
        at {here}
        Cast one of them, x.to(weight.dtype), or run under torch.autocast."""
        return HALF(x)  # here

    @staticmethod
    def distribution(x: Tensor) -> Tensor:
        """a distribution checks the values of its arguments, and values are not known while tracing
        at {here}
        Make it with validate_args=False."""
        return torch.distributions.Normal(x, x.exp(), validate_args=True).log_prob(x)  # here

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


FUNCTIONS = {name: function for name, function in vars(Refused).items() if not name.startswith("_")}


def message_of(function: Callable[..., object], *args: object) -> str:
    """Of an error that keeps what is wrong, where, and what to change apart."""
    with pytest.raises(CaptureError) as caught:
        capture(function, args, {})
    parts = (caught.value.mistake, *caught.value.remarks)
    assert len(parts) > 1 and not any("\n" in part for part in parts)
    return str(caught.value)


def expected(function: Callable[..., object], here: str) -> str:
    """The message in the function's docstring: what is wrong, then, indented by two, where, and what to change."""
    return "\n  ".join(line.strip() for line in (function.__doc__ or "").splitlines()).replace("{here}", here)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_shows_the_line_and_says_what_to_change(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    function = FUNCTIONS[name].__func__
    before = [tensor.clone() for tensor in (X, OUTSIDE, LINEAR.weight, NORM.running_mean)]
    lines, start = inspect.getsourcelines(function)
    here = next((start + k for k, line in enumerate(lines) if line.endswith("# here\n")), 0)
    assert message_of(function, X) == expected(function, f"{__file__}:{here}")
    assert capfd.readouterr() == ("", "")
    for old, new in zip(before, (X, OUTSIDE, LINEAR.weight, NORM.running_mean), strict=True):
        assert torch.equal(old, new)


DENSE = "and only dense ones are cut over devices.\n  Pass x.to_dense()."
ARGUMENTS: dict[str, tuple[Callable[[], Tensor], str]] = {
    "sparse": (lambda: X.to_sparse(), f"argument 'x' is a sparse_coo tensor, {DENSE}"),
    "compressed": (lambda: X.to_sparse_csr(), f"argument 'x' is a sparse_csr tensor, {DENSE}"),
    "conjugate": (
        lambda: torch.view_as_complex(real(3, 2)).conj(),
        "argument 'x' is a conjugate that is not computed yet.\n  Pass x.resolve_conj().resolve_neg().",
    ),
    "uint16": (
        lambda: torch.zeros(3, dtype=torch.uint16),
        "tensors of uint16 are not supported.\n  Use one of bool, uint8, int8, int16, int32, int64, float16, bfloat16, "
        "float32, float64, complex64, complex128.",
    ),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_that_cannot_be_cut_is_named(name: str) -> None:
    make, message = ARGUMENTS[name]
    assert message_of(lambda x: x * 1, make()) == message


def test_putting_tensors_into_an_argument_that_is_not_returned_is_refused() -> None:
    def collect(x: Tensor, out: list[Tensor]) -> Tensor:
        out.append(x * 2)
        return x

    def fill(x: Tensor, box: Box) -> Tensor:
        box.parts.append(x * 2)
        return x

    out: list[Tensor] = []
    box = Box()
    advice = "Return what it computes: the caller's object stays as it is."
    assert message_of(collect, X, out) == f"the function puts tensors into its argument 'out' (a list)\n  {advice}"
    assert message_of(fill, X, box) == f"the function puts tensors into its argument 'box' (a Box)\n  {advice}"
    assert out == [] and box.parts == []
    captured = capture(lambda x, box: (fill(x, box), box), (X, box), {})
    assert len(captured.outputs) == 2 and box.parts == []


def test_a_module_that_keeps_a_tensor_for_its_next_call_is_refused() -> None:
    module = Keeping()
    before = module.total
    with pytest.warns(UserWarning, match="the attribute 'total' is set while the function runs in torch, and not here"):
        message = message_of(module, X)
    assert message == (
        "the function reads and sets the attribute 'total' of a module, and a forward pass keeps no state\n"
        "  Pass the tensor in as an argument and return its next value."
    )
    assert module.total is before


def test_an_attribute_set_for_later_is_warned_of_and_set_back() -> None:
    def function(x: Tensor) -> Tensor:
        LINEAR.seen = x * 2
        return LINEAR(x)

    with pytest.warns(UserWarning, match="the attribute 'seen' is set while the function runs in torch, and not here"):
        capture(function, (X,), {})
    assert not hasattr(LINEAR, "seen")


@torch.library.custom_op("einsplit_tests::halve_in_place", mutates_args={"x"})
def halve_in_place(x: Tensor) -> None:
    x.mul_(0.5)


def test_a_users_operator_that_writes_in_place_is_refused() -> None:
    def function(x: Tensor) -> Tensor:
        y = x * 2
        halve_in_place(y)
        return y

    assert "halve_in_place" in message_of(function, X) or "auto_functionalized" in message_of(function, X)
