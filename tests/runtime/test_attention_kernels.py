"""Attention's kernels on a device give what numpy gives: by torch's fused kernel, and in stretches of queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from einsplit.kernels.attention import NUM_GIVEN
from einsplit.kernels.registry import reference
from einsplit.runtime.kernels.families import attention
from einsplit.scalar import Expr, evaluate
from einsplit.solver.program import limits


@dataclass(frozen=True, slots=True)
class Form:
    """A score, its slope, and the masks that it reads."""

    score: str
    slope: str
    masks: Callable[[np.random.Generator, tuple[int, ...]], list[np.ndarray]]


def some(random: np.random.Generator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a mask that is the same along some dimensions."""
    return tuple(size if random.random() < 0.6 else 1 for size in shape)


def positions(random: np.random.Generator, shape: tuple[int, ...]) -> list[np.ndarray]:
    *_, queries, keys = shape
    return [
        np.arange(queries).reshape(-1, 1)[None, None] + random.choice([-2, 0, 0, 3]),
        np.arange(keys)[None, None, None],
    ]


FORMS = {
    "all": Form("x0 * 0.5", "0.5", lambda random, shape: []),
    "some": Form(
        "where(x1, x0, -inf)", "where(x1, 1.0, 0.0)", lambda random, shape: [random.random(some(random, shape)) < 0.6]
    ),
    "shifted": Form(
        "where(x1, 2.0 * x0 + x2, -inf)",
        "where(x1, 2.0, 0.0)",
        lambda random, shape: [random.random(some(random, shape)) < 0.6, random.normal(size=some(random, shape))],
    ),
    "earlier": Form("where(x1 >= x2, x0 * 0.5, -inf)", "where(x1 >= x2, 0.5, 0.0)", positions),
    "bent": Form(
        "where(x1, tanh(x0), -inf)",
        "where(x1, 1.0 - tanh(x0) * tanh(x0), inf)",  # where nobody looks it may be anything
        lambda random, shape: [random.random(some(random, shape)) < 0.6],
    ),
}


@dataclass(frozen=True, slots=True)
class Called:
    """A kernel and random operands of it."""

    kernel: str
    form: Form
    operands: list[torch.Tensor]

    def meant(self) -> list[np.ndarray]:
        """Every result in float64."""
        arrays = [x.double().numpy() if x.is_floating_point() else x.numpy() for x in self.operands]
        with np.errstate(invalid="ignore"):
            return list(reference(self.kernel)(self.attributes, arrays, ()))

    def run(self, wanted: Sequence[int]) -> list[torch.Tensor]:
        found = attention.KERNELS[self.kernel](self.attributes, self.operands, dict.fromkeys(wanted, ()))
        return [found[number] for number in wanted]

    @property
    def attributes(self) -> dict[str, object]:
        return {"score": self.form.score, "slopes": {"0": self.form.slope}}


def called(seed: int, kernel: str, form: str, dtype: torch.dtype) -> Called:
    random = np.random.default_rng(seed)
    batch, groups, repeats, queries, features, values = random.integers(1, 4, 6)
    keys = random.choice([queries, *range(1, 6)])
    heads = groups * repeats
    shapes = [(batch, heads, queries, features), (batch, groups, keys, features), (batch, groups, keys, values)]
    arrays = [random.normal(size=shape) for shape in shapes] + FORMS[form].masks(random, (batch, heads, queries, keys))
    operands = [torch.from_numpy(np.array(x)) for x in arrays]
    wide = torch.promote_types(dtype, torch.float32)  # what a score is of
    operands = [x.to(dtype) for x in operands[:3]] + [x.to(wide) if x.is_floating_point() else x for x in operands[3:]]
    o, z = (torch.from_numpy(x) for x in Called("attention", FORMS[form], operands).meant())
    do = torch.from_numpy(random.normal(size=o.shape))
    rows = [z.to(wide), o.to(dtype), do.to(dtype)]
    return Called(kernel, FORMS[form], operands + rows[: NUM_GIVEN[kernel]])


CASES = [("attention", [0, 1]), ("attention", [1, 0]), ("attention", [1]), ("attention_values", [0])]
CASES += [("attention_gradient", list(wanted)) for wanted in ((0, 1, 2), (2, 0), (1,), (2,))]


@pytest.mark.parametrize("is_fused", [True, False], ids=["by torch's kernel", "in stretches"])
@pytest.mark.parametrize("kernel, wanted", CASES, ids=str)
@given(seed=st.integers(0, 2**32 - 1), form=st.sampled_from(list(FORMS)), most=st.sampled_from([1, 7, 1 << 22]))
@settings(max_examples=20)
def test_a_kernel_gives_what_numpy_gives_in_stretches_of_any_length(
    kernel: str, wanted: list[int], is_fused: bool, seed: int, form: str, most: int
) -> None:
    call = called(seed, kernel, form, torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "MAX_SCORES", most)
        if not is_fused:
            patch.setattr(attention, "fused_attention", lambda *operands: None)
        found = call.run(wanted)
    every = call.meant()
    assert len(found) == len(wanted)
    for number, tensor in zip(wanted, found, strict=True):
        np.testing.assert_allclose(tensor.numpy(), every[number], rtol=0, atol=1e-12)


# Of the largest number of a result: halves of a step where scores and sums are of float32, and some for what is rounded
# on the way.
ROUNDING = {torch.float32: 2e-6, torch.float16: 6 * 2.0**-11, torch.bfloat16: 6 * 2.0**-8}


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("kernel", NUM_GIVEN)
@given(seed=st.integers(0, 2**32 - 1), form=st.sampled_from(list(FORMS)))
@settings(max_examples=30)
def test_results_are_of_the_values_dtype_and_the_logsum_is_float32_at_least(
    kernel: str, dtype: torch.dtype, seed: int, form: str
) -> None:
    call = called(seed, kernel, form, dtype)
    every = call.meant()
    for number, tensor in enumerate(call.run(range(min(len(every), 3)))):
        is_logsum = kernel == "attention" and number == 1
        assert tensor.dtype == (torch.float32 if is_logsum else dtype)
        limit = ROUNDING[dtype] * np.abs(every[number][np.isfinite(every[number])]).max(initial=1)
        np.testing.assert_allclose(tensor.double().numpy(), every[number], rtol=0, atol=limit)


def test_no_more_scores_than_a_stretch_has_stand_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two heads of 50 queries and 40 keys, 400 scores at a time: five queries."""
    met = []

    def watched(expr: Expr, operands: Sequence[torch.Tensor], *rest: object) -> torch.Tensor:
        met.append(operands[0].numel())
        return evaluate(expr, operands, *rest)

    monkeypatch.setattr(attention, "evaluate", watched)
    monkeypatch.setattr(attention, "fused_attention", lambda *operands: None)
    monkeypatch.setattr(limits, "MAX_SCORES", 400)
    query, key, value = torch.randn(1, 2, 50, 3), torch.randn(1, 2, 40, 3), torch.randn(1, 2, 40, 3)
    o, z = Called("attention", FORMS["all"], [query, key, value]).run((0, 1))
    assert met == [400] * 10
    Called("attention_gradient", FORMS["all"], [query, key, value, z, o, o]).run((0, 1, 2))
    assert max(met) == 400
