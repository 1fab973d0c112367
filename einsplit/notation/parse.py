"""Text -> Spec. Nothing here knows shapes; every error points at the place in the text."""

from collections import Counter
from itertools import chain

from einsplit.errors import NotationError, Span
from einsplit.monoid import monoid
from einsplit.notation.dims import Dims, flat
from einsplit.notation.spec import ELLIPSIS, Spec, Term, label_places, labels_of
from einsplit.notation.term import TermReader, fail, is_label, normal

_ARROW = "->"


def parse_spec(text: str) -> Spec:
    """The einsum that `text` writes: exactly one output, no brackets, no aggregations.

    Without an arrow the output holds the labels that stand once, sorted, after the ellipsis, as in numpy.
    Raises NotationError. Source: numpy.einsum; composite dimensions from einops (Rogozhnikov, ICLR 2022).
    """
    if (semicolon := text.find(";")) >= 0:
        fail("';' has no place in an einsum.", text, (semicolon, semicolon + 1), "Give agg=... instead.")
    operands, outputs, words, _ = _terms(text, (0, len(text)), brackets=False)
    if outputs is None:
        outputs = (_implicit_output(text, operands),)
    if len(outputs) > 1:
        fail("an einsum has one output.", text, outputs[1].span, f"{len(outputs)} stand after the arrow.")
    spec = Spec(text, operands, outputs, words)
    _check_outputs(spec)
    return spec


def parse_signature(text: str) -> Spec:
    """The kernel signature that `text` writes: `b c [h w], o c [y x] -> b o [p q]; sum c`.

    A label bracketed once is bracketed everywhere. An operand's label that is neither bracketed nor in an
    output must be aggregated by name after the semicolon. Raises NotationError.
    """
    end = text.find(";")
    end = len(text) if end < 0 else end
    operands, outputs, words, brackets = _terms(text, (0, end), brackets=True)
    if outputs is None:
        fail("a kernel signature needs an arrow.", text, (end, end), "Write 'operands -> outputs'.")
    spec = Spec(text, operands, outputs, words, brackets, _aggregations(text, end + 1))
    _check_outputs(spec)
    _check_aggregations(spec)
    return spec


def _terms(
    text: str, span: Span, *, brackets: bool
) -> tuple[tuple[Term, ...], tuple[Term, ...] | None, bool, frozenset[str]]:
    """Operands, outputs (None without an arrow), whether labels are words, and the bracketed labels."""
    sides = _split(text, span, _ARROW)
    if len(sides) > 2:
        second = sides[2][0] - len(_ARROW)
        fail("a second arrow.", text, (second, sides[2][0]), "One arrow parts the operands from the output.")
    spans = [[_strip(text, part) for part in _split(text, side, ",")] for side in sides]
    # One blank inside any term makes labels words everywhere; else they are letters, as numpy has them.
    words = any(char.isspace() for start, stop in chain(*spans) for char in text[start:stop])
    readers = [[TermReader(text, part, words, brackets) for part in side] for side in spans]
    terms = [tuple(reader.read() for reader in side) for side in readers]
    bracketed = frozenset(label for reader in chain(*readers) for label in reader.bracketed)
    return terms[0], (terms[1] if len(terms) == 2 else None), words, bracketed


def _split(text: str, span: Span, separator: str) -> list[Span]:
    """The spans between separators."""
    parts, start = [], span[0]
    while (at := text.find(separator, start, span[1])) >= 0:
        parts.append((start, at))
        start = at + len(separator)
    return [*parts, (start, span[1])]


def _strip(text: str, span: Span) -> Span:
    """The span without blanks at its ends."""
    start, stop = span
    while start < stop and text[start].isspace():
        start += 1
    while start < stop and text[stop - 1].isspace():
        stop -= 1
    return start, stop


def _implicit_output(text: str, operands: tuple[Term, ...]) -> Term:
    """The output of a text without an arrow, as if written at its end."""
    count = Counter(label for term in operands for label in flat(term.dims))
    dims: Dims = tuple((label,) for label in sorted(count) if count[label] == 1)
    ellipsis = 0 if any(term.ellipsis is not None for term in operands) else None
    end = (len(text), len(text))
    return Term(dims, ellipsis, end, (end,) * len(dims), ((end,),) * len(dims))


def word_advice(spec: Spec, term: Term) -> str:
    """What to write if the letters of `term` were meant as one word; empty where they can hardly be."""
    start, stop = term.span
    word = spec.text[start:stop]
    if spec.words or len(word) < 3 or not is_label(word):
        return ""
    return f"Without a blank inside a term every letter is a label. For one label write '( {word} )'."


def _check_outputs(spec: Spec) -> None:
    """No label stands twice in an output. Raises NotationError."""
    for term in spec.outputs:
        seen: set[str] = set()
        for label, span in label_places(term):
            if label in seen:
                advice = word_advice(spec, term) or "Only an operand may repeat a label: its diagonal."
                fail(f"label {label!r} stands twice in the output.", spec.text, span, advice)
            seen.add(label)


def _aggregations(text: str, start: int) -> tuple[tuple[str, str], ...]:
    """The (label, aggregation) pairs of `sum c, max d e`, which begins at `start`. Raises NotationError."""
    pairs: list[tuple[str, str]] = []
    if start > len(text):
        return ()
    for part in _split(text, (start, len(text)), ","):
        part_start, part_stop = _strip(text, part)
        words = text[part_start:part_stop].split()
        if len(words) < 2:
            fail("an aggregation and its labels expected.", text, (part_start, part_stop), "As in '; sum c'.")
        name = words[0]
        try:
            monoid(name)
        except NotationError as error:
            raise error.at(text, (part_start, part_start + len(name))) from None
        pairs.extend((normal(label), name) for label in words[1:])
    return tuple(pairs)


def _check_aggregations(spec: Spec) -> None:
    """Every label that ends in the signature is bracketed or aggregated once, and no other is. Raises NotationError."""
    consumed = set(_with_ellipsis(spec.operands)) - set(_with_ellipsis(spec.outputs))
    named = [label for label, _ in spec.aggregations]
    tail = spec.text.find(";") + 1
    for label in named:
        at = spec.text.find(label, tail)
        span = (at, at + len(label)) if at >= 0 else (tail, len(spec.text))
        if named.count(label) > 1:
            fail(f"label {label!r} is aggregated twice.", spec.text, span)
        if label not in consumed:
            advice = "It must stand in an operand and in no output."
            fail(f"label {label!r} cannot be aggregated.", spec.text, span, advice)
    unsettled = consumed - set(named) - spec.brackets
    for label, span in (place for term in spec.operands for place in label_places(term)):
        if label in unsettled:
            advice = f"Write '; sum {label}' behind the signature, or bracket it: [{label}]."
            fail(f"label {label!r} ends here, and nothing says how.", spec.text, span, advice)
    if ELLIPSIS in unsettled:
        at = spec.text.index(ELLIPSIS)
        fail("'...' ends here, and nothing says how.", spec.text, (at, at + len(ELLIPSIS)), "Bracket it: [...].")


def _with_ellipsis(terms: tuple[Term, ...]) -> tuple[str, ...]:
    """Every label, and `...` where it stands."""
    return labels_of(terms) + ((ELLIPSIS,) if any(term.ellipsis is not None for term in terms) else ())
