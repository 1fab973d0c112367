"""Spec + shapes + given sizes -> Bound: every label with its size, and `...` spelled out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from operator import index as as_int
from typing import NoReturn

from einsplit.errors import NotationError, ShapeError, Span, did_you_mean, report
from einsplit.notation.parse import word_advice
from einsplit.notation.spec import ELLIPSIS, Dims, Spec, Term, dims_text, labels_of
from einsplit.notation.term import normal

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """A Spec that met its operands. Dimensions under `...` are labelled `...1 ...0`, from the right."""

    spec: Spec
    operands: tuple[Dims, ...]
    outputs: tuple[Dims, ...]
    sizes: Mapping[str, int]  # of every label, in order of first appearance
    brackets: frozenset[str]
    aggregations: tuple[tuple[str, str], ...]


def bind(spec: Spec, shapes: Sequence[Shape], sizes: Mapping[str, int]) -> Bound:
    """The sizes of all labels, from the operands' shapes and from the `sizes` given by name.

    An empty left side is one scalar operand, or none at all, as `shapes` has it. One unknown label per
    composite dimension is inferred. Sizes never stretch: 1 and 8 under one label do not fit. Raises
    ShapeError for ranks and sizes that do not fit, NotationError for an output label or a given size that
    belongs nowhere.
    """
    terms = spec.operands
    if not shapes and len(terms) == 1 and terms[0].span[0] == terms[0].span[1]:
        terms = ()
    binding = _Binding(spec, terms, tuple(tuple(shape) for shape in shapes))
    binding.check_operands()
    operands, num_hidden = binding.expand_operands()
    hidden = _hidden(num_hidden)
    outputs = tuple(_expand(term, hidden) for term in spec.outputs)
    binding.give(sizes)
    binding.learn(operands)
    binding.check_outputs(outputs)
    order = dict.fromkeys(label for dims in (*operands, *outputs) for dim in dims for label in dim)
    return Bound(
        spec,
        operands,
        outputs,
        {label: binding.sizes[label] for label in order},
        frozenset(label for name in spec.brackets for label in (hidden if name == ELLIPSIS else (name,))),
        tuple((label, agg) for name, agg in spec.aggregations for label in (hidden if name == ELLIPSIS else (name,))),
    )


def _hidden(count: int) -> tuple[str, ...]:
    """The labels of `count` dimensions under `...`: aligned at the right, as numpy broadcasts."""
    return tuple(f"{ELLIPSIS}{k}" for k in reversed(range(count)))


def _expand(term: Term, hidden: tuple[str, ...]) -> Dims:
    if term.ellipsis is None:
        return term.dims
    return term.dims[: term.ellipsis] + tuple((label,) for label in hidden) + term.dims[term.ellipsis :]


def _named(label: str) -> str:
    if label.startswith(ELLIPSIS):
        return f"dimension {label.removeprefix(ELLIPSIS)} from the right under '...'"
    return f"label {label!r}"


def _shown(shapes: Sequence[Shape]) -> str:
    """`operands (32, 64) and (64, 128).`"""
    texts = [str(shape) for shape in shapes]
    if not texts:
        return "no operands."
    listed = f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else texts[0]
    return f"operand{'s' if len(texts) > 1 else ''} {listed}."


@dataclass(slots=True)
class _Binding:
    spec: Spec
    terms: tuple[Term, ...]
    shapes: tuple[Shape, ...]
    sizes: dict[str, int] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)  # where the size of a label was learnt

    def fail(self, mistake: str, span: Span, *remarks: str) -> NoReturn:
        raise ShapeError(report(mistake, self.spec.text, span, _shown(self.shapes), *remarks))

    def check_operands(self) -> None:
        if len(self.terms) != len(self.shapes):
            last = self.terms[-1].span if self.terms else (0, 0)
            names, given = len(self.terms), len(self.shapes)
            plural = "" if names == 1 else "s"
            mistake = f"the text has {names} operand{plural}, {given} {'was' if given == 1 else 'were'} given."
            self.fail(mistake, (self.terms[0].span[0] if self.terms else 0, last[1]), "Commas part the operands.")

    def expand_operands(self) -> tuple[tuple[Dims, ...], int]:
        """The operands' dims with `...` spelled out, and the most dimensions that it stands for."""
        expanded, most = [], 0
        for position, (term, shape) in enumerate(zip(self.terms, self.shapes, strict=True)):
            num_hidden = len(shape) - len(term.dims)
            if num_hidden < 0 or (num_hidden > 0 and term.ellipsis is None):
                least = " or more" if term.ellipsis is not None else ""
                advice = word_advice(self.spec, term)
                if not advice and num_hidden > 0:
                    advice = "Leading dimensions without a name are written '...'."
                given = f"{len(shape)} dimension{'' if len(shape) == 1 else 's'}"
                mistake = f"operand {position} has {given}, the text names {len(term.dims)}{least}."
                self.fail(mistake, term.span, advice)
            expanded.append(_expand(term, _hidden(num_hidden if term.ellipsis is not None else 0)))
            most = max(most, num_hidden)
        return tuple(expanded), most

    def give(self, sizes: Mapping[str, int]) -> None:
        """Takes the sizes given by name."""
        known = labels_of((*self.spec.operands, *self.spec.outputs))
        for given, size in sizes.items():
            label = next((name for name in known if normal(name) == given), given)
            if label not in known:
                everything = (0, len(self.spec.text))
                advice = did_you_mean(label, known) or f"Labels here: {' '.join(known) or 'none'}."
                mistake = f"a size is given for {label!r}, which stands nowhere."
                raise NotationError(report(mistake, self.spec.text, everything, advice))
            try:
                self.sizes[label] = -1 if isinstance(size, bool) else as_int(size)
            except TypeError:
                self.sizes[label] = -1
            if self.sizes[label] < 0:
                self.fail(f"the size of {label!r} is {size!r}.", self.span_of(label), "Sizes are integers from 0.")
            self.origins[label] = "as given"

    def span_of(self, label: str) -> Span:
        """Where the label first stands."""
        for term in (*self.spec.operands, *self.spec.outputs):
            for dim, spans in zip(term.dims, term.label_spans, strict=True):
                if label in dim:
                    return spans[dim.index(label)]
        return (0, len(self.spec.text))

    def learn(self, operands: Sequence[Dims]) -> None:
        """Takes the sizes of plain dimensions, then of composite ones till no more can be told."""
        composites: list[tuple[int, int, tuple[str, ...]]] = []
        for position, dims in enumerate(operands):
            for at, dim in enumerate(dims):
                if len(dim) == 1:
                    self._settle(dim[0], self.shapes[position][at], position, self._dim_span(position, at))
                else:
                    composites.append((position, at, dim))
        pending = len(composites) + 1
        while composites and len(composites) < pending:
            pending = len(composites)
            composites = [entry for entry in composites if not self._factor(*entry)]
        if composites:
            position, at, dim = composites[0]
            unknown = list(dict.fromkeys(label for label in dim if label not in self.sizes))
            self.fail(
                f"the sizes of {' and '.join(map(repr, unknown))} cannot be told from"
                f" {dims_text((dim,))} = {self.shapes[position][at]}.",
                self._dim_span(position, at),
                f"Give sizes by name: {', '.join(label + '=...' for label in unknown)}",
            )

    def _settle(self, label: str, size: int, position: int, span: Span) -> None:
        if label not in self.sizes:
            self.sizes[label], self.origins[label] = size, f"in operand {position}"
        elif (known := self.sizes[label]) != size:
            advice = "Two dimensions that differ need two labels."
            if 1 in (known, size):
                advice = "A dimension of size 1 is not stretched: write 1 in the place of its label."
                if label.startswith(ELLIPSIS):
                    advice = "A dimension of size 1 is not stretched: drop it, or name it."
            where = f"has size {known} {self.origins[label]} and {size} in operand {position}"
            self.fail(f"{_named(label)} {where}.", span, advice)

    def _factor(self, position: int, at: int, dim: tuple[str, ...]) -> bool:
        """Whether the composite dimension is settled: all its labels known and its size their product."""
        size, span = self.shapes[position][at], self._dim_span(position, at)
        known = prod(self.sizes[label] for label in dim if label in self.sizes)
        unknown = [label for label in dim if label not in self.sizes]
        text = dims_text((dim,))
        if not unknown:
            if known != size:
                self.fail(
                    f"{text} has size {known}, and operand {position} has {size} there.",
                    span,
                    self._list(dim),
                )
            return True
        if len(unknown) > 1 or known == 0:
            return False
        if size % known:
            self.fail(f"{text} = {size} in operand {position} is no multiple of {known}.", span, self._list(dim))
        self._settle(unknown[0], size // known, position, span)
        return True

    def _list(self, dim: tuple[str, ...]) -> str:
        sizes = (f"{label} = {self.sizes[label]} {self.origins[label]}" for label in dim if label in self.sizes)
        return f"{', '.join(sizes)}." if dim else "A dimension written 1 or () has size 1."

    def _dim_span(self, position: int, at: int) -> Span:
        """Where dimension `at` of an operand stands in the text, be it under `...`."""
        term = self.terms[position]
        num_hidden = len(self.shapes[position]) - len(term.dims)
        if term.ellipsis is not None and at >= term.ellipsis:
            if at < term.ellipsis + num_hidden:
                start = self.spec.text.index(ELLIPSIS, term.span[0])
                return start, start + len(ELLIPSIS)
            at -= num_hidden
        return term.dim_spans[at]

    def check_outputs(self, outputs: Sequence[Dims]) -> None:
        """Every output label has a size by now, or has none anywhere."""
        read = labels_of(self.terms)
        written = {label for dims in outputs for dim in dims for label in dim}
        for label in labels_of(self.spec.outputs):
            if label not in self.sizes:
                spare = [name for name in read if name not in written]
                ends = [name for name in spare if sum(name in labels_of((term,)) for term in self.terms) == 1]
                advice = did_you_mean(label, spare) or (f"Did you mean {ends[0]!r}?" if len(ends) == 1 else "")
                remark = f"{_shown(self.shapes)} {advice}".rstrip()
                remark += f" To broadcast along a new label, give its size: {label}=..."
                mistake = f"label {label!r} stands in the output but in no operand."
                raise NotationError(report(mistake, self.spec.text, self.span_of(label), remark))
