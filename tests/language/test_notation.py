"""The notation: what texts mean, and what is said of those that mean nothing."""

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsplit.errors import EinsplitError, NotationError, ShapeError, point
from einsplit.notation import Bound, Dims, bind, dims_text, parse_signature, parse_spec


def plain(labels: str) -> Dims:
    return tuple((label,) for label in labels)


def bound(text: str, *shapes: tuple[int, ...], **sizes: int) -> Bound:
    return bind(parse_spec(text), shapes, sizes)


# ------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize(
    "text, operands, output",
    [
        # numpy's letters, with and without blanks around commas and the arrow
        ("ij,jk->ik", ("ij", "jk"), "ik"),
        (" ij , jk  ->  ik ", ("ij", "jk"), "ik"),
        ("ii->i", ("ii",), "i"),
        ("ij->", ("ij",), ""),
        (",->", ("", ""), ""),
        ("->", ("",), ""),
        # the implicit output: labels that stand once, sorted
        ("ij,jk", ("ij", "jk"), "ik"),
        ("ba", ("ba",), "ab"),
        ("ii", ("ii",), ""),
        ("kBa,k", ("kBa", "k"), "Ba"),
        # one word is letters while no term has a blank inside it
        ("batch->batch", ("batch",), "batch"),
    ],
)
def test_letters_are_read_as_numpy_reads_them(text: str, operands: tuple[str, ...], output: str) -> None:
    spec = parse_spec(text)
    assert tuple(term.dims for term in spec.operands) == tuple(map(plain, operands))
    assert [term.dims for term in spec.outputs] == [plain(output)]


@pytest.mark.parametrize(
    "text, operands, output",
    [
        ("batch seq, seq out -> batch out", [[["batch"], ["seq"]], [["seq"], ["out"]]], [["batch"], ["out"]]),
        # one blank anywhere makes words everywhere
        ("i j, jk -> i jk", [[["i"], ["j"]], [["jk"]]], [["i"], ["jk"]]),
        ("zeta alpha", [[["zeta"], ["alpha"]]], [["alpha"], ["zeta"]]),
        # composite dimensions, and dimensions of size 1
        ("b (h d) -> b h d", [[["b"], ["h", "d"]]], [["b"], ["h"], ["d"]]),
        ("(ab)c->abc", [[["a", "b"], ["c"]]], [["a"], ["b"], ["c"]]),
        ("( batch ) -> ( batch )", [[["batch"]]], [["batch"]]),
        ("i 1 j -> i () j", [[["i"], [], ["j"]]], [["i"], [], ["j"]]),
        ("i1->i", [[["i"], []]], [["i"]]),
        # primes, underscores, digits and letters of any script
        ("i' x_1 größe -> x_1", [[["i'"], ["x_1"], ["größe"]]], [["x_1"]]),
        ("ij,jk->i'k", [[["i"], ["j"]], [["j"], ["k"]]], [["i'"], ["k"]]),
    ],
)
def test_words_composites_and_ones(text: str, operands: list[list[list[str]]], output: list[list[str]]) -> None:
    def dims(nested: list[list[str]]) -> Dims:
        return tuple(tuple(dim) for dim in nested)

    spec = parse_spec(text)
    assert [term.dims for term in spec.operands] == [dims(term) for term in operands]
    assert spec.outputs[0].dims == dims(output)


def test_every_label_knows_where_it_stands() -> None:
    text = "batch (heads dim), [k] dim -> batch"
    spec = parse_signature(text + "; sum heads dim")
    for term in spec.operands:
        for dim, spans in zip(term.dims, term.label_spans, strict=True):
            assert [text[start:stop] for start, stop in spans] == list(dim)
    assert [text[start:stop] for start, stop in spec.operands[0].dim_spans] == ["batch", "(heads dim)"]


def test_signatures_have_brackets_several_outputs_and_aggregations() -> None:
    spec = parse_signature("b c [h w], o c [y x] -> b o [p q], b; sum c")
    assert spec.brackets == set("hwyxpq")
    assert spec.aggregations == (("c", "sum"),)
    assert [dims_text(term.dims) for term in spec.outputs] == ["b o p q", "b"]
    assert parse_signature("a b c -> a; max b c").aggregations == (("b", "max"), ("c", "max"))


