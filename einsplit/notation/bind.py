"""Spec + shapes + given sizes -> Bound: every label with its size, and `...` spelled out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from operator import index as as_int
from typing import NoReturn

from einsplit.errors import Place, ShapeError, Span, advice, ask, did_you_mean
from einsplit.notation.dims import Dims, Label, dims_text, flat
from einsplit.notation.parse import word_advice
from einsplit.notation.spec import ELLIPSIS, Spec, Term, label_places, labels_of
from einsplit.notation.term import fail, normal

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """A Spec that met its operands. Dimensions under `...` are labelled `...1 ...0`, from the right."""

    spec: Spec
    operands: tuple[Dims, ...]
    outputs: tuple[Dims, ...]
    sizes: Mapping[Label, int]  # of every label, in order of first appearance
    brackets: frozenset[Label]
    aggregations: tuple[tuple[Label, str], ...]


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
    order = dict.fromkeys(label for dims in (*operands, *outputs) for label in flat(dims))

    def spelled(name: Label) -> tuple[Label, ...]:
        return hidden if name == ELLIPSIS else (name,)

    return Bound(
        spec,
        operands,
        outputs,
        {label: binding.sizes[label] for label in order},
        frozenset(label for name in spec.brackets for label in spelled(name)),
        tuple((label, agg) for name, agg in spec.aggregations for label in spelled(name)),
    )


def _hidden(count: int) -> tuple[str, ...]:
    """The labels of `count` dimensions under `...`: aligned at the right, as numpy broadcasts."""
    return tuple(f"{ELLIPSIS}{k}" for k in reversed(range(count)))


def _expand(term: Term, hidden: tuple[str, ...]) -> Dims:
    """The term's dims, with those of `...` in its place."""
    if term.ellipsis is None:
        return term.dims
    return term.dims[: term.ellipsis] + tuple((label,) for label in hidden) + term.dims[term.ellipsis :]


def _named(label: str) -> str:
    """The label as messages name it: `label 'i'`."""
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
    """The sizes learnt so far, and where: a contradiction names both places."""

    spec: Spec
    terms: tuple[Term, ...]
    shapes: tuple[Shape, ...]
    sizes: dict[str, int] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)  # where the size of a label was learnt

    def fail(self, mistake: str, span: Span, *remarks: str) -> NoReturn:
        raise ShapeError(mistake, _shown(self.shapes), *remarks, place=Place(self.spec.text, span))

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
                remark = word_advice(self.spec, term)
                if not remark and num_hidden > 0:
                    remark = "Leading dimensions without a name are written '...'."
                given = f"{len(shape)} dimension{'' if len(shape) == 1 else 's'}"
                mistake = f"operand {position} has {given}, the text names {len(term.dims)}{least}."
                self.fail(mistake, term.span, remark)
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
                mistake = f"a size is given for {label!r}, which stands nowhere."
                fail(mistake, self.spec.text, everything, advice(label, known, "Labels here"))
            try:
                self.sizes[label] = -1 if isinstance(size, bool) else as_int(size)
            except TypeError:
                self.sizes[label] = -1
            if self.sizes[label] < 0:
                self.fail(f"the size of {label!r} is {size!r}.", self.span_of(label), "Sizes are integers from 0.")
            self.origins[label] = "as given"

    def span_of(self, label: str) -> Span:
        """Where the label first stands."""
        terms = (*self.spec.operands, *self.spec.outputs)
        return next(span for term in terms for name, span in label_places(term) if name == label)

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
        """Takes the size that an operand gives to a label; raises ShapeError where it has another."""
        if label not in self.sizes:
            self.sizes[label], self.origins[label] = size, f"in operand {position}"
        elif (known := self.sizes[label]) != size:
            remark = "Two dimensions that differ need two labels."
            if 1 in (known, size):
                remark = "A dimension of size 1 is not stretched: write 1 in the place of its label."
                if label.startswith(ELLIPSIS):
                    remark = "A dimension of size 1 is not stretched: drop it, or name it."
            where = f"has size {known} {self.origins[label]} and {size} in operand {position}"
            self.fail(f"{_named(label)} {where}.", span, remark)

    def _factor(self, position: int, at: int, dim: tuple[str, ...]) -> bool:
        """Whether the composite dimension is settled: all its labels known and its size their product."""
        size, span = self.shapes[position][at], self._dim_span(position, at)
        known = prod(self.sizes[label] for label in dim if label in self.sizes)
        unknown = [label for label in dim if label not in self.sizes]
        text = dims_text((dim,))
        if not unknown:
            if known != size:
                mistake = f"{text} has size {known}, and operand {position} has {size} there."
                self.fail(mistake, span, self._known_sizes(dim))
            return True
        if len(unknown) > 1 or known == 0:
            return False
        if size % known:
            self.fail(f"{text} = {size} in operand {position} is no multiple of {known}.", span, self._known_sizes(dim))
        self._settle(unknown[0], size // known, position, span)
        return True

    def _known_sizes(self, dim: tuple[str, ...]) -> str:
        """`h = 8 as given.`"""
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
        """Every output label has a size by now, or has none anywhere: that raises NotationError."""
        read = labels_of(self.terms)
        written = {label for dims in outputs for label in flat(dims)}
        for label in labels_of(self.spec.outputs):
            if label not in self.sizes:
                spare = [name for name in read if name not in written]
                ends = [name for name in spare if sum(name in labels_of((term,)) for term in self.terms) == 1]
                meant = did_you_mean(label, spare) or (ask(ends[0]) if len(ends) == 1 else "")
                remark = f"{_shown(self.shapes)} {meant}".rstrip()
                remark += f" To broadcast along a new label, give its size: {label}=..."
                mistake = f"label {label!r} stands in the output but in no operand."
                fail(mistake, self.spec.text, self.span_of(label), remark)
