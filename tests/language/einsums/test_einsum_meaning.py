"""The notation means what it says: einsum against a loop over all indices, numpy, and documented examples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from einsplit.builder import Builder
from einsplit.einsum import einsum
from einsplit.evaluate import evaluate
from einsplit.evaluate import join as join_room
from einsplit.scalar.trace import exp, index, where
from tests.language.einsums.cases import Case, cases
from tests.language.einsums.loop import agrees, expected


def called(case: Case) -> np.ndarray:
    return einsum(case.spec, *case.arrays, join=case.text, agg=case.agg, **case.given)


# --------------------------------------------------------------------------------- 2,200 cases and an oracle


@settings(max_examples=900)
@given(cases("int"))
def test_integers_are_those_of_a_loop_over_all_indices(case: Case) -> None:
    agrees(case, called(case))


@settings(max_examples=900)
@given(cases("float"))
def test_floats_are_those_of_a_loop_over_all_indices(case: Case) -> None:
    agrees(case, called(case))


@settings(max_examples=400)
@given(cases("bool"))
def test_truth_values_are_those_of_a_loop_over_all_indices(case: Case) -> None:
    agrees(case, called(case))


@settings(max_examples=300)
@given(st.sampled_from(["int", "float"]).flatmap(lambda kind: cases(kind, products=True)))
def test_without_a_join_it_is_the_sum_of_products(case: Case) -> None:
    agrees(case, called(case))


@settings(max_examples=300)
@given(st.sampled_from(["int", "float", "bool"]).flatmap(cases), st.integers(1, 9))
def test_evaluation_in_blocks_changes_nothing(case: Case, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(join_room, "MAX_JOINED", most)
        agrees(case, called(case))


@settings(max_examples=400)
@given(st.sampled_from(["int", "float", "bool"]).flatmap(cases))
def test_symbolic_values_make_a_node_of_the_same_meaning(case: Case) -> None:
    builder = Builder()
    values = [builder.input(f"in{k}", a.shape, str(a.dtype)) for k, a in enumerate(case.arrays)]
    result = einsum(case.spec, *values, join=case.text, agg=case.agg, **case.given)
    graph = builder.build({"out": result})
    assert result.shape == expected(case).value.shape
    agrees(case, evaluate(graph, {f"in{k}": array for k, array in enumerate(case.arrays)})["out"])


# ----------------------------------------------------------------------------------------- ordinary einsums


@settings(max_examples=200)
@given(
    st.lists(st.text(alphabet="abcd", max_size=3), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.none() | st.permutations("abcd"),
    st.integers(0, 4),
)
def test_ordinary_einsums_are_numpys(terms: list[str], dots: list[bool], order: list[str] | None, most: int) -> None:
    sizes = {"a": 2, "b": 3, "c": 1, "d": 2}
    text = ",".join("..." * dot + term for term, dot in zip(terms, dots, strict=False))
    if order is not None:
        out = "".join(label for label in order if any(label in term for term in terms))[:most]
        text += "->" + "..." * any(dots[: len(terms)]) + out
    random = np.random.default_rng(len(text))
    shapes = [(2,) * dot + tuple(map(sizes.__getitem__, t)) for t, dot in zip(terms, dots, strict=False)]
    arrays = [random.integers(-3, 4, shape).astype("float64") for shape in shapes]
    np.testing.assert_array_equal(einsum(text, *arrays), np.einsum(text, *arrays))


DOCUMENTED = {
    # the documentation of numpy.einsum, in its order
    "numpy": """i,i | i | ij,jk | ii | ij | ji | ij,jh | i-> | ii->i | ij,jh->ih | ...ii->...i | ...i->... | i...i
        ij...,jk...->ik... | ijk...->kji... | ij->i | ...j->... | ij->ji | ij,j | ...j,j | ..., ... | ,ij | i,j
        ijk,jil->kl | ki,jk->ij | ki,...k->i... | k...,jk | ijk,ilm,njm,nlk,abc-> | i...->... | ii... | i,...
        i...,i...->...""",
    # README, input format, reusing paths, the pages about paths
    "opt_einsum": """pi,qj,ijkl,rk,sl->pqrs | pi,ijkl->pjkl | qj,pjkl->pqkl | rk,pqkl->pqrl | sl,pqrl->pqrs
        ijk,jkl->li | αβγ,βγδ->δα | αβγ,βγδ | ab,bc,cd | ij,jk,ki-> | uv,vw,wu->u | abc,cd,dbe->ea
        ij,jk,kl,lm,mn->ni | xyf,xtf,ytpf,fr->tpr | bdik,acaj,ikab,ajac,ikbd-> | abc,dc,ac->bd | bi,ij,j->b
        ...a->... | a...->... | a...a->...a | ...,... | a,b | ...a,...b | ...b,...a->... | ...a->...a | ij,ij->j""",
    # opt_einsum's own list of cases: scalars, products of elements, transforms, traces, inner and outer products
    "cases": """a,->a | ab,->ab | ,ab,->ab | ,,-> | a,ab,abc->abc | a,b,ab->ab | ea,fb,gc,hd,abcd->efgh
        ea,fb,abcd,gc,hd->efgh | abcd,ea,fb,gc,hd->efgh | acdf,jbje,gihb,hfac,gfac,gifabc,hfac
        cd,bdhe,aidb,hgca,gc,hgibcd,hgac | abhe,hidj,jgba,hiab,gab | bde,cdh,agdb,hica,ibd,hgicd,hiac
        chd,bde,agbc,hiad,hgc,hgi,hiad | chd,bde,agbc,hiad,bdi,cgh,agdb | bdhe,acad,hiab,agac,hibd | ab,ab,c->
        ab,ab,c->c | ab,ab,cd,cd-> | ab,ab,cd,cd->ac | ab,ab,cd,cd->cd | ab,ab,cd,cd,ef,ef-> | ab,cd,ef->abcdef
        ab,cd,ef->acdf | ab,cd,de->abcde | ab,cd,de->be | ab,bcd,cd->abcd | ab,bcd,cd->abd | eb,cb,fb->cef
        dd,fb,be,cdb->cef | bca,cdb,dbf,afc-> | dcc,fce,ea,dbf->ab | fdf,cdd,ccd,afe->ae | abcd,ad
        ed,fcd,ff,bcf->be | baa,dcf,af,cde->be | bd,db,eac->ace | fff,fae,bef,def->abd | efc,dbc,acf,fd->abe
        ab,ab | ab,ba | abc,abc | abc,bac | abc,cba | ab,bc | ab,cb | ba,bc | ba,cb | abcd,cd | abcd,ab
        abcd,cdef | abcd,cdef->feba | abcd,efdc | aab,bc->ac | ab,bcc->ac | aab,bcc->ac | baa,bcc->ac
        aab,ccb->ac | aab,fa,df,ecc->bde | ecb,fef,bad,ed->ac | bcf,bbb,fbf,fc-> | bb,ff,be->e
        bcb,bb,fc,fff-> | fbb,dfd,fc,fc-> | afd,ba,cc,dc->bf | adb,bc,fa,cfc->d | bbd,bda,fc,db->acf
        dba,ead,cad->bce | aef,fbc,dca->bde""",
}


@pytest.mark.parametrize(
    "text", [text.strip() for table in DOCUMENTED.values() for line in table.split("\n") for text in line.split("|")]
)
def test_documented_expressions_are_what_they_are_in_numpy(text: str) -> None:
    ascii_text = text.translate(str.maketrans("αβγδ", "ABCD"))  # numpy takes ASCII letters only
    random = np.random.default_rng(len(text))
    shapes = []
    for term in ascii_text.split("->")[0].split(","):
        letters = term.strip().replace("...", "")
        shapes.append((2, 3) * ("..." in term) + tuple(2 + ord(letter) % 2 for letter in letters))
    places = [term.strip().find("...") for term in ascii_text.split("->")[0].split(",")]
    arrays = []
    for shape, place in zip(shapes, places, strict=True):
        hidden = 2 if place >= 0 else 0
        turned = (*shape[hidden : hidden + max(place, 0)], *shape[:hidden], *shape[hidden + max(place, 0) :])
        arrays.append(random.standard_normal(turned))
    found = einsum(text, *arrays)
    np.testing.assert_allclose(found, np.einsum(ascii_text, *arrays), rtol=1e-12, atol=1e-12)


def test_two_hundred_operands_are_contracted_pair_by_pair() -> None:
    """opt_einsum's example of a large expression, an inner product of two matrix product states, by get_symbol."""
    from opt_einsum import contract, get_symbol

    num_sites = 100
    terms = ["ab", "ac"]
    for site in range(1, num_sites - 1):
        at = 3 * site
        upper_left, upper_right, middle, lower_left, lower_right = map(get_symbol, (at - 1, at + 2, at, at - 2, at + 1))
        terms += [middle + upper_left + upper_right, middle + lower_left + lower_right]
    at = 3 * (num_sites - 1)
    terms += [get_symbol(at) + get_symbol(at - 1), get_symbol(at) + get_symbol(at - 2)]
    random = np.random.default_rng(0)
    arrays = [random.standard_normal((3, 4, 4)[: len(term)]) / 2 for term in terms]
    text = ",".join(terms)
    np.testing.assert_allclose(einsum(text, *arrays), contract(text, *arrays), rtol=1e-9)


