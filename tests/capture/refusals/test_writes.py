"""What is written where it is seen outside is refused, by the line that writes and by the name of what it changes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from einsplit.capture import capture
from tests.capture.refusals.messages import expected_of, functions_of, message_of
from tests.capture.tensors import real

X = real(4, 6)
OUTSIDE = real(6)
LINEAR = torch.nn.Linear(6, 6)
NORM = torch.nn.BatchNorm1d(6)


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
    """Functions that write; the line at fault is marked."""

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


FUNCTIONS = functions_of(Refused)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_shows_the_line_and_nothing_is_written(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    function = FUNCTIONS[name]
    before = [tensor.clone() for tensor in (X, OUTSIDE, LINEAR.weight, NORM.running_mean)]
    assert message_of(function, X) == expected_of(function)
    assert capfd.readouterr() == ("", "")
    for old, new in zip(before, (X, OUTSIDE, LINEAR.weight, NORM.running_mean), strict=True):
        assert torch.equal(old, new)


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
