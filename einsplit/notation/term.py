"""Text -> Term: one operand or output, read from left to right."""

import unicodedata
from dataclasses import dataclass, field
from typing import NoReturn

from einsplit.errors import NotationError, Place, Span
from einsplit.notation.spec import ELLIPSIS, Term

_ARROW, _DOTS = "The arrow is written '->'.", "'...' has three dots."
_INSTEAD = {"-": _ARROW, ">": _ARROW, "=": _ARROW, "→": _ARROW, ".": _DOTS, "…": _DOTS}


def is_label(word: str) -> bool:
    """Whether `word` may name a label: an identifier, with primes allowed after the first letter."""
    return word.replace("'", "_").isidentifier() and not word.startswith("'")


def normal(word: str) -> str:
    """As Python normalises the keywords that give sizes."""
    return unicodedata.normalize("NFKC", word)


def fail(mistake: str, text: str, span: Span, *remarks: str) -> NoReturn:
    """Raises NotationError that points at `span` of `text`."""
    raise NotationError(mistake, *remarks, place=Place(text, span))


@dataclass(slots=True)
class TermReader:
    """The state of reading one term. A dimension is finished when its label or its `)` has been read."""

    text: str
    span: Span
    words: bool
    allow_brackets: bool
    dims: list[tuple[str, ...]] = field(default_factory=list)
    dim_spans: list[Span] = field(default_factory=list)
    label_spans: list[tuple[Span, ...]] = field(default_factory=list)
    ellipsis: int | None = None
    bracketed: set[str] = field(default_factory=set)
    opened: list[int] = field(default_factory=list)  # positions of open parentheses and brackets
    inside: list[tuple[str, Span]] = field(default_factory=list)  # labels of the open parenthesis

    def read(self) -> Term:
        """The whole term. Raises NotationError."""
        at, stop = self.span
        while at < stop:
            at = self._step(at, stop)
        if self.opened:
            first = self.opened[0]
            fail(f"{self.text[first]!r} is never closed.", self.text, (first, first + 1))
        return Term(tuple(self.dims), self.ellipsis, self.span, tuple(self.dim_spans), tuple(self.label_spans))

    def _step(self, at: int, stop: int) -> int:
        """Reads what stands at `at`; returns the position behind it."""
        char = self.text[at]
        if char.isspace():
            return at + 1
        if self.text.startswith(ELLIPSIS, at, stop):
            self._add_ellipsis((at, at + len(ELLIPSIS)))
            return at + len(ELLIPSIS)
        if char in "([":
            self._open(at)
            return at + 1
        if char in ")]":
            self._close(at)
            return at + 1
        after = at + 1
        while after < stop and (self._continues(after) if self.words else self.text[after] == "'"):
            after += 1
        self._add_word(self.text[at:after], (at, after))
        return after

    def _continues(self, at: int) -> bool:
        return is_label("_" + self.text[at])

    def _is_open(self, char: str) -> bool:
        return any(self.text[at] == char for at in self.opened)

    def _add_ellipsis(self, span: Span) -> None:
        if self._is_open("("):
            fail("'...' cannot stand inside parentheses.", self.text, span)
        if self.ellipsis is not None:
            fail("a second '...' in one term.", self.text, span, "It stands for all unnamed dimensions at once.")
        self.ellipsis = len(self.dims)
        if self._is_open("["):
            self.bracketed.add(ELLIPSIS)

    def _open(self, at: int) -> None:
        char, span = self.text[at], (at, at + 1)
        if char == "[" and not self.allow_brackets:
            fail("brackets belong to kernel signatures.", self.text, span, "An einsum may cut every label.")
        if self._is_open(char):
            fail(f"{char!r} inside {char!r}.", self.text, span)
        if char == "(":
            self.inside = []
        self.opened.append(at)

    def _close(self, at: int) -> None:
        char = self.text[at]
        opener = "(" if char == ")" else "["
        if not self.opened or self.text[self.opened[-1]] != opener:
            fail(f"{char!r} closes nothing.", self.text, (at, at + 1))
        start = self.opened.pop()
        if char == ")":
            self._add_dim(self.inside, (start, at + 1))

    def _add_word(self, word: str, span: Span) -> None:
        label = word if self._is_symbol(word) else normal(word)
        if label == "1":
            if not self._is_open("("):
                self._add_dim([], span)
        elif is_label(label) or self._is_symbol(label):
            if self._is_open("["):
                self.bracketed.add(label)
            if self._is_open("("):
                self.inside.append((label, span))
            else:
                self._add_dim([(label, span)], span)
        elif word[0].isdigit():
            fail(f"{word!r} is no label.", self.text, span, "Of numbers only 1 may stand for a dimension.")
        else:
            fail(f"unexpected {word!r}.", self.text, span, _INSTEAD.get(word, ""))

    def _is_symbol(self, word: str) -> bool:
        """Whether it is a single letter, or sign, that opt_einsum's get_symbol may give: kept as it is written."""
        return not self.words and unicodedata.category(word[0])[0] in "LSM" and word[0] > "\x7f" and word != "→"

    def _add_dim(self, labels: list[tuple[str, Span]], span: Span) -> None:
        self.dims.append(tuple(label for label, _ in labels))
        self.label_spans.append(tuple(label_span for _, label_span in labels))
        self.dim_spans.append(span)