def test_a_bracketed_ellipsis_brackets_all_that_it_stands_for() -> None:
    found = bind(parse_signature("[...] d -> [...] d"), [(2, 3, 4)], {})
    assert found.brackets == {"...1", "...0"}
    assert bind(parse_signature("... d -> d; sum ..."), [(2, 3, 4)], {}).aggregations == (
        ("...1", "sum"),
        ("...0", "sum"),
    )


LABELS = st.sampled_from(["i", "j", "k", "batch", "seq", "x_1", "i'"])
DIMS = st.lists(st.lists(LABELS, max_size=3).map(tuple), max_size=4).map(tuple)


def as_words(dims: Dims) -> str:
    """A blank inside every dimension: a term without one would be read as letters."""
    return " ".join(f"( {' '.join(dim)} )" for dim in dims)


@given(st.lists(DIMS, min_size=1, max_size=3), st.lists(LABELS, max_size=3, unique=True))
def test_what_is_written_is_read_back(operands: list[Dims], output: list[str]) -> None:
    outputs = [tuple((label,) for label in output)]
    left, right = (", ".join(map(as_words, terms)) for terms in (operands, outputs))
    spec = parse_spec(f"{left} -> {right}")
    assert [term.dims for term in spec.operands] == operands
    assert [term.dims for term in spec.outputs] == outputs


@given(st.text(alphabet="ijk1 ,->()[].;'→\tsum2", max_size=24))
def test_any_text_is_read_or_refused_with_a_caret(text: str) -> None:
    for parse in (parse_spec, parse_signature):
        try:
            parse(text)
        except NotationError as error:
            assert "^" in str(error)


# ------------------------------------------------------------------------------------------------ binding


def test_sizes_come_from_shapes_and_from_names() -> None:
    assert bound("b (h d), d -> b h q", (2, 12), (4,), q=7).sizes == {"b": 2, "h": 3, "d": 4, "q": 7}
    assert bound("b (h d) -> b h", (2, 12), h=4).sizes == {"b": 2, "h": 4, "d": 3}
    assert bound("(a b) (b c), (c d) -> d", (6, 12), (20,), a=2).sizes == {"a": 2, "b": 3, "c": 4, "d": 5}
    assert bound("(i i) -> i", (9,), i=3).sizes == {"i": 3}
    assert bound("i (i k) -> k", (0, 0), k=5).sizes == {"i": 0, "k": 5}


def test_an_empty_left_side_is_no_operand_or_a_scalar() -> None:
    assert bound("-> i j", i=2, j=3).operands == ()
    assert bound("-> i j", (), i=2, j=3).operands == ((),)


def test_ellipses_align_at_the_right() -> None:
    found = bound("...ij,...jk->...ik", (7, 2, 3), (6, 7, 3, 4))
    assert found.operands[0] == (("...0",), ("i",), ("j",))
    assert found.operands[1] == (("...1",), ("...0",), ("j",), ("k",))
    assert found.outputs[0] == (("...1",), ("...0",), ("i",), ("k",))
    assert bound("ki,...k->i...", (3, 2), (4, 5, 3)).outputs[0] == (("i",), ("...1",), ("...0",))
    assert bound("...i", (2, 3, 4)).outputs[0] == (("...1",), ("...0",), ("i",))
    assert bound("... i -> i", (2, 3, 4)).outputs[0] == (("i",),)