# -------------------------------------------------------------------------------------- the extended notation

X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])
Y = np.array([[2.0, 0.0], [-1.0, 1.0], [3.0, 5.0]])


def test_the_largest_difference() -> None:
    found = einsum("i j, j k -> i k", X, Y, join="abs(x - y)", agg="max")
    np.testing.assert_array_equal(found, np.abs(X[:, :, None] - Y[None]).max(1))


def test_one_operand_may_be_aggregated_under_a_join() -> None:
    np.testing.assert_array_equal(einsum("i j -> i", X, join="x * x"), (X * X).sum(1))


def test_a_causal_mask_is_a_join_of_indices() -> None:
    scores = np.arange(18.0).reshape(2, 3, 3)
    found = einsum("b i j -> b i j", scores, join="where(index(i) >= index(j), x, -inf)")
    np.testing.assert_array_equal(found, np.where(np.tri(3, dtype=bool), scores, -np.inf))


def test_an_embedding_is_a_sum_over_the_vocabulary() -> None:
    ids = np.array([[2, 0, 1], [1, 1, 7]])
    table = np.arange(6.0).reshape(3, 2)
    found = einsum("b s, v d -> b s d", ids, table, join="where(x == index(v), y, 0)")
    np.testing.assert_array_equal(found[0], table[ids[0]])
    np.testing.assert_array_equal(found[1], [table[1], table[1], [0, 0]])  # 7 is in no row


