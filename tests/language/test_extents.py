"""Finest factors: equal dimensions share their cuts, cuts form chains, and what does not fit changes nothing."""

from math import prod

from hypothesis import given
from hypothesis import strategies as st

from einsplit.builder.extents import Extents


def sizes(extents: Extents, extent: int) -> list[int]:
    return [leaf.size for leaf in extents.leaves(extent)]


def test_a_cut_divides_an_extent_into_finer_ones() -> None:
    extents = Extents()
    extent = extents.new(12)
    assert extents.cut(extent, 4)
    assert [(leaf.size, leaf.stride) for leaf in extents.leaves(extent)] == [(3, 4), (4, 1)]
    assert extents.cut(extent, 2) and extents.cut(extent, 4)
    assert sizes(extents, extent) == [3, 2, 2]


def test_a_cut_that_breaks_the_chain_is_refused() -> None:
    extents = Extents()
    extent = extents.new(24)
    assert extents.cut(extent, 4)
    assert not extents.cut(extent, 3)
    assert not extents.cut(extent, 5) and not extents.cut(extent, 6)
    assert sizes(extents, extent) == [6, 4]


def test_a_cut_found_later_holds_in_every_extent_merged_before() -> None:
    extents = Extents()
    a, b, c = (extents.new(12) for _ in range(3))
    assert extents.unify([a], [b]) and extents.unify([b], [c])
    assert extents.cut(c, 6)
    assert sizes(extents, a) == sizes(extents, b) == [2, 6]
    assert extents.leaves(a) == extents.leaves(c)


def test_rows_are_merged_factor_by_factor_from_the_right() -> None:
    extents = Extents()
    whole, h, d = extents.new(12), extents.new(3), extents.new(4)
    assert extents.unify([whole], [h, d])
    assert [leaf.extent for leaf in extents.leaves(whole)] == [
        leaf.extent for e in (h, d) for leaf in extents.leaves(e)
    ]


def test_rows_that_do_not_fit_change_nothing() -> None:
    extents = Extents()
    a, b, c, d = (extents.new(size) for size in (6, 4, 8, 3))
    e = extents.new(24)
    assert extents.unify([e], [a, b])
    assert not extents.unify([e], [c, d]) and not extents.unify([e], [a])
    assert [sizes(extents, x) for x in (a, b, c, d, e)] == [[6], [4], [8], [3], [6, 4]]


def test_single_elements_are_no_factors() -> None:
    extents = Extents()
    one, seven, other = extents.new(1), extents.new(7), extents.new(7)
    assert extents.leaves(one) == () and extents.unify([one, seven], [other, one])
    assert extents.unify([], [one]) and not extents.unify([], [seven])


def test_the_first_name_stays() -> None:
    extents = Extents()
    a, b, c = extents.new(5), extents.new(5, "tokens"), extents.new(5, "words")
    extents.unify([a], [b])
    extents.unify([a], [c])
    (leaf,) = extents.leaves(a)
    assert extents.names() == {leaf.extent: "tokens"} and extents.leaves(c) == (leaf,)


def test_parts_of_a_named_extent_are_lettered_from_the_slowest() -> None:
    extents = Extents()
    features, hidden = extents.new(12, "features"), extents.new(12, "hidden")
    assert extents.cut(features, 2) and extents.cut(features, 6) and extents.unify([features], [hidden])
    names = extents.names()
    assert [names[leaf.extent] for leaf in extents.leaves(hidden)] == ["features_a", "features_b", "features_c"]


def steps() -> st.SearchStrategy[list[tuple[str, int, int, int]]]:
    kinds = st.sampled_from(["cut", "unify", "pair"])
    return st.lists(st.tuples(kinds, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=25)


@given(st.lists(st.sampled_from([1, 2, 3, 4, 6, 8, 12, 24]), min_size=10, max_size=10), steps())
def test_factors_multiply_to_the_size_and_merged_extents_have_the_same(
    start: list[int], program: list[tuple[str, int, int, int]]
) -> None:
    extents = Extents()
    made = [extents.new(size) for size in start]
    equal: list[tuple[list[int], list[int]]] = []
    for kind, i, j, k in program:
        before = [extents.leaves(extent) for extent in made]
        if kind == "cut":
            done = extents.cut(made[i], start[j])
        else:
            left, right = [made[i]], [made[j], made[k]] if kind == "pair" else [made[j]]
            done = extents.unify(left, right)
            if done:
                equal.append((left, right))
        if not done:
            assert [extents.leaves(extent) for extent in made] == before
    for extent, size in zip(made, start, strict=True):
        leaves = extents.leaves(extent)
        assert prod(leaf.size for leaf in leaves) == size and all(leaf.size > 1 for leaf in leaves)
        strides = [prod(leaf.size for leaf in leaves[at + 1 :]) for at in range(len(leaves))]
        assert [leaf.stride for leaf in leaves] == strides
    for left, right in equal:
        rows = [[leaf.extent for extent in side for leaf in extents.leaves(extent)] for side in (left, right)]
        assert rows[0] == rows[1]
