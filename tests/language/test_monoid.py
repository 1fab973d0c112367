"""Aggregations: laws of their states, their identities, and their whole reductions against numpy's own."""

from functools import reduce as fold

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsplit.errors import DtypeError, NotationError
from einsplit.monoid import MONOIDS, States, combine, finish, identity_states, lift, monoid, reduce

FLOATS = st.one_of(st.sampled_from([0.0, 1.0, -2.0, 0.5, 700.0, -np.inf, np.inf, np.nan]), st.floats(-9, 9, width=32))
ELEMENTS = {
    "bool": st.booleans(),
    "int8": st.integers(-128, 127),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float32": FLOATS,
    "float64": FLOATS,
}
CASES = st.sampled_from([(name, dtype) for name in MONOIDS for dtype in ELEMENTS]).filter(lambda case: takes(*case))


def takes(name: str, dtype: str) -> bool:
    try:
        monoid(name).result_dtype(dtype)
    except DtypeError:
        return False
    return True


@st.composite
def cases(draw: st.DrawFn, least: int = 0) -> tuple[str, np.ndarray]:
    """An aggregation and a vector of elements that it takes."""
    name, dtype = draw(CASES)
    return name, np.array(draw(st.lists(ELEMENTS[dtype], min_size=least, max_size=6)), dtype)


def close(left: States, right: States) -> bool:
    return all(
        a.dtype == b.dtype and np.allclose(a, b, rtol=1e-4, atol=1e-4, equal_nan=True)
        for a, b in zip(left, right, strict=True)
    )


def states_of(name: str, values: np.ndarray) -> States:
    start = identity_states(name, values.dtype.name)
    return fold(lambda left, value: combine(name, left, lift(name, value)), values, start)


@given(cases(least=3))
def test_combining_is_associative_and_commutative(case: tuple[str, np.ndarray]) -> None:
    name, values = case
    a, b, c = (states_of(name, values[k::3]) for k in range(3))
    assert close(combine(name, a, b), combine(name, b, a))
    left = finish(name, combine(name, combine(name, a, b), c))
    right = finish(name, combine(name, a, combine(name, b, c)))
    assert close((left,), (right,))


@given(cases())
def test_the_identity_changes_nothing_to_the_bit(case: tuple[str, np.ndarray]) -> None:
    name, values = case
    states, start = states_of(name, values), identity_states(name, values.dtype.name)
    for other in (combine(name, states, start), combine(name, start, states)):
        assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(states, other, strict=True))


@pytest.mark.parametrize("name, dtype", [(name, dtype) for name in MONOIDS for dtype in ELEMENTS if takes(name, dtype)])
def test_two_identities_make_the_identity_and_never_nan(name: str, dtype: str) -> None:
    start = identity_states(name, dtype, (2,))
    assert len(start) == (2 if name in ("logsumexp", "mean") else 1)
    for left, right in zip(start, combine(name, start, start), strict=True):
        assert np.array_equal(left, right) and left.dtype == right.dtype
        assert not np.isnan(right.astype(np.float64)).any()


@given(cases())
def test_a_whole_reduction_is_the_fold_of_its_elements(case: tuple[str, np.ndarray]) -> None:
    name, values = case
    assert close((reduce(name, values, (0,)),), (finish(name, states_of(name, values)),))


@given(cases(least=1))
def test_the_number_given_as_identity_pads(case: tuple[str, np.ndarray]) -> None:
    name, values = case
    if name == "mean":  # it has none: padding counts
        return
    padded = np.append(values, np.array(monoid(name).identity(values.dtype.name), values.dtype))
    assert close((reduce(name, values, (0,)),), (reduce(name, padded, (0,)),))


@given(cases())
def test_one_element_alone_is_itself_to_the_bit(case: tuple[str, np.ndarray]) -> None:
    name, values = case
    alone = reduce(name, values, ())
    assert np.array_equal(alone, values, equal_nan=values.dtype.kind == "f")
    assert alone.dtype == monoid(name).result_dtype(values.dtype.name)


