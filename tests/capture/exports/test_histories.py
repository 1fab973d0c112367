"""Writes that autograd does not record: torch's own gradient, or a refusal, and never another number."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import pytest
import torch
from torch import Tensor, nn

from einsplit.errors import CaptureError
from tests.capture.driver import check
from tests.capture.gradients import check_gradients
from tests.capture.refusals.messages import functions_of
from tests.capture.tensors import real
from tests.models.driver import differentiated, farthest, whole
from tests.models.plain import Example

no_grad = torch.no_grad


class Model(nn.Module):
    """A parameter, a buffer, and what is computed of them."""

    def __init__(self, compute: Callable[[Model, Tensor], Tensor]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.linspace(0.1, 1.3, 12, dtype=torch.float64).view(3, 4))
        self.register_buffer("k", torch.zeros(4, 4, dtype=torch.float64))
        self.compute = compute

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(self, x)


X = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4)


class Same:
    """Torch's gradient: nothing flows through what is written, and all of it through what is not."""

    @staticmethod
    def into_part_of_a_buffer(m: Model, x: Tensor) -> Tensor:
        y = x * m.w
        with no_grad():
            m.k[:3] = y
        return m.k[:3].clone() * y

    @staticmethod
    def by_copy_into_a_slice(m: Model, x: Tensor) -> Tensor:
        y, k = x * m.w, torch.zeros_like(m.k)
        with no_grad():
            k[:3].copy_(y)
        return k[:3] * y

    @staticmethod
    def seen_by_a_view_of_before(m: Model, x: Tensor) -> Tensor:
        y, k = x * m.w, torch.zeros_like(m.k)
        before = k[1:]
        with no_grad():
            k[:3] = y
        return before * y

    @staticmethod
    def of_what_is_computed_there(m: Model, x: Tensor) -> Tensor:
        y, k = x * m.w, torch.zeros_like(m.k)
        with no_grad():
            k[:3].add_(y.sin() * 2)
        return k[:3] * y

    @staticmethod
    def before_a_write_that_is_recorded(m: Model, x: Tensor) -> Tensor:
        y, k = x * m.w, torch.zeros_like(m.k)
        with no_grad():
            k[:3] = y
        k[:3].mul_(m.w)
        return k[:3] + y

    @staticmethod
    def into_what_is_computed_there(m: Model, x: Tensor) -> Tensor:
        with no_grad():
            y = x * m.w
        y.mul_(m.w)
        return y

    @staticmethod
    def of_the_whole_beside_a_write_that_is_recorded(m: Model, x: Tensor) -> Tensor:
        y, z = x * m.w, x * m.w
        with no_grad():
            k = y * 1
            k[:, 0] = 0
        z[:, 1] = k[:, 2]
        return z * k

    @staticmethod
    def into_a_detached_tensor_that_nobody_else_reads(m: Model, x: Tensor) -> Tensor:
        y = (x * m.w).detach()
        y.clamp_(min=0)
        return y * m.w


def unseen(write: Callable[[], object]) -> None:
    """The write, where autograd does not record it."""
    with no_grad():
        write()


class Refused:
    """The gradient is that of what a tensor held before, or stands in one of two that share memory."""

    @staticmethod
    def a_factor(m: Model, x: Tensor) -> Tensor:
        z = x * m.w
        unseen(lambda: z.mul_(2))  # here
        return z * 3

    @staticmethod
    def a_column(m: Model, x: Tensor) -> Tensor:
        z = x * m.w
        with no_grad():
            z[:, 0] = 0  # here
        return z * 3

    @staticmethod
    def a_view(m: Model, x: Tensor) -> Tensor:
        z = x * m.w
        row = z[1]
        unseen(lambda: z.add_(1))  # here
        return row * 3

    @staticmethod
    def what_is_returned(m: Model, x: Tensor) -> Tensor:
        z = x * m.w
        unseen(lambda: z.exp_())  # here
        return z

    @staticmethod
    def through_detach(m: Model, x: Tensor) -> Tensor:
        z = x * m.w
        z.detach().mul_(2)  # here
        return z * 3

    @staticmethod
    def a_detached_tensor_with_a_history_of_its_own(m: Model, x: Tensor) -> Tensor:
        z = (x * m.w).detach()
        z.mul_(m.w)  # here
        return z[:2] * 3


