"""The operators of scalar expressions: one row each, with what reading, printing and checking need of them.

`Arithmetic` gives Python's own operators to the classes that build expressions.
"""

from dataclasses import dataclass
from typing import Literal, NoReturn, Self

from einsplit.errors import NotationError

Number = bool | int | float
Family = Literal["arithmetic", "divide", "compare", "truth", "same", "float", "where", "random"]


ATOM_LEVEL = 11  # of what parentheses, or a function's own, hold together


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator or function. Levels are Python's: a higher one binds more tightly."""

    arity: int  # random takes that many or more
    family: Family  # the dtype rule
    symbol: str = ""  # between or before its arguments; empty: written as a function
    level: int = ATOM_LEVEL


NOT_LEVEL, COMPARE_LEVEL, UNARY_LEVEL, POWER_LEVEL = 3, 4, 9, 10

OPERATORS: dict[str, Operator] = {
    "or": Operator(2, "truth", "or", 1),
    "and": Operator(2, "truth", "and", 2),
    "not": Operator(1, "truth", "not", NOT_LEVEL),
    "eq": Operator(2, "compare", "==", COMPARE_LEVEL),
    "ne": Operator(2, "compare", "!=", COMPARE_LEVEL),
    "lt": Operator(2, "compare", "<", COMPARE_LEVEL),
    "le": Operator(2, "compare", "<=", COMPARE_LEVEL),
    "gt": Operator(2, "compare", ">", COMPARE_LEVEL),
    "ge": Operator(2, "compare", ">=", COMPARE_LEVEL),
    "add": Operator(2, "arithmetic", "+", 7),
    "sub": Operator(2, "arithmetic", "-", 7),
    "mul": Operator(2, "arithmetic", "*", 8),
    "div": Operator(2, "divide", "/", 8),
    "floordiv": Operator(2, "arithmetic", "//", 8),
    "mod": Operator(2, "arithmetic", "%", 8),
    "neg": Operator(1, "same", "-", UNARY_LEVEL),
    "pow": Operator(2, "arithmetic", "**", POWER_LEVEL),
    "abs": Operator(1, "same"),
    "floor": Operator(1, "same"),
    "max": Operator(2, "arithmetic"),
    "min": Operator(2, "arithmetic"),
    "exp": Operator(1, "float"),
    "log": Operator(1, "float"),
    "sqrt": Operator(1, "float"),
    "rsqrt": Operator(1, "float"),
    "tanh": Operator(1, "float"),
    "sigmoid": Operator(1, "float"),
    "erf": Operator(1, "float"),
    "sin": Operator(1, "float"),
    "cos": Operator(1, "float"),
    "stop_gradient": Operator(1, "same"),  # the value itself; a constant for whoever differentiates
    "where": Operator(3, "where"),
    "random": Operator(1, "random"),
}

FUNCTIONS: dict[str, Operator] = {name: row for name, row in OPERATORS.items() if not row.symbol or name == "pow"}

# How texts may write an operator: (name, level) by symbol. `&`, `|` and `~` stand where Python has them.
INFIX: dict[str, tuple[str, int]] = {
    **{row.symbol: (name, row.level) for name, row in OPERATORS.items() if row.symbol and row.arity == 2},
    "|": ("or", 5),
    "&": ("and", 6),
}


class Arithmetic:
    """Python's operators, `==` and `!=` aside, for expressions and for traced symbols."""

    __slots__ = ()

    def _apply(self, op: str, *args: object) -> Self:
        """`op` of the arguments, numbers among them made constants."""
        raise AssertionError(f"{type(self).__name__} builds no {op}")

    def __add__(self, other: Self | Number) -> Self:
        return self._apply("add", self, other)

    def __radd__(self, other: Number) -> Self:
        return self._apply("add", other, self)

    def __sub__(self, other: Self | Number) -> Self:
        return self._apply("sub", self, other)

    def __rsub__(self, other: Number) -> Self:
        return self._apply("sub", other, self)

    def __mul__(self, other: Self | Number) -> Self:
        return self._apply("mul", self, other)

    def __rmul__(self, other: Number) -> Self:
        return self._apply("mul", other, self)

    def __truediv__(self, other: Self | Number) -> Self:
        return self._apply("div", self, other)

    def __rtruediv__(self, other: Number) -> Self:
        return self._apply("div", other, self)

    def __floordiv__(self, other: Self | Number) -> Self:
        return self._apply("floordiv", self, other)

    def __rfloordiv__(self, other: Number) -> Self:
        return self._apply("floordiv", other, self)

    def __mod__(self, other: Self | Number) -> Self:
        return self._apply("mod", self, other)

    def __rmod__(self, other: Number) -> Self:
        return self._apply("mod", other, self)

    def __pow__(self, other: Self | Number) -> Self:
        return self._apply("pow", self, other)

    def __rpow__(self, other: Number) -> Self:
        return self._apply("pow", other, self)

    def __and__(self, other: Self | Number) -> Self:
        return self._apply("and", self, other)

    def __rand__(self, other: Number) -> Self:
        return self._apply("and", other, self)

    def __or__(self, other: Self | Number) -> Self:
        return self._apply("or", self, other)

    def __ror__(self, other: Number) -> Self:
        return self._apply("or", other, self)

    def __lt__(self, other: Self | Number) -> Self:
        return self._apply("lt", self, other)

    def __le__(self, other: Self | Number) -> Self:
        return self._apply("le", self, other)

    def __gt__(self, other: Self | Number) -> Self:
        return self._apply("gt", self, other)

    def __ge__(self, other: Self | Number) -> Self:
        return self._apply("ge", self, other)

    def __neg__(self) -> Self:
        return self._apply("neg", self)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Self:
        return self._apply("abs", self)

    def __invert__(self) -> Self:
        return self._apply("not", self)

    def __bool__(self) -> NoReturn:
        raise NotationError(
            "a join has no truth value while it is traced: its operands are symbols.",
            "Write where(c, a, b) for `a if c else b`, `&` for `and`, `|` for `or`, `~` for `not`,"
            " (a < b) & (b < c) for `a < b < c`.",
        )