def test_dimensions_are_split_and_joined() -> None:
    x = np.arange(24.0).reshape(2, 12)
    np.testing.assert_array_equal(einsum("b (h d) -> h b d", x, h=4), x.reshape(2, 4, 3).transpose(1, 0, 2))
    np.testing.assert_array_equal(einsum("b (h d) -> (d b) 1 h", x, h=4).shape, (6, 1, 4))


def test_a_label_of_the_output_alone_repeats_the_value() -> None:
    np.testing.assert_array_equal(einsum("i -> r i", [1, 2], r=3), [[1, 2]] * 3)


def test_without_operands_it_is_made_of_indices() -> None:
    table = einsum("-> i j", i=2, j=3, join="10 * index(i) + index(j)")
    np.testing.assert_array_equal(table, [[0, 1, 2], [10, 11, 12]])
    np.testing.assert_array_equal(einsum("-> i", i=2), [1, 1])  # the product of nothing


def test_an_index_under_an_ellipsis_is_not_reached_but_others_are() -> None:
    x = np.zeros((2, 2, 3))
    found = einsum("... j -> ... j", x, join="x + index(j)")
    np.testing.assert_array_equal(found, np.broadcast_to([0.0, 1.0, 2.0], (2, 2, 3)))


def test_a_join_may_be_a_function_which_is_called_once() -> None:
    calls = []

    def join(x: float, y: float) -> object:
        calls.append(1)
        return where(x > y, exp(-x), index("j") * 1.0)

    text = "where(x > y, exp(-x), index(j) * 1.0)"
    np.testing.assert_array_equal(
        einsum("i j, j -> i", X, Y[:, 0], join=join), einsum("i j, j -> i", X, Y[:, 0], join=text)
    )
    assert calls == [1]
    np.testing.assert_array_equal(einsum("i j -> i", X, join=np.tanh), np.tanh(X).sum(1))


