"""Errors keep their parts, and their text is made of these: nobody has to read a message back."""

import copy

import pytest

from einsplit.errors import EinsplitError, NotationError, Place, advice, did_you_mean, type_text

KNOWN = ("sum", "prod", "max")


def test_an_error_keeps_its_parts_and_shows_them_in_order() -> None:
    error = NotationError("no such label.", "Did you mean 'o'?", "", "Known: o.", place=Place("i -> q", (5, 6)))
    assert (error.mistake, error.remarks) == ("no such label.", ("Did you mean 'o'?", "Known: o."))
    assert str(error) == "no such label.\n  i -> q\n       ^\n  Did you mean 'o'?\n  Known: o."


def test_an_error_without_a_place_shows_none() -> None:
    assert str(NotationError("wrong.")) == "wrong."
    assert str(NotationError("wrong.", "Mend it.")) == "wrong.\n  Mend it."


def test_pointing_elsewhere_keeps_class_mistake_and_remarks() -> None:
    error = NotationError("wrong.", "Mend it.").at("abc", (1, 2))
    assert type(error) is NotationError
    assert str(error) == "wrong.\n  abc\n   ^\n  Mend it."


def test_a_copy_says_the_same() -> None:
    # As in another process: copy goes by the same protocol as what carries errors between Ray's.
    error = NotationError("wrong.", "Mend it.", place=Place("abc", (1, 2)))
    again = copy.copy(error)
    assert str(again) == str(error) and again.place == error.place


@pytest.mark.parametrize(
    "word, text", [("summ", "Did you mean 'sum'?"), ("q", "Known: sum prod max."), (3, "Known: sum prod max.")]
)
def test_advice_names_what_is_close_or_all_that_is_known(word: object, text: str) -> None:
    assert advice(word, KNOWN) == text


def test_advice_where_nothing_is_known() -> None:
    assert advice("x", (), "Labels here") == "Labels here: none."
    assert did_you_mean("x", ()) == ""


@pytest.mark.parametrize("value, text", [(3, "int"), (EinsplitError, "the class EinsplitError")])
def test_a_value_is_described_by_its_type(value: object, text: str) -> None:
    assert type_text(value) == text
