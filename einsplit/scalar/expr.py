"""Expr: the closed algebra of scalar functions, an immutable tree. Constructors, and the way back to text.

A tree is checked where it is built and carries a digest of its content, so that equality, hashing and the
limits below cost nothing, however much of it is shared. `==` compares trees; only a traced join builds
comparisons with it.
"""

import math
import re
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import ClassVar

from einsplit.dtypes import check_dtype, int_range
from einsplit.errors import NotationError, advice
from einsplit.scalar.operators import (
    ATOM_LEVEL,
    COMPARE_LEVEL,
    OPERATORS,
    POWER_LEVEL,
    UNARY_LEVEL,
    Arithmetic,
    Number,
)

MAX_DEPTH = 100  # levels of a tree: reading, printing and evaluating recurse
MAX_SIZE = 20_000  # nodes of a tree written out: shared parts of a traced join can double it at every step

_LABEL = re.compile(r"[^\s(),]+")
_LOWEST, _HIGHEST = int_range("int64")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Expr(Arithmetic):
    """A scalar function of operands and label indices.

    `op` is 'const' (value: the number), 'operand' (value: its position), 'index' (name: the label), 'cast'
    (name: the dtype) or a row of OPERATORS. Raises NotationError where that makes no expression.
    """

    op: str
    args: tuple["Expr", ...] = ()
    value: Number | None = None
    name: str | None = None
    depth: int = field(init=False)
    size: int = field(init=False)  # nodes, shared ones as often as they stand
    digest: bytes = field(init=False)  # of the content; equal between processes and runs

    __array_ufunc__: ClassVar[None] = None  # numpy's scalars shall leave `2.0 * x` to x

    def __post_init__(self) -> None:
        if isinstance(self.value, float) and math.isnan(self.value):
            object.__setattr__(self, "value", math.nan)  # one NaN: signs and payloads have no text
        _check(self)
        object.__setattr__(self, "depth", 1 + max((arg.depth for arg in self.args), default=0))
        object.__setattr__(self, "size", 1 + sum(arg.size for arg in self.args))
        if self.depth > MAX_DEPTH or self.size > MAX_SIZE:
            raise NotationError(
                f"the join is too large: {self.size} operations, {self.depth} deep.",
                f"At most {MAX_SIZE}, {MAX_DEPTH} deep. Split it into several einsums.",
            )
        # The type of the value counts: 1, 1.0 and true are equal in Python, and so are 0.0 and -0.0.
        packed = struct.pack(">d", self.value) if isinstance(self.value, float) else b""
        head = repr((self.op, self.name, type(self.value).__name__, packed or self.value, len(self.args)))
        content = blake2b(head.encode(), digest_size=20)
        for arg in self.args:
            content.update(arg.digest)
        object.__setattr__(self, "digest", content.digest())

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Expr) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Expr[{to_text(self)}]"

    def _apply(self, op: str, *args: object) -> "Expr":
        return Expr(op, tuple(lift(arg) for arg in args))


def _check(expr: Expr) -> None:
    """Raises NotationError where the fields do not fit the operator."""
    op, value, name = expr.op, expr.value, expr.name
    if op == "const":
        fits = isinstance(value, Number) and name is None and not expr.args
        if fits and isinstance(value, int) and not _LOWEST <= value <= _HIGHEST:
            raise NotationError(f"the constant {value} does not fit into 64 bits.", f"Write it as a float: {value}.0")
    elif op == "operand":
        fits = type(value) is int and value >= 0 and name is None and not expr.args
    elif op == "index":
        fits = name is not None and _LABEL.fullmatch(name) is not None and value is None and not expr.args
    elif op == "cast":
        fits = name is not None and value is None and len(expr.args) == 1
        check_dtype(name or "")
    elif op in OPERATORS:
        needed, given = OPERATORS[op].arity, len(expr.args)
        if given < needed or (given > needed and op != "random"):
            raise NotationError(f"{op} takes {arity_text(op)}, not {given}.")
        fits = value is None and name is None
    else:
        raise NotationError(f"unknown function {op!r}.", advice(op, OPERATORS))
    if not fits:
        raise NotationError(f"{op!r} cannot be made of value {value!r}, name {name!r} and {len(expr.args)} arguments.")