@given(
    st.lists(st.text(alphabet="abc", max_size=3), min_size=1, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.integers(0, 2),
)
def test_shapes_of_letters_and_ellipses_are_numpys(terms: list[str], dots: list[bool], num_hidden: int) -> None:
    size = {"a": 2, "b": 3, "c": 4}
    texts = [term + "..." * dot for term, dot in zip(terms, dots, strict=False)]
    shapes = [
        tuple(size[label] for label in term) + (5, 6)[:num_hidden] * dot for term, dot in zip(terms, dots, strict=False)
    ]
    found = bound(",".join(texts), *shapes)
    shape = tuple(found.sizes[dim[0]] for dim in found.outputs[0])
    assert shape == np.einsum(",".join(texts), *map(np.zeros, shapes)).shape


@pytest.mark.parametrize(
    "text, shapes, output",
    [  # from the documentation of numpy.einsum and of opt_einsum
        ("ii", [(5, 5)], ()),
        ("ij->ji", [(2, 3)], (3, 2)),
        ("i...->...", [(5, 5)], (5,)),
        ("...j->...", [(2, 3)], (2,)),
        ("..., ...", [(), (2, 3)], (2, 3)),
        (",ij", [(), (2, 3)], (2, 3)),
        ("ijk,jil->kl", [(3, 4, 5), (4, 3, 2)], (5, 2)),
        ("ki,jk->ij", [(3, 2), (4, 3)], (2, 4)),
        ("k...,jk", [(3, 2), (4, 3)], (2, 4)),
        ("i...->...i", [(2, 3, 4)], (3, 4, 2)),
        ("pi,qj,ijkl,rk,sl->pqrs", [(9, 5), (9, 5), (5, 5, 5, 5), (9, 5), (9, 5)], (9, 9, 9, 9)),
        ("bdik,acaj,ikab,ajac,ikbd->", [(2, 2, 2, 2)] * 5, ()),
    ],
)
def test_documented_expressions_bind(text: str, shapes: list[tuple[int, ...]], output: tuple[int, ...]) -> None:
    found = bound(text, *shapes)
    assert tuple(found.sizes[dim[0]] for dim in found.outputs[0]) == output


# ------------------------------------------------------------------------------------------------ messages


def message(kind: type[EinsplitError], text: str, shapes: list[tuple[int, ...]], **sizes: int) -> str:
    with pytest.raises(kind) as caught:
        bind(parse_spec(text), shapes, sizes)
    assert type(caught.value) is kind
    return str(caught.value)


def test_an_unknown_output_label_is_shown_with_shapes_and_a_way_out() -> None:
    assert message(NotationError, "b i, i o -> b q", [(32, 64), (64, 128)]) == (
        "label 'q' stands in the output but in no operand.\n"
        "  b i, i o -> b q\n"
        "                ^\n"
        "  operands (32, 64) and (64, 128). Did you mean 'o'?"
        " To broadcast along a new label, give its size: q=..."
    )


def test_sizes_that_do_not_fit_are_both_named() -> None:
    assert message(ShapeError, "ij,jk->ik", [(2, 3), (4, 5)]) == (
        "label 'j' has size 3 in operand 0 and 4 in operand 1.\n"
        "  ij,jk->ik\n"
        "     ^\n"
        "  operands (2, 3) and (4, 5).\n"
        "  Two dimensions that differ need two labels."
    )


def test_a_wrong_rank_is_named() -> None:
    assert message(ShapeError, "ij,jk->ik", [(2, 3, 4), (4, 5)]) == (
        "operand 0 has 3 dimensions, the text names 2.\n"
        "  ij,jk->ik\n"
        "  ^^\n"
        "  operands (2, 3, 4) and (4, 5).\n"
        "  Leading dimensions without a name are written '...'."
    )


@pytest.mark.parametrize(
    "text, under, words",
    [
        ("ij->k->l", "->", ["second arrow"]),
        ("(i j -> i", "(", ["never closed"]),
        ("i j) -> i", ")", ["closes nothing"]),
        ("((i j) k) -> i", "(", ["inside"]),
        ("i [j] -> i", "[", ["kernel signatures"]),
        ("i; sum j", ";", ["agg=..."]),
        ("i ... ... -> i", "...", ["second '...'"]),
        ("(... i) -> i", "...", ["parentheses"]),
        ("i j -> i i", "i", ["twice in the output", "diagonal"]),
        ("attention->attention", "t", ["twice in the output", "'( attention )'"]),
        ("i,j->i,j", "j", ["one output", "2 stand"]),
        ("i 12 -> i", "12", ["no label", "only 1"]),
        ("i=>j", "=", ["unexpected '='", "'->'"]),
        ("i..j->i", ".", ["three dots"]),
        ("i $ -> i", "$", ["unexpected '$'"]),
    ],
)
def test_a_malformed_text_is_refused_with_carets(text: str, under: str, words: list[str]) -> None:
    with pytest.raises(NotationError) as caught:
        parse_spec(text)
    shown = str(caught.value)
    assert all(word in shown for word in words)
    line, carets = shown.split("\n")[1:3]
    assert line.strip() == text.strip()
    assert line[carets.index("^") : carets.rindex("^") + 1] == under


@pytest.mark.parametrize(
    "text, word",
    [
        ("b c", "needs an arrow"),
        ("b c -> b", "nothing says how"),
        ("... c -> c", "'...' ends here"),
        ("b c -> b; summ c", "Did you mean 'sum'?"),
        ("b c -> b; sum b", "cannot be aggregated"),
        ("b c -> b; sum c c", "aggregated twice"),
        ("b c -> b; sum", "aggregation and its labels"),
        ("b ([c) d] -> b", "closes nothing"),
    ],
)
def test_a_malformed_signature_is_refused(text: str, word: str) -> None:
    with pytest.raises(NotationError, match="\\^") as caught:
        parse_signature(text)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    "text, shapes, sizes, words",
    [
        ("ij,jk->ik", [(2, 3)], {}, ["has 2 operands, 1 was given"]),
        ("->", [(2,), (3,)], {}, ["has 1 operand, 2 were given"]),
        ("... i j -> i", [(2,)], {}, ["has 1 dimension, the text names 2 or more"]),
        ("batch->batch", [(3,)], {}, ["'( batch )'"]),
        ("ij,jk->ik", [(2, 1), (4, 5)], {}, ["not stretched", "write 1"]),
        ("...i,...i->i", [(2, 3), (1, 3)], {}, ["dimension 0 from the right under '...'", "not stretched"]),
        ("i i -> i", [(2, 3)], {}, ["size 2 in operand 0 and 3 in operand 0"]),
        ("i 1 -> i", [(2, 3)], {}, ["1 has size 1, and operand 0 has 3 there"]),
        ("(h d) -> h", [(12,)], {}, ["'h' and 'd' cannot be told", "h=..., d=..."]),
        ("(h d) -> h", [(12,)], {"h": 5}, ["no multiple of 5", "h = 5 as given"]),
        ("(h d) -> h", [(12,)], {"h": 3, "d": 5}, ["(h d) has size 15", "12"]),
        ("(h d) -> h", [(0,)], {"h": 0}, ["'d' cannot be told"]),
        ("(i i) -> i", [(9,)], {}, ["'i' cannot be told"]),
        ("i j -> i", [(2, 3)], {"i": 5}, ["size 5 as given and 2 in operand 0"]),
        ("i -> i j", [(2,)], {"j": -1}, ["size of 'j' is -1"]),
        ("i -> i j", [(2,)], {"j": 2.0}, ["size of 'j' is 2.0"]),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    text: str, shapes: list[tuple[int, ...]], sizes: dict[str, int], words: list[str]
) -> None:
    shown = message(ShapeError, text, shapes, **sizes)
    assert all(word in shown for word in words), shown
    assert "^" in shown


def test_a_size_for_a_label_that_stands_nowhere_is_refused() -> None:
    shown = message(NotationError, "batch seq -> seq", [(2, 3)], bach=2)
    assert "a size is given for 'bach', which stands nowhere." in shown
    assert "Did you mean 'batch'?" in shown


@given(st.text(alphabet=string.printable, max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_carets_stand_under_what_they_point_at(text: str, start: int, length: int) -> None:
    start = min(start, len(text))
    stop = min(start + length, len(text))
    line, carets = point(text, start, stop).split("\n")
    shown = line[carets.index("^") : carets.rindex("^") + 1]
    flat = "".join(char if char.isprintable() else " " for char in text)
    assert flat[start:stop].startswith(shown.removesuffix("...")) or start == stop
    assert len(line) <= 110
