"""What a text of the notation says: Terms (operands and outputs) in a Spec."""

from collections.abc import Sequence
from dataclasses import dataclass

from einsplit.errors import Span
from einsplit.notation.dims import Dims, Label, flat

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
    brackets: frozenset[Label] = frozenset()
    aggregations: tuple[tuple[Label, str], ...] = ()  # (label, aggregation)


def labels_of(terms: Sequence[Term]) -> tuple[Label, ...]:
    """Every label once, in order of first appearance."""
    return tuple(dict.fromkeys(label for term in terms for label in flat(term.dims)))


def label_places(term: Term) -> tuple[tuple[Label, Span], ...]:
    """Every label of the term, as often as it stands, and where."""
    return tuple(zip(flat(term.dims), (span for spans in term.label_spans for span in spans), strict=True))