def arity_text(op: str) -> str:
    """`2 arguments`, for messages."""
    arity = OPERATORS[op].arity
    return f"{arity} argument{'s' if arity > 1 else ''}{' or more' if op == 'random' else ''}"


def lift(value: object) -> Expr:
    """An expression as it is, a number (numpy's scalars among them) as a constant. Raises NotationError."""
    if isinstance(value, Expr):
        return value
    number = value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value
    if isinstance(number, Number):
        return Expr("const", value=number)
    raise NotationError(f"a join is made of numbers and operands, not of {type(value).__name__}.")


def const(value: Number) -> Expr:
    """A number. Integers and floats are weak: they take the dtype of what they meet."""
    return lift(value)


def operand(position: int) -> Expr:
    """The element of the operand at that position."""
    return Expr("operand", value=position)


def index(label: str) -> Expr:
    """The index along a label, from 0; a weak integer."""
    return Expr("index", name=label)


def cast(expr: Expr, dtype: str) -> Expr:
    """The value in another dtype; floats are truncated towards zero to make integers."""
    return Expr("cast", (expr,), name=dtype)


def call(op: str, *args: Expr | Number) -> Expr:
    """The operator or function of that name. Raises NotationError for unknown ones and wrong arity."""
    return Expr(op, tuple(lift(arg) for arg in args))


# ----------------------------------------------------------------------------------------- back to text


@lru_cache(maxsize=2**14)
def to_text(expr: Expr) -> str:
    """The text that parse_join reads as this very tree. Operands are x, y, z; with a fourth, x0, x1 ..."""
    return text_within(expr, expr)


def text_within(whole: Expr, part: Expr) -> str:
    """The text of `part`, its operands named as in the text of `whole`."""
    return _text(part, _last_operand(whole, {}) < 3, 0)


def _last_operand(expr: Expr, seen: dict[Expr, int]) -> int:
    """The highest position of an operand; -1 where there is none. `seen` holds what is known of shared parts."""
    if expr not in seen:
        own = expr.value if expr.op == "operand" and isinstance(expr.value, int) else -1
        seen[expr] = max((_last_operand(arg, seen) for arg in expr.args), default=own)
    return seen[expr]


def _text(expr: Expr, letters: bool, level: int) -> str:
    """The text of `expr` where nothing that binds less tightly than `level` may stand bare."""
    text, own = _bare(expr, letters)
    return text if own >= level else f"({text})"


def _bare(expr: Expr, letters: bool) -> tuple[str, int]:
    """The text and its level."""
    if expr.op == "const":
        return _number(expr)
    if expr.op == "operand":
        position = int(expr.value or 0)
        return ("xyz"[position] if letters and position < 3 else f"x{position}"), ATOM_LEVEL
    if expr.op == "index":
        return f"index({expr.name})", ATOM_LEVEL
    if expr.op == "cast":
        return f"cast({_text(expr.args[0], letters, 0)}, {expr.name})", ATOM_LEVEL
    row = OPERATORS[expr.op]
    if not row.symbol:
        return f"{expr.op}({', '.join(_text(arg, letters, 0) for arg in expr.args)})", ATOM_LEVEL
    if expr.op == "not":
        return f"not {_text(expr.args[0], letters, row.level)}", row.level
    if expr.op == "neg":
        # `-1` is a constant; the negative of the constant 1 needs parentheses to be told from it.
        level = ATOM_LEVEL + 1 if expr.args[0].op == "const" else UNARY_LEVEL
        return f"-{_text(expr.args[0], letters, level)}", row.level
    left_level = ATOM_LEVEL if row.level == POWER_LEVEL else row.level + (row.level == COMPARE_LEVEL)
    right_level = UNARY_LEVEL if row.level == POWER_LEVEL else row.level + 1
    left, right = _text(expr.args[0], letters, left_level), _text(expr.args[1], letters, right_level)
    return f"{left} {row.symbol} {right}", row.level


def _number(expr: Expr) -> tuple[str, int]:
    """The text of a constant, and its level: a negative number binds like a minus sign."""
    if isinstance(expr.value, bool):
        return str(expr.value).lower(), ATOM_LEVEL
    text = repr(expr.value)
    return text, UNARY_LEVEL if text.startswith("-") else ATOM_LEVEL
