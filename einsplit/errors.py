"""The errors of einsplit: one class per kind of mistake, and the shape that all their messages share.

A message says what is wrong, shows the expression with carets under the culprit, gives the values met, and
advises. It is finished when the error is made: the classes carry nothing but that text.
"""

from collections.abc import Iterable
from difflib import get_close_matches

Span = tuple[int, int]  # [start, stop) in a text


class EinsplitError(Exception):
    """Any mistake that einsplit reports to its user."""


class NotationError(EinsplitError, ValueError):
    """A text (einsum, signature, join) or a traced join that does not mean anything."""


class ShapeError(EinsplitError, ValueError):
    """Ranks or sizes that do not fit each other."""


class DtypeError(EinsplitError, TypeError):
    """Dtypes that an operation does not take, or does not take together."""


class GraphError(EinsplitError, ValueError):
    """A Graph that breaks a law of well-formed graphs."""


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


def report(mistake: str, text: str, span: Span, *remarks: str) -> str:
    """A finished message: the mistake, the text with carets under `span`, then the non-empty remarks."""
    lines = [mistake, point(text, *span), *(f"  {remark}" for remark in remarks if remark)]
    return "\n".join(lines)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`Did you mean 'sum'?`, or the empty text where nothing known is close to `word`."""
    close = get_close_matches(word, sorted(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else ""
