"""Text -> Expr: joins as users write them, with Python's precedence. Errors point at the place in the text.

join    := join infix join | ('-' | '+' | '~' | 'not') join | primary
primary := number | operand | '(' join ')' | function '(' join, ... ')' | 'index' '(' label ')'
         | 'cast' '(' join ',' dtype ')' | dtype '(' join ')'
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from einsplit.dtypes import DTYPES
from einsplit.errors import NotationError, Place, Span, advice, did_you_mean
from einsplit.scalar.expr import MAX_DEPTH, Expr, arity_text, call, cast, const, index, operand
from einsplit.scalar.operators import COMPARE_LEVEL, FUNCTIONS, INFIX, NOT_LEVEL, POWER_LEVEL, UNARY_LEVEL

MAX_LENGTH = 1 << 20  # characters of a text

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<index>index\s*\(\s*[^\s(),]+\s*\))
      | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<symbol>\*\*|//|==|!=|<=|>=|[-+*/%<>&|~(),])
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_NUMBERS: dict[str, bool | float] = {
    "inf": math.inf,
    "nan": math.nan,
    "pi": math.pi,
    "true": True,
    "false": False,
    "True": True,
    "False": False,
}
_LETTERS = {"x": 0, "y": 1, "z": 2}
_CALLED = sorted({"index", "cast", *FUNCTIONS})
_WORDS = {*_CALLED, *DTYPES}
_INSTEAD = {  # of signs that a join does not have
    "=": "Comparison is written '=='.",
    "!": "Negation is written 'not'.",
    "^": "A power is written x ** y.",
}


def parse_join(text: str, num_operands: int, labels: Iterable[str] = ()) -> Expr:
    """The expression that `text` writes over `num_operands` operands and the indices of `labels`.

    `parse_join(to_text(e), ...) == e` for every e. Raises NotationError.
    """
    if len(text) > MAX_LENGTH:
        raise NotationError(f"a join of {len(text)} characters.", f"At most {MAX_LENGTH} are read.")
    reader = _Reader(text, num_operands, tuple(labels), _tokens(text))
    expr = reader.join(0)
    if reader.token.kind != "end":
        reader.unexpected("An operator is missing, or a parenthesis is closed twice.")
    return expr


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # index, number, name, symbol, end
    text: str
    span: Span


def _tokens(text: str) -> list[_Token]:
    """The text cut up, with an empty token at its end. Raises NotationError at a sign that no join has."""
    tokens: list[_Token] = []
    at = 0
    while not tokens or tokens[-1].kind != "end":
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            remark = _INSTEAD.get(text[at], "A join holds numbers, operands, operators and functions.")
            raise NotationError(f"unexpected {text[at]!r} in a join.", remark, place=Place(text, (at, at + 1)))
        kind = next(name for name in ("index", "number", "name", "symbol", "end") if match[name] is not None)
        tokens.append(_Token(kind, match[kind], match.span(kind)))
        at = match.end()
    return tokens


@dataclass(slots=True)
class _Reader:
    """Precedence climbing. Source: Pratt, Top down operator precedence, POPL 1973."""

    text: str
    num_operands: int
    labels: tuple[str, ...]
    tokens: list[_Token]
    at: int = 0
    depth: int = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def fail(self, mistake: str, span: Span, *remarks: str) -> NoReturn:
        raise NotationError(mistake, *remarks, place=Place(self.text, span))

    def unexpected(self, remark: str) -> NoReturn:
        """Raises NotationError at the token that stands here."""
        token = self.token
        if token.text in ("if", "else"):
            remark = "Write where(c, a, b) for `a if c else b`."
        what = repr(token.text) if token.text else "end"
        self.fail(f"unexpected {what} in a join.", token.span, remark)

    def take(self, symbol: str) -> bool:
        """Whether `symbol` stands here; steps over it."""
        found = self.token.kind == "symbol" and self.token.text == symbol
        self.at += found
        return found

    def expect(self, symbol: str) -> None:
        """Steps over `symbol`; raises NotationError where it does not stand here."""
        if not self.take(symbol):
            self.unexpected(f"{symbol!r} expected.")

    def join(self, level: int) -> Expr:
        """The longest expression from here whose operators bind at least as tightly as `level`."""
        self.depth += 1
        if self.depth > 2 * MAX_DEPTH:  # a level of the tree takes up to two calls: operand and parenthesis
            self.fail("a join nested too deeply.", self.token.span, "Split it into several einsums.")
        left = self.prefix(level)
        while (found := self._infix()) is not None and found[1] >= level:
            span = self.token.span
            self.at += 1
            right = self.join(UNARY_LEVEL if found[1] == POWER_LEVEL else found[1] + 1)
            left = self.build(span, found[0], left, right)
            if found[1] == COMPARE_LEVEL and (chained := self._infix()) is not None and chained[1] == COMPARE_LEVEL:
                self.fail("comparisons cannot be chained.", self.token.span, "Write (a < b) and (b < c).")
        self.depth -= 1
        return left

    def _infix(self) -> tuple[str, int] | None:
        return INFIX.get(self.token.text) if self.token.kind in ("symbol", "name") else None

    def build(self, span: Span, op: str, *args: Expr) -> Expr:
        """call(), whose errors get to know the place."""
        try:
            return call(op, *args)
        except NotationError as error:
            raise error.at(self.text, span) from None

    def prefix(self, level: int) -> Expr:
        """A primary, or a prefix operator and what it governs."""
        token = self.token
        if token.kind == "name" and token.text == "not":
            if level > NOT_LEVEL:
                self.unexpected("Put 'not ...' in parentheses here.")
            self.at += 1
            return self.build(token.span, "not", self.join(NOT_LEVEL))
        if self.take("-"):
            number = self.token.kind == "number" or self.token.text in ("inf", "nan", "pi")
            after = self.tokens[self.at + 1] if number else self.token
            if number and not (after.kind == "symbol" and after.text == "**"):  # -2 ** x is -(2 ** x)
                return self.number("-")
            return self.build(token.span, "neg", self.join(UNARY_LEVEL))
        if self.take("+"):
            return self.join(UNARY_LEVEL)
        if self.take("~"):
            return self.build(token.span, "not", self.join(UNARY_LEVEL))
        if self.take("("):
            inner = self.join(0)
            self.expect(")")
            return inner
        if token.kind == "index":
            return self.index()
        if token.kind == "number" or token.text in _NUMBERS:
            return self.number("")
        if token.kind != "name" or token.text in INFIX or token.text in ("if", "else"):
            self.unexpected("A number, an operand or a function expected.")
        called = self.tokens[self.at + 1]
        self.at += 1
        return self.function(token) if called.text == "(" else self.operand(token)

    def number(self, sign: str) -> Expr:
        """A constant; its sign was read before."""
        token = self.token
        self.at += 1
        if token.text in _NUMBERS:
            value: bool | int | float = _NUMBERS[token.text]
            return const(-value if sign else value)
        if not token.text.isdecimal():
            return const(float(sign + token.text))
        if len(token.text.lstrip("0")) > 19 or not -(2**63) <= int(sign + token.text) < 2**63:
            self.fail("an integer beyond 64 bits.", token.span, f"Write it as a float: {token.text[:24]}.0")
        return const(int(sign + token.text))

    def index(self) -> Expr:
        """`index(label)`, which is one token: a label may hold signs that no other word has."""
        token = self.token
        self.at += 1
        label = token.text[token.text.index("(") + 1 : -1].strip()
        if label not in self.labels:
            start = self.text.index(label, token.span[0] + len("index"))
            known = "Labels here: " + " ".join(self.labels) + "." if self.labels else "There are no labels here."
            meant = did_you_mean(label, self.labels)
            self.fail(f"unknown label {label!r}.", (start, start + len(label)), meant, known)
        return index(label)

    def operand(self, token: _Token) -> Expr:
        """x, y, z or x0, x1 ...; the token was stepped over."""
        match = re.fullmatch(r"x(0|[1-9][0-9]{0,5})", token.text)
        position = int(match[1]) if match else _LETTERS.get(token.text)
        if position is not None and position < self.num_operands:
            return operand(position)
        if token.text in _WORDS:
            self.fail(f"{token.text} is a function.", token.span, f"Write {token.text}(...).")
        several = self.num_operands > len(_LETTERS)
        names = " ".join([f"x{k}" for k in range(self.num_operands)] if several else [*_LETTERS][: self.num_operands])
        known = f"Operands here: {names}." if names else "There are no operands here."
        label = f"The index along that label is index({token.text})." if token.text in self.labels else ""
        self.fail(f"unknown operand {token.text!r}.", token.span, label, known)

    def function(self, token: _Token) -> Expr:
        """A function, a cast or a dtype, called; the token was stepped over."""
        if token.text not in _WORDS:
            meant = did_you_mean(token.text, _WORDS) or advice(token.text, _CALLED)
            self.fail(f"unknown function {token.text!r}.", token.span, meant)
        self.expect("(")
        if token.text == "index":
            self.unexpected("index takes one label: index(i).")
        args: list[Expr] = []
        dtype = token.text if token.text in DTYPES else ""
        while self.token.text != ")":
            if token.text == "cast" and len(args) == 1:
                dtype = self.dtype()
                break
            args.append(self.join(0))
            if not self.take(","):
                break
        self.expect(")")
        if dtype:
            return self._cast(token, args, dtype)
        if token.text == "cast":
            self.fail("cast takes an expression and a dtype.", token.span, "As in cast(x, float32).")
        return self.build(token.span, token.text, *args)

    def dtype(self) -> str:
        """The second argument of a cast."""
        token = self.token
        if token.kind == "end":
            self.unexpected("A dtype expected.")
        if token.text not in DTYPES:
            self.fail(f"unknown dtype {token.text!r}.", token.span, advice(token.text, DTYPES))
        self.at += 1
        return token.text

    def _cast(self, token: _Token, args: list[Expr], dtype: str) -> Expr:
        if len(args) != 1:
            self.fail(f"{token.text} takes {arity_text('exp')}, not {len(args)}.", token.span)
        try:
            return cast(args[0], dtype)
        except NotationError as error:
            raise error.at(self.text, token.span) from None
