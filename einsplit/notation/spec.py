"""What a text of the notation says: Terms (operands and outputs) in a Spec; and back to text."""

from collections.abc import Sequence
from dataclasses import dataclass

from einsplit.errors import Span

# One inner tuple per dimension: `b (h d) 1` is (("b",), ("h", "d"), ()). A dimension of size 1 has no label.
Dims = tuple[tuple[str, ...], ...]

ELLIPSIS = "..."


@dataclass(frozen=True, slots=True)
class Term:
    """One operand or output as written."""

    dims: Dims
    ellipsis: int | None  # the dimensions of `...` stand before dims[ellipsis]; None: no `...` was written
    span: Span  # of the whole term in the text
    dim_spans: tuple[Span, ...]  # one per dimension
    label_spans: tuple[tuple[Span, ...], ...]  # one per label, nested as dims


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole text, read. Kernel signatures have `brackets` and `aggregations`; `...` may stand in both."""

    text: str
    operands: tuple[Term, ...]
    outputs: tuple[Term, ...]
    words: bool  # labels are words parted by blanks; otherwise single letters, as in numpy
    brackets: frozenset[str] = frozenset()
    aggregations: tuple[tuple[str, str], ...] = ()  # (label, aggregation)


def labels_of(terms: Sequence[Term]) -> tuple[str, ...]:
    """Every label once, in order of first appearance."""
    return tuple(dict.fromkeys(label for term in terms for dim in term.dims for label in dim))


def dims_text(dims: Dims) -> str:
    """`b (h d) 1` for (("b",), ("h", "d"), ())."""
    return " ".join(dim[0] if len(dim) == 1 else f"({' '.join(dim)})" if dim else "1" for dim in dims)


def spec_text(operands: Sequence[Dims], outputs: Sequence[Dims]) -> str:
    """A text that parse_spec (or parse_signature) reads as these dims: `b s a, a f -> b s f`."""
    terms = [dims_text(dims) for dims in (*operands, *outputs)]
    if not any(" " in term for term in terms):
        # Without a blank inside a term labels are letters; blanks inside parentheses make them words again.
        terms = [f"( {term} )" if len(term) > 1 and "(" not in term else term for term in terms]
    left, right = terms[: len(operands)], terms[len(operands) :]
    return f"{', '.join(left)} -> {', '.join(right)}".strip()
