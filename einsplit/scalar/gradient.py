"""Expr -> the adjoints of its operands, expressions too: reverse mode over the tree, one rule for each operator.

With `bar` the adjoint of an expression e = op(a, b), the rule of op gives the adjoints of a and b. The conventions at
kinks are torch's: 0 for abs at 0, halves for max and min of equal elements, 0 for x ** 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from einsplit.dtypes import kind
from einsplit.errors import GradientError
from einsplit.scalar.analysis import parts
from einsplit.scalar.expr import Expr, call, cast, const
from einsplit.scalar.simplify import simplify
from einsplit.scalar.typed import Typing, is_weak

# (adjoint of e, e, its arguments) -> the adjoint of each argument; None where it has none
Rule = Callable[..., Sequence[Expr | None]]


def adjoints(expr: Expr, dtypes: Sequence[str], seed: Expr, wanted: Collection[int]) -> dict[int, Expr]:
    """The adjoint of each of the `wanted` operands that `expr` depends on smoothly, in the operand's dtype.

    Operands are named by position, `dtypes` are theirs; `seed` is the adjoint of `expr` itself, in its dtype, and may
    read further operands. Integers, booleans, comparisons, `random` and `stop_gradient` hand nothing on. Raises
    DtypeError, and GradientError where the way to a wanted operand goes through complex numbers that are more than
    added and chosen.
    """
    typing = Typing(expr, tuple(dtypes))
    order = parts(expr)
    smooth = _smooth(order, typing, wanted)
    bars: dict[Expr, Expr] = {expr: seed}
    for part in reversed(order):
        if part not in bars or part not in smooth:
            continue
        for arg, bar in zip(part.args, _step(part, bars[part], typing), strict=True):
            if bar is not None and arg in smooth:
                bars[arg] = bars[arg] + bar if arg in bars else bar
    leaves = [part for part in order if part.op == "operand" and part in bars and part in smooth]
    return {int(part.value or 0): simplify(bars[part]) for part in leaves}


def _smooth(order: Sequence[Expr], typing: Typing, wanted: Collection[int]) -> set[Expr]:
    """The parts whose value depends on a wanted operand through operators that have a rule."""
    found: set[Expr] = set()
    for part in order:
        if part.op == "operand":
            reaches = part.value in wanted
        else:
            reaches = (part.op == "cast" or part.op in RULES) and any(arg in found for arg in part.args)
        if not reaches or is_weak(typing.type_of(part)):
            continue
        types = [typing.type_of(each) for each in (part, *part.args)]
        if part.op not in OF_COMPLEX and any(not is_weak(each) and kind(each) == "complex" for each in types):
            raise GradientError(
                f"complex numbers are not differentiated: {typing.text(part)}.",
                "Compute with real and imaginary parts, or detach it.",
            )
        if kind(typing.type_of(part)) in ("float", "complex"):
            found.add(part)
    return found


def _step(part: Expr, bar: Expr, typing: Typing) -> Sequence[Expr | None]:
    if part.op == "operand":
        return ()
    if part.op == "cast":
        source = typing.type_of(part.args[0])
        return (bar if source == part.name else cast(bar, source),)
    return RULES[part.op](bar, part, *part.args)


def _pow(bar: Expr, e: Expr, x: Expr, y: Expr) -> Sequence[Expr | None]:
    """x: `y x^(y-1)`, 0 where y is 0; y: `x^y log x`, 0 where x is 0 and y is not negative."""
    if y.op == "const" and isinstance(y.value, int | float):
        return (bar * (y * _power(x, y.value - 1)) if y.value else None, None)
    of_base = call("where", call("eq", y, const(0.0)), const(0.0), bar * (y * call("pow", x, y - const(1.0))))
    settled = call("and", call("eq", x, const(0.0)), call("ge", y, const(0.0)))
    return of_base, bar * call("where", settled, const(0.0), e * call("log", x))


def _power(x: Expr, exponent: int | float) -> Expr:
    return x if exponent == 1 else const(1.0) if exponent == 0 else call("pow", x, const(exponent))


def _chosen(bar: Expr, x: Expr, y: Expr, loses: str) -> Expr:
    """What flows to x of the larger (smaller) of x and y: half where they are equal, nothing where x `loses`."""
    kept = call("where", call(loses, x, y), const(0.0), bar)
    return call("where", call("eq", x, y), bar / const(2.0), kept)


def _max(bar: Expr, e: Expr, x: Expr, y: Expr) -> Sequence[Expr | None]:
    return _chosen(bar, x, y, "lt"), _chosen(bar, y, x, "lt")


def _min(bar: Expr, e: Expr, x: Expr, y: Expr) -> Sequence[Expr | None]:
    return _chosen(bar, x, y, "gt"), _chosen(bar, y, x, "gt")


def _abs(bar: Expr, e: Expr, x: Expr) -> Sequence[Expr | None]:
    below = call("where", call("lt", x, const(0.0)), const(-1.0), const(0.0))
    return (bar * call("where", call("gt", x, const(0.0)), const(1.0), below),)


def _where(bar: Expr, e: Expr, c: Expr, x: Expr, y: Expr) -> Sequence[Expr | None]:
    return None, call("where", c, bar, const(0.0)), call("where", c, const(0.0), bar)


def _erf(bar: Expr, e: Expr, x: Expr) -> Sequence[Expr | None]:
    return (bar * (const(2 / math.sqrt(math.pi)) * call("exp", -(x * x))),)


RULES: dict[str, Rule] = {
    "add": lambda bar, e, x, y: (bar, bar),
    "sub": lambda bar, e, x, y: (bar, -bar),
    "mul": lambda bar, e, x, y: (bar * y, bar * x),
    "div": lambda bar, e, x, y: (bar / y, -bar * (e / y)),
    "mod": lambda bar, e, x, y: (bar, -bar * call("floordiv", x, y)),
    "neg": lambda bar, e, x: (-bar,),
    "pow": _pow,
    "abs": _abs,
    "max": _max,
    "min": _min,
    "where": _where,
    "exp": lambda bar, e, x: (bar * e,),
    "log": lambda bar, e, x: (bar / x,),
    "sqrt": lambda bar, e, x: (bar / (const(2.0) * e),),
    "rsqrt": lambda bar, e, x: (bar * (const(-0.5) * (e * e * e)),),
    "tanh": lambda bar, e, x: (bar * (const(1.0) - e * e),),
    "sigmoid": lambda bar, e, x: (bar * ((const(1.0) - e) * e),),
    "erf": _erf,
    "sin": lambda bar, e, x: (bar * call("cos", x),),
    "cos": lambda bar, e, x: (-bar * call("sin", x),),
}
OF_COMPLEX = ("operand", "add", "sub", "neg", "where")  # whose rules hold of complex numbers as they stand
# Without a rule, and so constant for whoever differentiates: floor, floordiv, comparisons, truth, random.
