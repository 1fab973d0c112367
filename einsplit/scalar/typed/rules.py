"""The dtype rule: Expr and the operands' dtypes -> the type of every part.

It is strict: two tensors' elements meet only in equal dtypes, and no value is promoted. Constants
and `index` are weak: they take the dtype of what they meet. Among themselves, weak integers are int64; a weak
float whom nothing tells its dtype is float32.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from einsplit.dtypes import kind, rank
from einsplit.errors import DtypeError, Place
from einsplit.scalar.expr import Expr, operand, text_within, to_text
from einsplit.scalar.operators import OPERATORS, Family

WEAK_INT, WEAK_FLOAT = "integer", "float"
_NATURAL = {WEAK_INT: "int64", WEAK_FLOAT: "float32"}
_ABSOLUTE = {"complex64": "float32", "complex128": "float64"}  # the dtype of abs


def is_weak(found: str) -> bool:
    """Whether a type takes the dtype of what it meets."""
    return found in _NATURAL


def natural(found: str) -> str:
    """The dtype of a type: of a weak one, what it has where nothing tells it another."""
    return _NATURAL.get(found, found)


@dataclass(slots=True)
class Typing:
    """The types of all parts of one join, each found once."""

    root: Expr
    operand_dtypes: tuple[str, ...]
    types: dict[Expr, str] = field(default_factory=dict)

    def fail(self, expr: Expr, mistake: str, *advice: str) -> NoReturn:
        """Raises DtypeError that points at `expr` and lists the operands' dtypes."""
        text, part = to_text(self.root), self.text(expr)
        start = max(text.find(part), 0)  # the first place where it stands, if it stands more than once
        met = ", ".join(f"{self.text(operand(k))}: {dtype}" for k, dtype in enumerate(self.operand_dtypes))
        raise DtypeError(mistake, met and met + ".", *advice, place=Place(text, (start, start + len(part))))

    def text(self, expr: Expr) -> str:
        """The text of a part, as it stands in the whole join."""
        return text_within(self.root, expr)

    def type_of(self, expr: Expr) -> str:
        """A dtype, or one of the two weak types."""
        if expr not in self.types:
            self.types[expr] = self._find(expr)
        return self.types[expr]

    def _find(self, expr: Expr) -> str:
        if expr.op == "const":
            weak = WEAK_INT if isinstance(expr.value, int) else WEAK_FLOAT
            return "bool" if isinstance(expr.value, bool) else weak
        if expr.op == "index":
            return WEAK_INT
        if expr.op == "operand":
            position = int(expr.value or 0)
            if position >= len(self.operand_dtypes):
                self.fail(expr, f"the join asks for operand {position} of {len(self.operand_dtypes)}.")
            return self.operand_dtypes[position]
        found = [self.type_of(arg) for arg in expr.args]
        if expr.op == "cast":
            target = expr.name or ""
            if kind(natural(found[0])) == "complex" and kind(target) != "complex":
                self.fail(expr, f"{found[0]} cannot be cast to {target}.", "Take abs first.")
            return target
        return _RULES[OPERATORS[expr.op].family](self, expr, found)

    def meet(self, expr: Expr, left: int, right: int) -> str:
        """The type that two arguments of `expr` share. Raises DtypeError where they share none."""
        a, b = self.type_of(expr.args[left]), self.type_of(expr.args[right])
        if a == b:
            return a
        if is_weak(a) and is_weak(b):
            return WEAK_FLOAT
        if is_weak(a) or is_weak(b):
            strong, weak = (b, a) if is_weak(a) else (a, b)
            if kind(strong) in ("float", "complex") or (kind(strong) == "int" and weak == WEAK_INT):
                return strong
            strong_at, weak_at = (right, left) if is_weak(a) else (left, right)
            target = "float32" if weak == WEAK_FLOAT else "int64"
            self.fail(
                expr,
                f"{_shown(expr)} does not take {strong} and the {weak} {self.text(expr.args[weak_at])} together.",
                f"Write cast({self.text(expr.args[strong_at])}, {target}).",
            )
        wider, narrower = (left, right) if rank(a) >= rank(b) else (right, left)
        self.fail(
            expr,
            f"{_shown(expr)} does not take {a} and {b} together.",
            f"Write cast({self.text(expr.args[narrower])}, {self.type_of(expr.args[wider])}).",
        )

    def refuse(self, expr: Expr, position: int, advice: str) -> NoReturn:
        """Raises DtypeError: the argument at that position is of a type that the operator does not take."""
        self.fail(expr, f"{_shown(expr)} does not take {self.type_of(expr.args[position])}.", advice)


