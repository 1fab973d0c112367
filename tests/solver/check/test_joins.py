"""Joins that let addends through, and joins that do not: the walk, and the points."""

from __future__ import annotations

from random import Random

import pytest

from einsplit.scalar import is_linear, parse_join
from einsplit.solver.check.joins import _adds_at_points, lets_addends_through
from einsplit.solver.prepare import prepare
from tests.support.graphs import random_case

FLOATS = ("float32",) * 3

LINEAR = [
    ("x", (0,)),
    ("x + y", (0, 1)),
    ("x - y", (0, 1)),
    ("x * y", (0,)),
    ("x * y", (1,)),
    ("-x / 3", (0,)),
    ("x / y", (0,)),
    ("where(y > 0, x, 0)", (0,)),
    ("where(index(i) >= index(j), x, z)", (0, 2)),
    ("where(y == index(i), x, cast(0, float32))", (0,)),
    ("cast(x, bfloat16) * exp(y)", (0,)),
    ("x * y + z * y", (0, 2)),
    ("(x - x) * y", (0,)),
    ("x * random(index(i))", (0,)),
]
OTHER = [
    ("x + y", (0,)),
    ("x + 1", (0,)),
    ("x * y", (0, 1)),
    ("x * x", (0,)),
    ("max(x, 0)", (0,)),
    ("abs(x)", (0,)),
    ("floor(x)", (0,)),
    ("y / x", (0,)),
    ("x / 0", (0,)),
    ("x * inf", (0,)),
    ("where(x > 0, x, 0)", (0,)),
    ("where(y > 0, x, 1)", (0,)),
    ("where(y > 1e30, x * x, x)", (0,)),  # no point comes there
    ("cast(x, int64)", (0,)),
    ("tanh(x)", (0,)),
    ("y", (0,)),
    ("x", ()),
]


@pytest.mark.parametrize("text, carriers", LINEAR, ids=str)
def test_addends_pass_through_what_is_jointly_linear(text, carriers):
    assert lets_addends_through(parse_join(text, 3, ("i", "j")), carriers, FLOATS)


@pytest.mark.parametrize("text, carriers", OTHER, ids=str)
def test_addends_do_not_pass_through_anything_else(text, carriers):
    assert not lets_addends_through(parse_join(text, 3, ("i", "j")), carriers, FLOATS)


@pytest.mark.parametrize(
    "text, carriers", [row for row in OTHER if row[1] and "1e30" not in row[0] and "inf" not in row[0]], ids=str
)
def test_the_points_alone_tell_most_of_them(text, carriers):
    join = parse_join(text, 3, ("i", "j"))
    assert _adds_at_points(join, carriers, FLOATS) is (text == "x / 0")  # nowhere finite


def test_every_sum_that_the_solver_offers_passes():
    """In the joins of random programs; the solver may offer less than there is, and never more."""
    random, num_linear = Random(0), 0
    for _ in range(150):
        graph = prepare(random_case(random, exact=random.random() < 0.5, num_nodes=6).graph)
        for node in graph.nodes:
            if not hasattr(node, "join") or not node.operands or node.dtype == "bool":
                continue
            carriers = tuple(k for k in range(len(node.operands)) if random.random() < 0.6) or (0,)
            dtypes = [graph.nodes[row.node].dtype for row in node.operands]
            offered = is_linear(node.join, frozenset(carriers))
            assert not offered or lets_addends_through(node.join, carriers, dtypes), (node, carriers)
            num_linear += offered
    assert num_linear > 100