def difference(compute: Callable[[Model, Tensor], Tensor]) -> float:
    """Of loss and gradients, from torch's, relative; the buffer is as it was."""
    model = Model(compute)
    case = differentiated(Example(model, (X,), {}))
    model.k.zero_()
    wanted = case.wanted()
    return farthest(case.gradients(whole(case.graph)), wanted)[0]


@pytest.mark.parametrize("name", functions_of(Same))
def test_a_gradient_is_torchs(name: str) -> None:
    assert difference(functions_of(Same)[name]) < 1e-12


@pytest.mark.parametrize("name", functions_of(Refused))
def test_a_gradient_of_before_a_write_is_refused(name: str) -> None:
    function = functions_of(Refused)[name]
    with pytest.raises(CaptureError) as caught:
        difference(function)
    mistake, (line, advice) = caught.value.mistake, caught.value.remarks
    assert mistake == "a write under torch.no_grad() or through detach() changes a tensor that has a gradient"
    assert advice == "Write where gradients are enabled and not through detach(), or into a copy: x.detach().clone()."
    number = int(line.rpartition(":")[2])
    with open(__file__) as file:
        assert file.read().splitlines()[number - 1].endswith("# here")


def test_what_is_traced_without_training_stops_the_same_gradients_by_data() -> None:
    def function(x: Tensor) -> Tensor:
        k = torch.zeros_like(x)
        with no_grad():
            k[:2] = x[2:] * 2
            scale = x.sum()
        return k * x * scale

    check_gradients(function, real(4, 6, dtype=torch.float64))


def test_what_gradients_would_not_allow_runs_forward() -> None:
    def function(x: Tensor) -> Tensor:
        y = x * 2
        with no_grad():
            part = y[:2]
        part.add_(1)
        return y

    check(function, real(4, 6), meshes=((2,),), random_seeds=(0,))


UNARY: tuple[Callable[[Tensor], Tensor], ...] = (
    torch.sin,
    torch.clone,
    torch.detach,
    lambda a: a[:2],
    lambda a: a[-2:],
    lambda a: a.view(a.shape),
    lambda a: a.t().t(),
)
WRITES: tuple[Callable[[Tensor, Tensor], object], ...] = (
    Tensor.copy_,
    Tensor.add_,
    Tensor.mul_,
    lambda a, b: a.mul_(2),
    lambda a, b: a[:, 0].copy_(b[:, 1]),
    lambda a, b: a[:, 1].zero_(),
    lambda a, b: a[:2].mul_(b[:2]),
    lambda a, b: a.masked_fill_(b > 0, 0.5),
)


@dataclass(frozen=True)
class Program:
    """Random views, writes and new tensors, some of them under no_grad; the same for the same seed."""

    seed: int

    def __call__(self, m: Model, x: Tensor) -> Tensor:
        random = Random(self.seed)
        pool = [m.w * 1, x * 1, m.w + x, torch.zeros_like(x)]
        for _ in range(random.randint(2, 7)):
            with torch.set_grad_enabled(random.random() < 0.55):
                a = random.choice(pool)
                b = random.choice([other for other in pool if other.shape == a.shape])
                if random.random() < 0.5:
                    random.choice(WRITES)(a, random.choice((b, m.w[: len(a)])))
                else:
                    pool.append(random.choice((lambda a=a, b=b: a * b, lambda a=a: random.choice(UNARY)(a)))())
        first, second = random.choice(pool), random.choice(pool)
        return first.sum() + (second * second).sum() + m.w.sum()


def test_random_programs_have_torchs_gradients_or_are_refused() -> None:
    compared = 0
    for seed in range(30):
        program = Program(seed)
        try:
            program(Model(program), X).backward()
        except RuntimeError:  # torch itself refuses
            continue
        with suppress(CaptureError):
            assert difference(program) < 1e-9, program
            compared += 1
    assert compared > 15
