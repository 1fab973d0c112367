"""Questions about expressions that need no dtypes: what they read, whether they are linear."""

import math
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal

from einsplit.dtypes import int_range, kind
from einsplit.scalar.expr import Expr

_LEAVES = ("const", "operand", "index")


@lru_cache(maxsize=2**14)
def parts(expr: Expr) -> tuple[Expr, ...]:
    """Every different subexpression once, arguments before what is made of them."""
    found: dict[Expr, None] = {}
    _collect(expr, found)
    return tuple(found)


def _collect(expr: Expr, found: dict[Expr, None]) -> None:
    if expr not in found:
        for arg in expr.args:
            _collect(arg, found)
        found[expr] = None


@lru_cache(maxsize=2**14)
def operands_of(expr: Expr) -> frozenset[int]:
    """The positions of the operands that the expression reads."""
    return frozenset(int(part.value or 0) for part in parts(expr) if part.op == "operand")


@lru_cache(maxsize=2**14)
def labels_of(expr: Expr) -> frozenset[str]:
    """The labels whose index the expression reads."""
    return frozenset(part.name for part in parts(expr) if part.op == "index" and part.name is not None)


def num_operations(expr: Expr) -> int:
    """Scalar operations for one element; equal subexpressions are computed once."""
    return sum(part.op not in _LEAVES for part in parts(expr))


def substitute(expr: Expr, operands: Mapping[int, Expr], labels: Mapping[str, Expr]) -> Expr:
    """The expression with operands and indices of labels replaced, all at once; those not named stay."""
    made: dict[Expr, Expr] = {}
    for part in parts(expr):
        if part.op == "operand" and isinstance(part.value, int):
            made[part] = operands.get(part.value, part)
        elif part.op == "index" and part.name is not None:
            made[part] = labels.get(part.name, part)
        else:
            args = tuple(made[arg] for arg in part.args)
            made[part] = part if args == part.args else Expr(part.op, args, part.value, part.name)
    return made[expr]


def rewrite(expr: Expr, rule: Callable[[Expr], Expr]) -> Expr:
    """The expression with `rule` applied to every part, arguments before what is made of them."""
    made: dict[Expr, Expr] = {}
    for part in parts(expr):
        args = tuple(made[arg] for arg in part.args)
        made[part] = rule(part if args == part.args else Expr(part.op, args, part.value, part.name))
    return made[expr]


def is_product(expr: Expr) -> tuple[int, ...] | None:
    """The operands in order if the expression is their product, each once, and nothing else; or None."""
    if expr.op == "operand" and isinstance(expr.value, int):
        return (expr.value,)
    if expr.op != "mul":
        return None
    left, right = is_product(expr.args[0]), is_product(expr.args[1])
    if left is None or right is None or set(left) & set(right):
        return None
    return left + right


# What an expression is in its carriers: free of them, the constant 0 (which is linear too), linear, or other.
_Degree = Literal["free", "zero", "linear", "other"]


def is_linear(expr: Expr, carriers: frozenset[int]) -> bool:
    """Whether f(a + b) == f(a) + f(b) and f(0) == 0 in all carriers jointly, the other operands held fixed.

    That is what lets addends flow through a join. A factor that is a variable is taken to be finite.
    """
    degrees: dict[Expr, _Degree] = {}
    for part in parts(expr):
        degrees[part] = _degree(part, carriers, [degrees[arg] for arg in part.args])
    return degrees[expr] in ("linear", "zero")


def _degree(expr: Expr, carriers: frozenset[int], args: list[_Degree]) -> _Degree:
    """The degree of `expr`, whose arguments have the degrees `args`."""
    if expr.op == "operand":
        return "linear" if expr.value in carriers else "free"
    if expr.op == "const":
        return "zero" if expr.value == 0 and not isinstance(expr.value, bool) else "free"
    if expr.op == "cast":
        return args[0] if kind(expr.name or "") in ("float", "complex") else _opaque(args)
    if expr.op in ("neg", "stop_gradient"):
        return args[0]
    if expr.op in ("add", "sub"):
        return _sum(args)
    if expr.op == "where":
        return _sum(args[1:]) if args[0] in ("free", "zero") else "other"
    if expr.op == "mul" and "linear" in args:
        other = expr.args[1 - args.index("linear")]
        return "linear" if args.count("linear") == 1 and "other" not in args and _finite(other) else "other"
    if expr.op == "div" and args[0] == "linear":
        divisor = expr.args[1]
        return "linear" if args[1] == "free" and _finite(divisor) and divisor.value != 0 else "other"
    return _opaque(args)


def _sum(args: list[_Degree]) -> _Degree:
    """Of addends, or of branches: linear if every one is linear or 0."""
    if all(arg == "zero" for arg in args):
        return "zero"
    if "linear" in args and all(arg in ("linear", "zero") for arg in args):
        return "linear"
    return _opaque(args)


def _opaque(args: list[_Degree]) -> _Degree:
    """Of an operator that is not linear in any argument."""
    return "free" if all(arg in ("free", "zero") for arg in args) else "other"


def _finite(expr: Expr) -> bool:
    """Whether it is not a constant that would make NaN of 0."""
    return expr.op != "const" or (isinstance(expr.value, int | float) and math.isfinite(expr.value))


def integer_value(expr: Expr) -> int | None:
    """The value of an expression of integer constants; None if it is no such thing, or leaves int64."""
    if expr.op == "const":
        return expr.value if type(expr.value) is int else None
    values = [integer_value(arg) for arg in expr.args] if expr.op in _INTEGER_RULES else [None]
    known = [value for value in values if value is not None]
    if len(known) < len(values) or (expr.op in ("floordiv", "mod") and known[1] == 0):
        return None
    low, high = int_range("int64")
    result = _INTEGER_RULES[expr.op](*known)
    return result if low <= result <= high else None


_INTEGER_RULES: dict[str, Callable[..., int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "neg": operator.neg,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "abs": abs,
    "floor": int,
    "max": max,
    "min": min,
}
