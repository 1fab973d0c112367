"""The errors of einsplit: one class per kind of mistake, and the shape that all their messages share.

A message says what is wrong, shows the expression with carets under the culprit, gives the values met, and advises:

    label 'q' stands in the output but in no operand.         the mistake
      b i, i o -> b q                                         the place: a text, and carets under a span of it
                    ^
      operands (32, 64) and (64, 128). Did you mean 'o'?      the remarks

An error keeps these parts, and its text is made of them when it is asked for. So whoever knows more than the one who
found the mistake takes them and says it again, with another place (`at`) or further remarks.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Self

Span = tuple[int, int]  # [start, stop) in a text


@dataclass(frozen=True, slots=True)
class Place:
    """A span of a text that the user wrote."""

    text: str
    span: Span


class EinsplitError(Exception):
    """Any mistake that einsplit reports to its user: the mistake, its place where a text has it, and remarks.

    Empty remarks are dropped, so that advice that was not found needs no `if`.
    """

    def __init__(self, mistake: str, *remarks: str, place: Place | None = None) -> None:
        super().__init__(mistake, *remarks)  # pickled by Ray: made anew of these, then given the attributes below
        self.mistake = mistake
        self.remarks = tuple(remark for remark in remarks if remark)
        self.place = place

    def at(self, text: str, span: Span) -> Self:
        """The same mistake and remarks, pointing at `span` of `text`."""
        return type(self)(self.mistake, *self.remarks, place=Place(text, span))

    def __str__(self) -> str:
        pointed = [point(self.place.text, *self.place.span)] if self.place is not None else []
        return "\n".join([self.mistake, *pointed, *(f"  {remark}" for remark in self.remarks)])


class NotationError(EinsplitError, ValueError):
    """A text (einsum, signature, join) or a traced join that does not mean anything."""


class ShapeError(EinsplitError, ValueError):
    """Ranks or sizes that do not fit each other."""


class DtypeError(EinsplitError, TypeError):
    """Dtypes that an operation does not take, or does not take together."""


class GraphError(EinsplitError, ValueError):
    """A Graph that breaks a law of well-formed graphs."""


class GradientError(EinsplitError, ValueError):
    """A gradient that does not exist, or that no rule gives."""


class CaptureError(EinsplitError, RuntimeError):
    """A program that cannot be captured."""


class MachineError(EinsplitError, ValueError):
    """A Machine that cannot exist, or is too small for what is asked of it."""


class PlanError(EinsplitError, ValueError):
    """A Plan that is damaged, belongs to another Graph, or cannot be made."""


class RunError(EinsplitError, RuntimeError):
    """A Program that failed while it ran."""


class WorkerError(RunError):
    """A worker that died."""


_WIDEST = 100  # characters of an expression that an error line shows


def point(text: str, start: int, stop: int) -> str:
    """Two lines, indented by two blanks: `text`, and carets under [start, stop).

    An empty range gets one caret. Of a text longer than 100 characters only the part around the range is
    shown.
    """
    flat = "".join(char if char.isprintable() else " " for char in text)  # a line break would part text and carets
    start = max(0, min(start, len(flat)))
    stop = max(start, min(stop, len(flat)))
    left, right = 0, len(flat)
    if len(flat) > _WIDEST:
        left = max(0, min(start - _WIDEST // 2, len(flat) - _WIDEST))
        right = min(len(flat), left + _WIDEST)
    head, tail = ("..." if left > 0 else ""), ("..." if right < len(flat) else "")
    line = head + flat[left:right] + tail
    carets = " " * (len(head) + start - left) + "^" * max(1, min(stop, right) - start)
    return f"  {line}\n  {carets}"


def advice(word: object, known: Iterable[str], title: str = "Known") -> str:
    """`Did you mean 'sum'?`, or where nothing known is close to `word` all of it: `Known: sum prod max.`"""
    names = list(known)
    return did_you_mean(str(word), names) or f"{title}: {' '.join(names) or 'none'}."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'sum'?`, or the empty text where nothing known is close to `word`."""
    close = get_close_matches(word, sorted(known), n=1)
    return ask(close[0]) if close else ""


def ask(word: str) -> str:
    """`Did you mean 'sum'?`"""
    return f"Did you mean {word!r}?"


def type_text(value: object) -> str:
    """`the class Net`, `int`: what a value is, for messages."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
