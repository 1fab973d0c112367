"""Expr -> a smaller Expr of the same values, bit for bit (complex infinities aside), and of the same dtype.

So integers and booleans are folded, floats only negated; x + 0 stays (it makes 0.0 of -0.0), and so does
x * 0 (NaN).
"""

import operator
from collections.abc import Callable

from einsplit.dtypes import kind
from einsplit.scalar.analysis import integer_value, parts
from einsplit.scalar.expr import Expr, call, const
from einsplit.scalar.operators import OPERATORS

_WEAK_INT, _WEAK_FLOAT, _STRONG = "int", "float", "strong"


def simplify(expr: Expr) -> Expr:
    """The simplified expression; simplifying it again changes nothing."""
    made: dict[Expr, Expr] = {}
    weakness: dict[Expr, str] = {}
    for part in parts(expr):
        args = tuple(made[arg] for arg in part.args)
        small = _rewrite(part if args == part.args else Expr(part.op, args, part.value, part.name), weakness)
        if small not in weakness:
            weakness[small] = _weakness(small, [weakness[arg] for arg in small.args])
        made[part] = small
    return made[expr]


def _weakness(expr: Expr, args: list[str]) -> str:
    """Whether the dtype is its own (strong), or taken from what it meets (an integer or a float constant)."""
    if expr.op == "index":
        return _WEAK_INT
    if expr.op == "const":
        return _STRONG if isinstance(expr.value, bool) else _WEAK_INT if isinstance(expr.value, int) else _WEAK_FLOAT
    if expr.op in ("operand", "cast"):
        return _STRONG
    family = OPERATORS[expr.op].family
    if family in ("compare", "truth", "random"):
        return _STRONG
    met = args[1:] if family == "where" else args
    if _STRONG in met:
        return _STRONG
    return _WEAK_INT if all(arg == _WEAK_INT for arg in met) and family not in ("divide", "float") else _WEAK_FLOAT


def _rewrite(expr: Expr, weakness: dict[Expr, str]) -> Expr:
    """One rewriting at the root, whose arguments are simple already."""
    value = integer_value(expr)
    if value is not None:
        return const(value)
    args = expr.args
    if expr.op in _COMPARE and (folded := _fold_compare(expr)) is not None:
        return folded
    if expr.op in ("neg", "not") and args[0].op == expr.op:
        return args[0].args[0]
    if expr.op == "neg" and args[0].op == "const" and isinstance(args[0].value, float):
        return const(-args[0].value)
    if expr.op == "cast" and args[0].op == "cast" and args[0].name == expr.name:
        return args[0]
    if expr.op in ("not", "and", "or"):
        return _rewrite_truth(expr)
    expr = _weaken(expr, weakness)
    if expr.op == "where":
        return _rewrite_where(expr, weakness)
    return _drop_neutral(expr, weakness)


def _weaken(expr: Expr, weakness: dict[Expr, str]) -> Expr:
    """`x * 1.0` for `x * cast(1.0, float32)`: beside a strong value, a constant takes that value's dtype, the same."""
    if expr.op not in OPERATORS or OPERATORS[expr.op].family not in ("arithmetic", "divide", "compare", "where"):
        return expr
    first = 1 if expr.op == "where" else 0
    met = expr.args[first:]
    bare = [_bare_constant(arg) for arg in met]
    found = [small for small in bare if small is not None]
    if len(found) in (0, len(met)) or not all(weakness[arg] == _STRONG for arg in met):
        return expr
    kept = tuple(arg if small is None else small for small, arg in zip(bare, met, strict=True))
    return Expr(expr.op, (*expr.args[:first], *kept))


def _bare_constant(expr: Expr) -> Expr | None:
    """The number that is cast to a real dtype; None for all else."""
    if expr.op != "cast" or kind(expr.name or "") != "float":
        return None
    inner = expr.args[0]
    return inner if inner.op == "const" and not isinstance(inner.value, bool) else None


_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def _fold_compare(expr: Expr) -> Expr | None:
    """true or false for a comparison of integer constants."""
    left, right = (integer_value(arg) for arg in expr.args)
    return None if left is None or right is None else const(_COMPARE[expr.op](left, right))


def _rewrite_truth(expr: Expr) -> Expr:
    """not, and, or of constants."""
    constants = [arg.value if arg.op == "const" and isinstance(arg.value, bool) else None for arg in expr.args]
    if expr.op == "not":
        return expr if constants[0] is None else const(not constants[0])
    absorbing = expr.op == "or"  # true or c is true; false or c is c
    for position, constant in enumerate(constants):
        if constant is not None:
            return const(absorbing) if constant is absorbing else expr.args[1 - position]
    return expr


def _rewrite_where(expr: Expr, weakness: dict[Expr, str]) -> Expr:
    """A choice between equals, by a constant, or by a negation."""
    condition, yes, no = expr.args
    if yes == no:
        return yes
    if condition.op == "const" and isinstance(condition.value, bool):
        kept, dropped = (yes, no) if condition.value else (no, yes)
        # A weak branch may not replace one that gave the dtype.
        if weakness[kept] in (_STRONG, weakness[dropped]) or weakness[dropped] == _WEAK_INT:
            return kept
        return expr
    return call("where", condition.args[0], no, yes) if condition.op == "not" else expr


def _drop_neutral(expr: Expr, weakness: dict[Expr, str]) -> Expr:
    """x * 1, 1 * x, x / 1, x ** 1, x - 0: x itself, where dtypes allow."""
    if expr.op not in _NEUTRAL:
        return expr
    for position, number in _NEUTRAL[expr.op]:
        unit, kept = expr.args[position], expr.args[1 - position]
        if unit.op != "const" or isinstance(unit.value, bool) or unit.value != number:
            continue
        if str(unit.value).startswith("-"):  # x - (-0.0) makes 0.0 of -0.0
            continue
        becomes_float = expr.op == "div" or isinstance(unit.value, float)
        if not (weakness[kept] == _WEAK_INT and becomes_float):
            return kept
    return expr


_NEUTRAL: dict[str, tuple[tuple[int, int], ...]] = {
    "mul": ((0, 1), (1, 1)),
    "div": ((1, 1),),
    "pow": ((1, 1),),
    "sub": ((1, 0),),
}
