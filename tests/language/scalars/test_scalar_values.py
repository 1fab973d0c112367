"""The dtype and the value of joins: the strict rule, plain Python as oracle, and random numbers."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from einsplit.dtypes import DTYPES
from einsplit.errors import DtypeError
from einsplit.scalar import (
    NUMPY,
    OPERATORS,
    Expr,
    evaluate,
    num_operations,
    parse_join,
    random_bits,
    result_dtype,
    typed_steps,
)
from tests.language.scalars.expressions import Array, expressions, numbers, values_of

# ------------------------------------------------------------------------------------------------ dtypes


@pytest.mark.parametrize(
    "text, dtypes, expected",
    [
        ("x * y", ("float32", "float32"), "float32"),
        # constants and indices take the dtype of what they meet
        ("2 * x + 1.5", ("float16",), "float16"),
        ("x + index(i)", ("int32",), "int32"),
        ("where(x == index(i), y, 0)", ("int64", "bfloat16"), "bfloat16"),
        ("x * (index(i) / 2)", ("float64",), "float64"),
        ("x * (1 / 3)", ("complex64",), "complex64"),
        # among themselves
        ("index(i) * 2 + 1", (), "int64"),
        ("index(i) / 2", (), "float32"),
        ("exp(1)", (), "float32"),
        ("where(index(i) >= 2, 0, -inf)", (), "float32"),
        # comparisons, truth values, random numbers
        ("x < 300", ("uint8",), "bool"),
        ("x and not y", ("bool", "bool"), "bool"),
        ("max(x, y)", ("bool", "bool"), "bool"),
        ("random(1, index(i)) * x", ("float32",), "float32"),
        ("random(x, index(i))", ("int32",), "float32"),
        ("abs(x)", ("complex128",), "float64"),
        ("floor(x)", ("int16",), "int16"),
        ("cast(x, float64) * y", ("int8", "float64"), "float64"),
        ("cast(0.1, float64) + x", ("float64",), "float64"),
        ("x ** 2", ("float32",), "float32"),
    ],
)
def test_the_dtype_rule(text: str, dtypes: tuple[str, ...], expected: str) -> None:
    assert result_dtype(parse_join(text, len(dtypes), ("i",)), dtypes) == expected


@pytest.mark.parametrize(
    "text, dtypes, words",
    [
        ("x + 0.5", ("int32",), ["int32 and the float 0.5", "cast(x, float32)"]),
        ("x / 2", ("int32",), ["'/' does not take int32", "'//'", "cast(x, float32)"]),
        ("x / y", ("int64", "int64"), ["'//'"]),
        ("exp(x)", ("int64",), ["exp(cast(x, float32))"]),
        ("x * y", ("bool", "bool"), ["'*' does not take bool", "'and'"]),
        ("x and y", ("bool", "int8"), ["'and' does not take int8", "y != 0"]),
        ("where(x, y, 0)", ("int8", "int8"), ["x != 0"]),
        ("x < y", ("complex64", "complex64"), ["no order"]),
        ("max(x, y)", ("complex64", "complex64"), ["no order"]),
        ("cast(x, float32)", ("complex64",), ["abs"]),
        ("x + 300", ("uint8",), ["300 does not fit into uint8"]),
        ("x + (200 + 100)", ("uint8",), ["300 does not fit into uint8"]),
        ("-x", ("bool",), ["does not take bool"]),
        ("random(x)", ("float32",), ["seed and the indices are integers"]),
        ("x * y", ("bfloat16", "float16"), ["bfloat16 and float16"]),
        ("x", ("float33",), ["unknown dtype 'float33'"]),
        ("x + y", ("float32",), ["operand 1 of 1"]),
    ],
)
def test_dtypes_that_do_not_meet_are_refused(text: str, dtypes: tuple[str, ...], words: list[str]) -> None:
    with pytest.raises(DtypeError) as caught:
        result_dtype(parse_join(text, 2, ("i",)), dtypes)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_different_dtypes_are_shown_with_operands_and_advice() -> None:
    with pytest.raises(DtypeError) as caught:
        result_dtype(parse_join("x * (x + y)", 2), ("float32", "int64"))
    assert str(caught.value) == (
        "'+' does not take float32 and int64 together.\n"
        "  x * (x + y)\n"
        "       ^^^^^\n"
        "  x: float32, y: int64.\n"
        "  Write cast(y, float32)."
    )


NUMPYS = st.sampled_from([dtype for dtype in DTYPES if dtype != "bfloat16"])


@given(expressions(), st.one_of(NUMPYS.map(lambda dtype: [dtype] * 5), st.lists(NUMPYS, min_size=5, max_size=5)))
@settings(max_examples=400)
def test_values_have_the_dtype_of_the_rule(expr: Expr, dtypes: list[str]) -> None:
    operands = [np.ones(3, dtype) for dtype in dtypes]
    try:
        steps = typed_steps(expr, dtypes)
    except DtypeError:
        return
    if all(step.dtype != "bfloat16" for step in steps):  # numpy has none
        assert values_of(expr, operands).dtype == result_dtype(expr, dtypes)


# ------------------------------------------------------------------------------------------------ values


def scalar_value(expr: Expr, operands: Sequence[float], position: int) -> float:
    """One element in plain Python; raises ArithmeticError or ValueError where Python has no such value."""
    if expr.op == "const":
        return expr.value
    if expr.op == "operand":
        return operands[expr.value]
    if expr.op == "index":
        return position
    a, *rest = (scalar_value(arg, operands, position) for arg in expr.args)
    b, c = (*rest, None, None)[:2]
    return {
        "add": lambda: a + b,
        "sub": lambda: a - b,
        "mul": lambda: a * b,
        "div": lambda: a / b,
        "floordiv": lambda: a // b,
        "mod": lambda: a % b,
        "neg": lambda: -a,
        "abs": lambda: abs(a),
        "floor": lambda: math.floor(a),
        "max": lambda: max(a, b),
        "min": lambda: min(a, b),
        "eq": lambda: a == b,
        "ne": lambda: a != b,
        "lt": lambda: a < b,
        "ge": lambda: a >= b,
        "not": lambda: not a,
        "where": lambda: b if a else c,
        "rsqrt": lambda: 1 / math.sqrt(a),
        "sigmoid": lambda: 1 / (1 + math.exp(-a)),
        **{
            name: lambda name=name: getattr(math, name)(a)
            for name in ("exp", "log", "sqrt", "tanh", "erf", "sin", "cos")
        },
    }[expr.op]()


@given(numbers("int"), st.lists(st.integers(-9, 9), min_size=2, max_size=2))
@settings(max_examples=300)
def test_integer_values_are_pythons(expr: Expr, operands: list[int]) -> None:
    try:
        expected = [scalar_value(expr, operands, position) for position in range(3)]
    except ZeroDivisionError:
        return
    assume(all(abs(value) < 2**40 for value in expected))
    found = values_of(expr, [np.full(3, value) for value in operands])
    assert np.broadcast_to(found, 3).tolist() == expected


@given(numbers("float"), st.lists(st.floats(-4, 4), min_size=2, max_size=2))
@settings(max_examples=300)
def test_float_values_are_pythons(expr: Expr, operands: list[float]) -> None:
    # Jumps (floor, //, %, comparisons) make of a last bit a whole one; they are tested on integers.
    jumps = {"floor", "floordiv", "mod", "eq", "ne", "lt", "ge"}
    assume(not jumps & {step.op for step in typed_steps(expr, ("float64", "float64"))})
    try:
        expected = [scalar_value(expr, operands, position) for position in range(3)]
    except (ArithmeticError, ValueError):
        return
    assume(all(abs(value) < 1e6 for value in expected))  # and no NaN, whose max Python leaves to chance
    found = values_of(expr, [np.full(3, value) for value in operands])
    np.testing.assert_allclose(np.broadcast_to(found, 3), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "text, x, expected",
    [
        ("max(x, 1.0)", math.nan, math.nan),
        ("min(1.0, x)", math.nan, math.nan),
        ("sigmoid(x)", -1e4, 0.0),
        ("sigmoid(x)", 1e4, 1.0),
        ("log(x)", 0.0, -math.inf),
        ("rsqrt(x)", 4.0, 0.5),
        ("1 / x", 0.0, math.inf),
        ("x ** 2", -3.0, 9.0),
        ("where(x > 0, x, -inf)", -1.0, -math.inf),
        ("erf(x)", 0.5, math.erf(0.5)),
        ("floor(x)", -0.5, -1.0),
        ("x % 3", -1.0, 2.0),
        ("cast(cast(x, int32), float64)", -1.7, -1.0),
    ],
)
def test_values_at_the_edges(text: str, x: float, expected: float) -> None:
    np.testing.assert_equal(values_of(parse_join(text, 1), [np.array([x])]), np.array([expected]))


def test_integer_powers_and_divisions_have_values_where_numpy_refuses() -> None:
    bases = np.array([-2, -1, 0, 1, 2])
    assert values_of(parse_join("x ** -1", 1), [bases]).tolist() == [0, -1, 0, 1, 0]
    assert values_of(parse_join("x ** -2", 1), [bases]).tolist() == [0, 1, 0, 1, 0]
    assert values_of(parse_join("x ** 3", 1), [bases]).tolist() == [-8, -1, 0, 1, 8]
    assert values_of(parse_join("x // 0", 1), [bases]).tolist() == [0] * 5


def test_constants_keep_the_precision_of_what_they_meet() -> None:
    x = np.ones(1)
    assert values_of(parse_join("x * 0.1", 1), [x]) == 0.1
    assert values_of(parse_join("x * (1 / 3)", 1), [x]) == 1 / 3
    assert values_of(parse_join("cast(0.1, float64)", 0), []) == 0.1
    assert values_of(parse_join("x * 16777217", 1), [np.ones(1, np.float32)]) == np.float32(16777216)


def test_an_index_beyond_a_small_dtype_never_seems_equal() -> None:
    ids = np.arange(3, dtype=np.uint8)
    equal = evaluate(parse_join("x == index(i)", 1, "i"), [ids], ["uint8"], lambda _: np.arange(256, 259), NUMPY)
    assert not equal.any()


def test_equal_subexpressions_are_computed_once_and_dropped_after_use() -> None:
    counts: list[str] = []

    def counted(name: str) -> Callable[..., Array]:
        def run(*args: Array) -> Array:
            counts.append(name)
            return NUMPY[name](*args)

        return run

    expr = parse_join("exp(x) * exp(x) + exp(x)", 1)
    evaluate(expr, [np.ones(2)], ["float64"], np.arange, {name: counted(name) for name in NUMPY})
    assert sorted(counts) == ["add", "exp", "mul"]
    assert num_operations(expr) == 3


def test_every_operator_has_a_meaning_in_numpy() -> None:
    assert set(NUMPY) == {*OPERATORS, "const", "cast"}


# ------------------------------------------------------------------------------------------------ random


def test_random_bits_are_those_of_whole_integers() -> None:
    def mix(word: int, first: int, second: int, shift: int) -> int:
        word = (word ^ word >> 16) * first % 2**32
        word = (word ^ word >> 15) * second % 2**32
        return word ^ word >> shift

    def bits(*integers: int) -> int:
        a, b = 0x243F6A88, 0x85A308D3
        for integer in integers:
            for word in (integer % 2**32, (integer >> 32) % 2**32):
                a = mix(a ^ word, 0x7FEB352D, 0x846CA68B, 16)
                b = mix(((b ^ word) + 0x9E3779B9) % 2**32, 0x21F0AAAD, 0x735A2D97, 15)
        return mix((a + b) % 2**32, 0x7FEB352D, 0x846CA68B, 16)

    values = [0, 1, -1, 2**31, 2**32, -(2**63), 2**63 - 1, 123456789]
    for seed in values:
        found = random_bits(np.array(seed), np.array(values), np.array(7))
        assert found.tolist() == [bits(seed, value, 7) for value in values]


def test_random_bits_are_the_same_in_torch() -> None:
    torch = pytest.importorskip("torch")
    integers = np.random.default_rng(0).integers(-(2**63), 2**63, (2, 1000))
    found = random_bits(*(torch.from_numpy(row) for row in integers))
    assert np.array_equal(found.numpy(), random_bits(*integers))


def test_random_numbers_are_uniform_and_do_not_repeat_between_rows_and_seeds() -> None:
    rows, columns = np.arange(256)[:, None], np.arange(256)[None, :]
    expr = parse_join("random(x, index(i), index(j))", 1, ("i", "j"))
    draws = [
        np.asarray(evaluate(expr, [np.array(seed)], ["int64"], {"i": rows, "j": columns}.__getitem__, NUMPY))
        for seed in (0, 1)
    ]
    for draw in draws:
        assert draw.dtype == np.float32 and draw.min() >= 0 and draw.max() < 1
        counts = np.histogram(draw, 64, (0, 1))[0]
        chi_squared = ((counts - 1024) ** 2 / 1024).sum()
        assert 30 < chi_squared < 110  # 63 degrees of freedom: between about 0.02 % and 99.98 %
        correlation = np.corrcoef(draw)  # of 256 rows of 256 draws: 5.5 standard deviations
        assert np.abs(correlation - np.eye(256)).max() < 5.5 / 16
    assert abs(np.corrcoef(draws[0].ravel(), draws[1].ravel())[0, 1]) < 0.02
    assert len({tuple(sorted(row)) for row in draws[0].tolist()}) == 256
