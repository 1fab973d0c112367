"""What a pin is, and its text.

    up_proj.weight=gpu:hidden        node     these nodes do this; the right side is what explain prints as `cut by`:
    *.norm=node:batch gpu:whole               items AXES:CHOICE, where CHOICE is a label, whole, sum or sum(x0,x1);
    loss=whole                                whole alone is of all mesh axes; axes that are not named are free
    @batch=node gpu0-1               label    wherever it may be cut, these axes cut it;
    @vocab=whole                              no axis ever does; @vocab=gpu:whole: this one does not
    [up_proj.weight]=gpu, whole      layout   the tensor rests with its dimensions cut so, and by no other axis;
    [logits]=node gpu, *                      several axes of one dimension stand side by side, * leaves one free

NODE and TENSOR are names of nodes as explain prints them, TENSOR may be that of an output; `*` and `?` stand for any
characters in names, labels and axes. AXES are `gpu`, `gpu0-1` or `node,gpu`; `gpu` is also all of gpu0, gpu1, ...
where these are one tier.

A kernel needs some labels whole: a pin of such a label holds where there is something to cut. A tensor that rests holds
no addends: of a matrix product, a layout pin also says that these axes do not cut what is summed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NoReturn

from einsplit.errors import PlanError, Span, type_text
from einsplit.solver.plan.format import Plan

GRAMMAR = "NODE=AXIS:LABEL, @LABEL=AXIS or [TENSOR]=AXIS, whole"
MAX_CHARACTERS = 2000  # of a pin
WHOLE = "whole"
FREE = "*"


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a pin, and where it stands."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Part:
    """What some mesh axes do: `gpu0-1:batch`; no axes: all of them."""

    axes: tuple[Word, ...]
    does: Word


@dataclass(frozen=True, slots=True)
class Dim:
    """What cuts one dimension of a tensor: no axis, where it is whole; `free`: it does not matter."""

    axes: tuple[Word, ...]
    span: Span
    free: bool = False


@dataclass(frozen=True, slots=True)
class NodePin:
    """Nodes of that name do this."""

    text: str
    name: Word
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class LabelPin:
    """These axes cut the label wherever it may be cut; where a part does `whole`, they never do."""

    text: str
    label: Word
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class LayoutPin:
    """The tensor rests with its dimensions cut so."""

    text: str
    name: Word
    dims: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class KeptPin:
    """Nodes whose names `pattern` matches keep the cut that they have in another plan."""

    text: str
    pattern: str
    plan: Plan


Pin = NodePin | LabelPin | LayoutPin | KeptPin


def pin_key(pin: Pin) -> str:
    """Equal for pins that ask the same of the same graph on the same machine."""
    return f"{pin.pattern} {sha256(pin.plan.to_json()).hexdigest()}" if isinstance(pin, KeptPin) else pin.text


def as_pins(given: object) -> tuple[Pin, ...]:
    """Pins from what users give for them: a sequence of texts and of pins. Raises PlanError."""
    if isinstance(given, (str, NodePin, LabelPin, LayoutPin, KeptPin)) or not isinstance(given, Sequence):
        raise PlanError(f"pins are a list of texts or pins, not {type_text(given)}.", f"pins=[{'w=gpu:h'!r}]")
    return tuple(_as_pin(row) for row in given)


def _as_pin(given: object) -> Pin:
    if isinstance(given, (NodePin, LabelPin, LayoutPin, KeptPin)):
        return given
    if isinstance(given, str):
        return parse_pin(given)
    raise PlanError(f"a pin is a text or what parse_pin or kept_from give, not {type_text(given)}.", GRAMMAR)


def parse_pin(text: str) -> Pin:
    """The pin that a text writes; see the module. Raises PlanError that points at the place."""
    if len(text) > MAX_CHARACTERS:
        raise PlanError(f"a pin has {len(text):,} characters: {MAX_CHARACTERS:,} are the most")
    # The last one: names may have a `=`, and what they are cut by does not.
    equals = text.rfind("=")
    if equals < 0:
        _fail("a pin says what it keeps after '='.", text, (len(text), len(text)), f"Write {GRAMMAR}.")
    left, right = _stripped(text, (0, equals)), _stripped(text, (equals + 1, len(text)))
    if left.text[:1] == "[" and left.text[-1:] == "]" and len(left.text) > 1:
        name = _stripped(text, (left.span[0] + 1, left.span[1] - 1))
        _check_there(text, name, "a tensor")
        parts = _split(text, right.span, ",") if right.text else []  # one number has no dimensions
        return LayoutPin(text, name, tuple(_dim(text, part) for part in parts))
    if left.text[:1] == "@":
        label = _stripped(text, (left.span[0] + 1, left.span[1]))
        _check_there(text, label, "a label")
        _check_there(text, right, "what cuts the label")
        return LabelPin(text, label, tuple(_label_part(text, label, item) for item in _words(text, right)))
    _check_there(text, left, "a node")
    _check_there(text, right, "what the node does")
    return NodePin(text, left, tuple(_part(text, item) for item in _words(text, right)))


def _part(text: str, item: Word) -> Part:
    """`gpu0-1:batch`, or `whole` of all axes."""
    colon = item.text.find(":")
    if colon < 0 and item.text == WHOLE:
        return Part((), item)
    if colon < 0:
        advice = f"Write AXIS:LABEL, such as gpu:{item.text}; `whole` alone is of all axes."
        _fail(f"{item.text!r} does not say which mesh axis does what.", text, item.span, advice)
    start, stop = item.span
    does = Word(item.text[colon + 1 :], (start + colon + 1, stop))
    _check_there(text, does, "a label, whole or sum")
    return Part(_axes(text, (start, start + colon)), does)


def _label_part(text: str, label: Word, item: Word) -> Part:
    """`gpu0-1`: these cut it; `gpu:whole`, `whole`: these do not."""
    if item.text == WHOLE or ":" in item.text:
        found = _part(text, item)
        if found.does.text != WHOLE:
            advice = f"Write @{label.text}={item.text.partition(':')[0]}."
            _fail("after the colon stands only `whole`: the label has been named.", text, found.does.span, advice)
        return found
    return Part(_axes(text, item.span), label)


def _dim(text: str, part: Span) -> Dim:
    """What cuts one dimension: `gpu0-1 node`, `whole`, `*`."""
    found = _stripped(text, part)
    _check_there(text, found, "what cuts this dimension: mesh axes, whole or *")
    if found.text in (WHOLE, FREE):
        return Dim((), found.span, found.text == FREE)
    return Dim(tuple(axis for word in _words(text, found) for axis in _axes(text, word.span)), found.span)


def _axes(text: str, span: Span) -> tuple[Word, ...]:
    """`node,gpu0-1`."""
    found = tuple(_stripped(text, part) for part in _split(text, span, ","))
    for word in found:
        _check_there(text, word, "a mesh axis")
        if word.text == WHOLE:
            _fail("`whole` is no mesh axis, and stands alone.", text, word.span)
    return found


def _words(text: str, within: Word) -> list[Word]:
    """The words between blanks."""
    start, stop = within.span
    return [Word(found.group(), found.span()) for found in re.compile(r"\S+").finditer(text, start, stop)]


def _split(text: str, span: Span, separator: str) -> list[Span]:
    """The spans between separators."""
    parts, start = [], span[0]
    while (at := text.find(separator, start, span[1])) >= 0:
        parts.append((start, at))
        start = at + len(separator)
    return [*parts, (start, span[1])]


def _stripped(text: str, span: Span) -> Word:
    """The span without blanks at its ends."""
    part = text[span[0] : span[1]]
    start = span[0] + len(part) - len(part.lstrip())
    return Word(part.strip(), (start, start + len(part.strip())))


def _check_there(text: str, word: Word, what: str) -> None:
    if not word.text:
        _fail(f"{what} is missing.", text, word.span, f"Write {GRAMMAR}.")


def _fail(mistake: str, text: str, span: Span, advice: str = "") -> NoReturn:
    raise PlanError(mistake, advice).at(text, span)
