"""What is found of expressions, and made of them: substitution, linearity, products, simplification."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsplit.dtypes import int_range, kind
from einsplit.errors import DtypeError
from einsplit.scalar import (
    Expr,
    call,
    const,
    index,
    is_linear,
    is_product,
    labels_of,
    operand,
    operands_of,
    parse_join,
    simplify,
    substitute,
    to_text,
)
from tests.language.scalars.expressions import branches, numbers, same_bits, values_of


@given(numbers("float"), numbers("float"))
def test_substituting_then_evaluating_is_evaluating_then_feeding(outer: Expr, inner: Expr) -> None:
    x, y = np.array([0.5, -1.0, 3.0]), np.array([2.0, 0.0, -0.5])
    inner = inner + operand(0) * 0  # so that it has the dtype of the operands, and not a weak one
    fed = np.broadcast_to(values_of(inner, [x, y]), 3)
    assert same_bits(values_of(substitute(outer, {0: inner}, {}), [x, y]), values_of(outer, [fed, y]))


def test_labels_and_operands_are_replaced_at_once() -> None:
    expr = parse_join("where(index(i) >= index(j), x, y)", 2, ("i", "j"))
    assert (labels_of(expr), operands_of(expr)) == ({"i", "j"}, {0, 1})
    factors = index("a") * 4 + index("b")
    swapped = substitute(expr, {0: operand(1), 1: operand(0)}, {"i": factors, "j": const(0)})
    assert to_text(swapped) == "where(index(a) * 4 + index(b) >= 0, y, x)"


@pytest.mark.parametrize(
    "text, carriers, linear",
    [
        ("x", {0}, True),
        ("x + y", {0, 1}, True),
        ("x + y", {0}, False),
        ("x - 2 * y", {0, 1}, True),
        ("x * y", {0}, True),
        ("x * y", {0, 1}, False),
        ("x * x", {0}, False),
        ("x / y", {0}, True),
        ("x / y", {1}, False),
        ("-x", {0}, True),
        ("x * exp(y) + z * tanh(y)", {0, 2}, True),
        # 0 times inf is NaN, and so is 0 / 0
        ("x * inf", {0}, False),
        ("x / 0", {0}, False),
        ("cast(x, float32)", {0}, True),
        ("cast(x, int32)", {0}, False),
        # a branch may be chosen by anything but a carrier
        ("where(z > 0, x, 0)", {0}, True),
        ("where(z > 0, x, 1)", {0}, False),
        ("where(z > 0, x, y)", {0, 1}, True),
        ("where(z > 0, x, y)", {0}, False),
        ("where(x > 0, x, 0)", {0}, False),
        ("where(x == index(i), y, 0)", {1}, True),
        # not additive, or not 0 at 0
        ("max(x, 0)", {0}, False),
        ("abs(x)", {0}, False),
        ("x ** 1", {0}, False),
        ("x + 1", {0}, False),
        ("x + 0", {0}, True),
        ("y", {0}, False),
        ("0", {0}, True),
    ],
)
def test_where_addends_may_flow(text: str, carriers: set[int], linear: bool) -> None:
    assert is_linear(parse_join(text, 3, ("i",)), frozenset(carriers)) is linear


def linear_candidates() -> st.SearchStrategy[Expr]:
    """Trees of the operators that can keep a join linear, so that many are."""
    leaves = st.sampled_from([*[operand(0)] * 5, operand(1), const(0), const(2), index("i")])
    tree = branches(leaves, ["add", "sub", "neg", "add", "sub", "mul", "div"])
    tests = st.sampled_from([parse_join("index(i) > 0", 0, "i"), parse_join("y > 1", 2)])
    return st.one_of(tree, st.tuples(tests, tree, tree).map(lambda t: call("where", *t)))


@given(
    linear_candidates(),
    st.sampled_from([{0}, {1}, {0, 1}]),
    st.lists(st.sampled_from([-4.0, -1.0, 0.0, 2.0, 8.0]), min_size=4, max_size=4),
)
@settings(max_examples=300)
def test_what_is_called_linear_is_additive(expr: Expr, carriers: set[int], values: list[float]) -> None:
    if not is_linear(expr, frozenset(carriers)):
        return
    first = [np.full(3, value) for value in values[:2]]
    second = [np.full(3, value) if k in carriers else first[k] for k, value in enumerate(values[2:])]
    both = [a + b if k in carriers else a for k, (a, b) in enumerate(zip(first, second, strict=True))]
    summed = values_of(expr, first) + values_of(expr, second)
    whole = values_of(expr, both)
    finite = np.isfinite(summed) & np.isfinite(whole)  # free factors may divide by 0
    left, right = np.where(finite, summed, 0), np.where(finite, whole, 0)
    np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9 * np.abs(left).max())


@pytest.mark.parametrize(
    "text, product",
    [
        ("x", (0,)),
        ("x * y", (0, 1)),
        ("z * (x * y)", (2, 0, 1)),
        ("x * x", None),
        ("x * 2", None),
        ("x + y", None),
        ("-x", None),
    ],
)
def test_products_of_operands_are_recognised(text: str, product: tuple[int, ...] | None) -> None:
    assert is_product(parse_join(text, 3)) == product


@pytest.mark.parametrize(
    "text, simple",
    [
        ("x * (2 - 1)", "x"),
        ("1.0 * x", "x"),
        ("x / 1 - 0", "x"),
        ("--x", "x"),
        ("not not (x > 0)", "x > 0"),
        ("where(2 > 1, x, y)", "x"),
        ("where(not (x > 0), x, y)", "where(x > 0, y, x)"),
        ("where(x > 0, y, y)", "y"),
        ("x > 0 and true", "x > 0"),
        ("x > 0 or true", "true"),
        ("cast(cast(x, float32), float32)", "cast(x, float32)"),
        ("index(i) * (7 // 2) + 0 * 3", "index(i) * 3 + 0"),
        # what would change bits, or the dtype, stays
        ("x + 0", "x + 0"),
        ("x * 0", "x * 0"),
        ("x - -0.0", "x - -0.0"),
        ("0.1 + 0.2", "0.1 + 0.2"),
        ("index(i) * 1.0", "index(i) * 1.0"),
        ("where(true, 0, x)", "where(true, 0, x)"),
    ],
)
def test_simplification_by_example(text: str, simple: str) -> None:
    assert to_text(simplify(parse_join(text, 2, ("i",)))) == simple


@given(st.one_of(numbers("float"), numbers("int")), st.sampled_from(["float32", "float64", "int64", "int8"]))
@settings(max_examples=400)
def test_simplification_keeps_every_bit_and_the_dtype(expr: Expr, dtype: str) -> None:
    floats, integers = [0.0, -0.0, 1.0, -2.5, math.inf, math.nan], [0, 1, -2, 7]
    values = floats if kind(dtype) == "float" else [*integers, *int_range(dtype)]
    operands = [np.array(values, dtype), np.array(values[::-1], dtype)]
    small = simplify(expr)
    assert simplify(small) == small
    assert small.size <= expr.size
    try:
        before = values_of(expr, operands)
    except DtypeError:
        return
    assert same_bits(*np.broadcast_arrays(before, values_of(small, operands)))