def _shown(expr: Expr) -> str:
    return repr(OPERATORS[expr.op].symbol or expr.op)


# A rule finds the type of `expr` from its arguments' types `found`, and raises DtypeError where it takes no such.


def _arithmetic(typing: Typing, expr: Expr, found: list[str]) -> str:
    shared = typing.meet(expr, 0, 1)
    if shared == "bool" and expr.op not in ("max", "min"):
        typing.refuse(expr, 0, "Use 'and', 'or', 'not', or cast to a number: cast(x, int64).")
    if kind(natural(shared)) == "complex" and expr.op in ("max", "min", "floordiv", "mod"):
        typing.refuse(expr, 0, "Complex numbers have no order; take abs first.")
    return shared


def _divide(typing: Typing, expr: Expr, found: list[str]) -> str:
    shared = typing.meet(expr, 0, 1)
    if not is_weak(shared) and kind(shared) in ("bool", "int"):
        typing.refuse(expr, 0 if not is_weak(found[0]) else 1, "Use '//', or cast to a float: cast(x, float32).")
    return WEAK_FLOAT if is_weak(shared) else shared


def _compare(typing: Typing, expr: Expr, found: list[str]) -> str:
    if kind(natural(typing.meet(expr, 0, 1))) == "complex" and expr.op not in ("eq", "ne"):
        typing.refuse(expr, 0, "Complex numbers have no order; take abs first.")
    return "bool"


def _truth(typing: Typing, expr: Expr, found: list[str]) -> str:
    for position, dtype in enumerate(found):
        if dtype != "bool":
            typing.refuse(expr, position, f"Compare first: {typing.text(expr.args[position])} != 0.")
    return "bool"


def _same(typing: Typing, expr: Expr, found: list[str]) -> str:
    if found[0] == "bool" or (expr.op == "floor" and kind(natural(found[0])) == "complex"):
        typing.refuse(expr, 0, "Cast to a number: cast(x, int64)." if found[0] == "bool" else "Take abs first.")
    return _ABSOLUTE.get(found[0], found[0]) if expr.op == "abs" else found[0]


_TAKE_COMPLEX = ("exp", "log", "sqrt", "tanh", "sin", "cos")


def _float(typing: Typing, expr: Expr, found: list[str]) -> str:
    if is_weak(found[0]):
        return WEAK_FLOAT
    if kind(found[0]) == "float" or (kind(found[0]) == "complex" and expr.op in _TAKE_COMPLEX):
        return found[0]
    typing.refuse(expr, 0, f"Cast to a float: {expr.op}(cast({typing.text(expr.args[0])}, float32)).")


def _where(typing: Typing, expr: Expr, found: list[str]) -> str:
    if found[0] != "bool":
        typing.refuse(expr, 0, f"The condition is a comparison: {typing.text(expr.args[0])} != 0.")
    return typing.meet(expr, 1, 2)


def _random(typing: Typing, expr: Expr, found: list[str]) -> str:
    for position, dtype in enumerate(found):
        if kind(natural(dtype)) != "int":
            typing.refuse(expr, position, "The seed and the indices are integers.")
    return "float32"


_RULES: dict[Family, Callable[[Typing, Expr, list[str]], str]] = {
    "arithmetic": _arithmetic,
    "divide": _divide,
    "compare": _compare,
    "truth": _truth,
    "same": _same,
    "float": _float,
    "where": _where,
    "random": _random,
}
