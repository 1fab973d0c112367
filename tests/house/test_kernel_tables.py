"""A kernel has a row in every table: its meaning in numpy, its torch code, its gradient."""

from einsplit.autodiff.kernels import RULES
from einsplit.kernels.registry import REFERENCES
from einsplit.runtime.kernels.families import KERNELS, SEVERAL

OF_TORCH = {"aten", "aten_vjp"}  # their meaning is torch's own


def test_the_runtime_and_the_gradients_know_every_kernel_that_has_a_meaning_and_no_other() -> None:
    assert {*KERNELS, *SEVERAL} == {*REFERENCES, *OF_TORCH}
    assert set(RULES) == {*KERNELS, *SEVERAL}
    assert not set(KERNELS) & set(SEVERAL)
