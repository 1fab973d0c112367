"""A kernel has a row in every table: its meaning in numpy, its torch code, its gradient."""

from einsplit.autodiff.kernels import RULES
from einsplit.kernels.registry import REFERENCES
from einsplit.passes.attention import SPELLED
from einsplit.runtime.kernels.families import KERNELS

OF_TORCH = {"aten", "aten_vjp"}  # their meaning is torch's own


def test_the_runtime_and_the_gradients_know_every_kernel_that_has_a_meaning_and_no_other() -> None:
    assert set(KERNELS) == {*REFERENCES, *OF_TORCH}
    assert {*RULES, *SPELLED} == set(KERNELS) and not set(RULES) & set(SPELLED)