@pytest.mark.parametrize(
    "agg, dtype, value",
    [
        ("sum", "float32", 0.0),
        ("sum", "int32", 0),
        ("prod", "float64", 1.0),
        ("max", "float32", -np.inf),
        ("max", "int8", -128),
        ("min", "float32", np.inf),
        ("any", "bool", False),
        ("all", "bool", True),
        ("logsumexp", "float32", -np.inf),
        ("mean", "float32", np.nan),
    ],
)
def test_over_nothing_it_is_the_identity(agg: str, dtype: str, value: float) -> None:
    found = einsum("i j -> i", np.zeros((2, 0), dtype), agg=agg)
    np.testing.assert_array_equal(found, np.array([value, value]))
    assert einsum("i j -> j", np.zeros((2, 0), dtype), agg=agg).shape == (0,)


@pytest.mark.parametrize(
    "dtype, agg, result",
    [
        ("int32", "sum", "int64"),
        ("uint8", "prod", "int64"),
        ("bool", "sum", "int64"),
        ("int16", "max", "int16"),
        ("float32", "sum", "float32"),
        ("float16", "mean", "float16"),
        ("complex64", "sum", "complex64"),
    ],
)
def test_the_dtype_is_the_aggregations_and_the_joins_where_nothing_is_aggregated(
    dtype: str, agg: str, result: str
) -> None:
    x = np.ones((2, 3), dtype)
    assert einsum("i j -> i", x, agg=agg).dtype == result
    assert einsum("i j -> j i", x, agg=agg).dtype == dtype


def test_small_integers_are_multiplied_in_their_own_dtype_and_summed_in_int64() -> None:
    x = np.array([100, 100, 11], "int8")
    found = einsum("i, i ->", x, x)
    assert (found.dtype, found) == ("int64", 16 + 16 + 121)  # 100 * 100 is 16 modulo 256


def test_where_nothing_is_aggregated_the_aggregation_does_nothing() -> None:
    ints = np.array([3, 4])
    for agg in ("sum", "mean", "any", "logsumexp"):
        np.testing.assert_array_equal(einsum("i -> i", ints, agg=agg), ints)


def test_infinities_and_nan_are_values() -> None:
    x = np.array([[-np.inf, -np.inf], [np.inf, 1.0], [np.nan, 1.0]])
    found = einsum("i j -> i", x, agg="logsumexp")
    np.testing.assert_array_equal(found, [-np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(einsum("i j -> i", x, agg="max"), [-np.inf, np.inf, np.nan])


@pytest.mark.parametrize("spec", ["i j -> i j", "i j -> j i", "i i -> i", "i j -> (i j)", "i j -> i j 1"])
def test_the_result_is_a_new_array(spec: str) -> None:
    x = np.ones((2, 2))
    found = einsum(spec, x)
    assert not np.shares_memory(found, x)
    found[...] = 7  # and may be written to
    assert found.flags.c_contiguous and x.sum() == 4