@pytest.mark.parametrize(
    "name, numpys",
    [
        ("sum", np.sum),
        ("prod", np.prod),
        ("max", np.max),
        ("min", np.min),
        ("mean", np.mean),
        ("logsumexp", lambda array, axes: np.log(np.exp(array).sum(axes))),
    ],
)
@pytest.mark.parametrize("axes", [(0,), (1,), (2, 0), (0, 1, 2)])
def test_reductions_over_dimensions_are_numpys(name: str, numpys: np.ufunc, axes: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.testing.assert_allclose(reduce(name, array, axes), numpys(array, axes), rtol=1e-12)


@pytest.mark.parametrize("name, numpys", [("any", np.any), ("all", np.all)])
def test_truth_is_reduced_as_numpy_does(name: str, numpys: np.ufunc) -> None:
    array = np.random.default_rng(0).random((3, 4)) < 0.5
    assert np.array_equal(reduce(name, array, (1,)), numpys(array, 1))


@pytest.mark.parametrize(
    "name, values, expected",
    [
        ("logsumexp", [-np.inf, -np.inf], -np.inf),
        ("logsumexp", [np.inf, 0.0], np.inf),
        ("logsumexp", [np.inf, np.inf], np.inf),
        ("logsumexp", [np.inf, -np.inf], np.inf),
        ("logsumexp", [np.nan, np.inf], np.nan),
        ("logsumexp", [1000.0, 1000.0], 1000.0 + np.log(2.0)),
        ("logsumexp", [], -np.inf),
        ("max", [np.nan, 1.0], np.nan),
        ("min", [1.0, np.nan], np.nan),
        ("max", [], -np.inf),
        ("sum", [np.inf, -np.inf], np.nan),
        ("prod", [0.0, np.inf], np.nan),
        ("prod", [], 1.0),
        ("mean", [], np.nan),
    ],
)
def test_values_at_the_edges(name: str, values: list[float], expected: float) -> None:
    np.testing.assert_equal(reduce(name, np.array(values, np.float64), (0,)), np.array(expected))


@pytest.mark.parametrize(
    "name, dtype, result",
    [
        ("sum", "bool", "int64"),
        ("sum", "uint8", "int64"),
        ("prod", "int32", "int64"),
        ("sum", "float16", "float16"),
        ("sum", "bfloat16", "bfloat16"),
        ("prod", "complex64", "complex64"),
        ("max", "int8", "int8"),
        ("min", "bool", "bool"),
        ("any", "bool", "bool"),
        ("mean", "float32", "float32"),
        ("logsumexp", "bfloat16", "bfloat16"),
    ],
)
def test_the_dtype_of_results(name: str, dtype: str, result: str) -> None:
    assert monoid(name).result_dtype(dtype) == result


@pytest.mark.parametrize(
    "name, dtype, advice",
    [
        ("mean", "int64", "cast(x, float32)"),
        ("logsumexp", "int32", "cast(x, float32)"),
        ("any", "int64", "x != 0"),
        ("all", "float32", "x != 0"),
        ("max", "complex64", "no order"),
    ],
)
def test_dtypes_not_taken_are_refused_with_advice(name: str, dtype: str, advice: str) -> None:
    with pytest.raises(DtypeError) as caught:
        monoid(name).result_dtype(dtype)
    assert f"{name} does not take {dtype}" in str(caught.value)
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    "name, dtype, identity",
    [
        ("max", "int8", -128),
        ("min", "uint8", 255),
        ("max", "bool", False),
        ("min", "bool", True),
        ("max", "float16", -np.inf),
        ("min", "int64", 2**63 - 1),
        ("sum", "float32", 0),
        ("prod", "int64", 1),
        ("logsumexp", "float64", -np.inf),
    ],
)
def test_identities(name: str, dtype: str, identity: float) -> None:
    assert monoid(name).identity(dtype) == identity


def test_an_unknown_aggregation_is_refused_with_a_guess() -> None:
    with pytest.raises(NotationError, match=r"unknown aggregation 'sun'\.\n  Did you mean 'sum'\?"):
        monoid("sun")
