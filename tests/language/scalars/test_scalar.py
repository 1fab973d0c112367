"""Joins as text and as traced functions: what is read, printed, recorded, and refused."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsplit.errors import DtypeError, EinsplitError, NotationError
from einsplit.scalar import Expr, const, operand, parse_join, to_text, trace, trace_join
from tests.language.scalars.expressions import LABELS, expressions

# ------------------------------------------------------------------------------------------------ text


@given(expressions())
@settings(max_examples=500)
def test_what_is_printed_is_read_back_as_the_same_tree(expr: Expr) -> None:
    assert parse_join(to_text(expr), 5, LABELS) == expr


@pytest.mark.parametrize(
    "text, meaning",
    [
        # Python's precedence
        ("x + y * z", "x + (y * z)"),
        ("-x ** 2", "-(x ** 2)"),
        ("-2 ** x", "-(2 ** x)"),
        ("x ** y ** z", "x ** (y ** z)"),
        ("x ** -y", "x ** (-y)"),
        ("x - y - z", "(x - y) - z"),
        ("x // y % z", "(x // y) % z"),
        ("not x == y", "not (x == y)"),
        ("x < y and y < z or x == z", "((x < y) and (y < z)) or (x == z)"),
        ("(x < y) & ~(y < z) | (x == z)", "((x < y) and (not (y < z))) or (x == z)"),
        # other spellings
        ("x0 * x1", "x * y"),
        ("float32(x)", "cast(x, float32)"),
        ("pow(x, 2)", "x ** 2"),
        ("+x", "x"),
        ("True", "true"),
        ("2.50e0 * x", "2.5 * x"),
    ],
)
def test_texts_mean_what_python_means(text: str, meaning: str) -> None:
    assert parse_join(text, 3) == parse_join(meaning, 3)


def test_a_sign_before_a_number_is_part_of_it() -> None:
    assert parse_join("-1", 0) == const(-1)
    assert parse_join("-inf", 0) == const(-math.inf)
    assert parse_join("-(1)", 0) == -const(1)
    assert parse_join("-9223372036854775808", 0) == const(-(2**63))


def test_constants_differ_by_type_and_by_sign_of_zero() -> None:
    different = [const(1), const(1.0), const(True), const(0.0), const(-0.0), const(0), const(math.nan)]
    assert len(set(different)) == len(different)
    assert const(math.nan) == const(-math.nan)


def test_operands_are_letters_up_to_three() -> None:
    assert to_text(operand(0) * operand(2)) == "x * z"
    assert to_text(operand(0) * operand(3)) == "x0 * x3"


@pytest.mark.parametrize(
    "text, under, words",
    [
        ("sqr(x)", "sqr", ["unknown function 'sqr'", "Did you mean 'sqrt'?"]),
        ("x + q", "q", ["unknown operand 'q'", "Operands here: x y."]),
        ("x2 + x", "x2", ["unknown operand 'x2'"]),
        ("i + x", "i", ["index(i)"]),
        ("exp + x", "exp", ["exp is a function"]),
        ("index(k)", "k", ["unknown label 'k'", "Labels here: i j."]),
        ("index(i, j)", "i", ["one label"]),
        ("x if y else 0", "if", ["where(c, a, b)"]),
        ("x < y < 1", "<", ["cannot be chained"]),
        ("max(x)", "max", ["max takes 2 arguments, not 1."]),
        ("where(x, y, 0, 1)", "where", ["where takes 3 arguments, not 4."]),
        ("x = y", "=", ["'=='"]),
        ("x ^ y", "^", ["x ** y"]),
        ("cast(x, flot32)", "flot32", ["unknown dtype", "Did you mean 'float32'?"]),
        ("cast(x)", "cast", ["an expression and a dtype"]),
        ("int32(x, y)", "int32", ["int32 takes 1 argument, not 2."]),
        ("x y", "y", ["unexpected 'y'"]),
        ("x)", ")", ["unexpected ')'"]),
        ("9223372036854775808", "9223372036854775808", ["beyond 64 bits"]),
        ("x + not y", "not", ["parentheses"]),
        ("x.shape", ".", ["unexpected '.'"]),
        ("__import__('os')", "'", ["unexpected"]),
    ],
)
def test_a_wrong_join_is_refused_with_carets(text: str, under: str, words: list[str]) -> None:
    with pytest.raises(NotationError) as caught:
        parse_join(text, 2, ("i", "j"))
    shown = str(caught.value)
    assert all(word in shown for word in words), shown
    line, carets = shown.split("\n")[1:3]
    assert line[2:] == text
    assert line[carets.index("^") : carets.rindex("^") + 1] == under


@pytest.mark.parametrize("text", ["", "x +", "(x", "exp(", "exp(x,", "cast(x,", "index(", "-", "not", "x *"])
def test_an_unfinished_join_is_refused_at_its_end(text: str) -> None:
    with pytest.raises(NotationError, match="in a join"):
        parse_join(text, 1, ("i",))


@given(st.text(alphabet="xyz01i.()+-*/%<=>&|~,einfotwhrasc ", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_join(text, 2, ("i",))
    except NotationError as error:
        assert "^" in str(error)


@pytest.mark.parametrize(
    "text",
    ["(" * 5000 + "x", "-" * 5000 + "x", "x" + "+x" * 500, "exp(" * 150 + "x" + ")" * 150, "x" * 2**21],
)
def test_deep_and_long_joins_are_refused(text: str) -> None:
    with pytest.raises(NotationError):
        parse_join(text, 1)


def test_sharing_that_doubles_without_end_is_refused_at_once() -> None:
    def squares(x: trace.Symbol) -> trace.Symbol:
        for _ in range(90):
            x = x * x
        return x

    with pytest.raises(NotationError, match="too large"):
        trace_join(squares, 1)


# ------------------------------------------------------------------------------------------------ tracing


def test_a_function_and_its_text_are_the_same_expression() -> None:
    def join(x: trace.Symbol, y: trace.Symbol) -> trace.Symbol:
        mask = (trace.index("i") >= trace.index("j")) & ~(x == y) | (x != 0)
        return trace.where(mask, abs(-x) ** 2 + trace.maximum(y, 0.5) % 3, 1 / trace.exp(y) - 2 // y)

    text = "where((index(i) >= index(j)) & ~(x == y) | (x != 0), abs(-x) ** 2 + max(y, 0.5) % 3, 1 / exp(y) - 2 // y)"
    assert trace_join(join, 2) == parse_join(text, 2, ("i", "j"))


@pytest.mark.parametrize("name", ["floor", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "erf", "sin", "cos"])
def test_every_function_can_be_traced(name: str) -> None:
    function: Callable[[trace.Symbol], trace.Symbol] = getattr(trace, name)
    assert trace_join(function, 1) == parse_join(f"{name}(x)", 1)


def test_numpy_functions_and_scalars_are_understood() -> None:
    expr = trace_join(lambda x: np.float64(2) * np.exp(x) + np.maximum(x, np.int32(1)), 1)
    assert expr == parse_join("2.0 * exp(x) + max(x, 1)", 1)
    assert trace_join(lambda x: trace.random(7, trace.index("i")), 1) == parse_join("random(7, index(i))", 1, "i")
    assert trace_join(lambda x: trace.cast(x, "int32"), 1) == parse_join("cast(x, int32)", 1)
    assert trace_join(lambda: 1.5, 0) == const(1.5)


@pytest.mark.parametrize(
    "join, num_operands, word",
    [
        (lambda x: x if x > 0 else 0, 1, r"where\(c, a, b\)"),
        (lambda x: 0 < x < 1, 1, "truth value"),
        (lambda x, y: x and y, 2, "truth value"),
        (lambda x: math.exp(x), 1, "no numbers while it is traced"),
        (lambda x: int(x), 1, "no numbers while it is traced"),
        (lambda x: list(x), 1, "no numbers while it is traced"),
        (lambda x: np.arctan(x), 1, "numpy's arctan has no place"),
        (lambda x: x, 2, "cannot be called with 2 operands"),
        (lambda x: "x", 1, "returned str, not a scalar"),
        (lambda x: None, 1, "returned NoneType, not a scalar"),
        (lambda x: x + "y", 1, "not of str"),
        (lambda x: x * 2**70, 1, "does not fit into 64 bits"),
    ],
)
def test_a_function_that_is_no_join_is_refused(join: Callable[..., object], num_operands: int, word: str) -> None:
    with pytest.raises(NotationError, match=word):
        trace_join(join, num_operands)


def test_mistakes_share_one_base_and_keep_pythons_kinds() -> None:
    for kind_of_error, python in ((NotationError, ValueError), (DtypeError, TypeError)):
        assert issubclass(kind_of_error, EinsplitError) and issubclass(kind_of_error, python)


def test_a_digest_is_the_same_in_every_process() -> None:
    expr = parse_join("where(index(i) >= index(j), x, -inf)", 1, ("i", "j"))
    assert expr.digest.hex() == "c848d0298842eb3d76a8ac4b0d49ee3ee2960e7e"
