"""Joins that keys decide: which are recognised, that any cutting gives their meaning, and that its price is theirs."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
import pytest

import einsplit
from einsplit.builder import Builder
from einsplit.graph import Graph
from einsplit.solver.prepare import prepare
from einsplit.solver.pricing.forms import Form, form
from tests.runtime.test_any_cutting import agree
from tests.support.cuttings import MESHES, random_cutting, random_machine, run_local
from tests.support.graphs import Case
from tests.support.prices import program_bytes, program_seconds

SIZES = {"b": 2, "s": 5, "t": 7, "v": 6, "a": 2, "c": 3, "d": 4, "f": 3, "e": 3, "h": 8}


@dataclass(frozen=True, slots=True)
class Row:
    """A sum, how it is carried out, and the labels that have keys; operands `i` are integers, `x` real numbers."""

    text: str
    kinds: str
    join: str
    kind: str
    chosen: str
    agg: str = "sum"


ROWS = {
    "rows of a table": Row("b s, v d -> b s d", "ix", "where(x == index(v), y, 0)", "lookup", "v"),
    "written the other way round": Row("v d, s -> d s", "xi", "where(index(v) == y, x, 0.0)", "lookup", "v"),
    "rows but for one": Row("s, v d -> s d", "ix", "where(x == index(v), where(x == 2, 0.0, y), 0)", "lookup", "v"),
    "a bag of rows": Row("b s, v d -> b d", "ix", "where(x == index(v), y, 0)", "lookup", "v"),
    "weighted rows": Row("b s, v d, b s -> b d", "ixx", "where(x == index(v), y, 0) * z", "lookup", "v"),
    "one of each row": Row("b, b v -> b", "ix", "where(x == index(v), y, 0)", "lookup", "v"),
    "along a shared label": Row("b t, b v d -> b t d", "ix", "where(x == index(v), y, 0)", "lookup", "v"),
    "at two keys": Row("t, t, v d -> t", "iix", "where((x == index(v)) & (y == index(d)), z, 0)", "lookup", "d v"),
    "of a composite": Row("t, a c d -> t d", "ix", "where(x == index(a) * 3 + index(c), y, 0)", "lookup", "a c"),
    "of a key computed": Row("t, v d -> t d", "ix", "where(where(x < 0, x + 6, x) == index(v), y, 0)", "lookup", "v"),
    "at places of a window": Row(
        "h d, c -> s d", "xx", "where(index(h) == index(s) + index(c) - 1, x * y, 0)", "lookup", "h"
    ),
    "keys that ask each other": Row(
        "d, v, v d -> ", "iix", "where((x == index(v)) & (y == index(d)), z, 0)", "lookup", "v"
    ),
    "booleans": Row("t, v -> t", "ib", "where(x == index(v), y, false)", "lookup", "v", "any"),
    "added to rows": Row("b s, b s d -> v d", "ix", "where(x == index(v), y, 0)", "scatter", "v"),
    "added to rows of each": Row("b t, b t d -> b v d", "ix", "where(x == index(v), y, 0)", "scatter", "v"),
    "added to a composite": Row(
        "t, t d -> a c d", "ix", "where(x == index(a) * 3 + index(c), -y, 0)", "scatter", "a c"
    ),
    "added at two keys": Row(
        "t, t, t -> v d", "iix", "where((x == index(v)) & (y == index(d)), z, 0)", "scatter", "d v"
    ),
    "added and scaled": Row("t, t d, v -> v d", "ixx", "where(x == index(v), y, 0) * z", "scatter", "v"),
    "summed, and added": Row("t, t d f -> v d", "ix", "where(x == index(v), y * y, 0)", "scatter", "v"),
    "counted": Row("b s -> v", "i", "where(x == index(v), 1, 0)", "scatter", "v"),
    "rows by experts": Row("t d, e d f, t -> t f", "xxi", "where(z == index(e), x * y, 0)", "grouped", "e"),
    "adjoint of rows": Row("t f, e d f, t -> t d", "xxi", "where(z == index(e), x, 0) * y", "grouped", "e"),
    "adjoint of matrices": Row("t d, t f, t -> e d f", "xxi", "y * where(z == index(e), x, 0)", "grouped", "e"),
    "rows of two labels": Row("b s d, e d f, b s -> b f s", "xxi", "where(z == index(e), x * y, 0)", "grouped", "e"),
    "experts of groups": Row("t d, e d f, t -> e t f", "xxi", "where(z == index(e), x * y, 0)", "grouped", "e"),
    "experts of all rows": Row("t d, e d f, t -> d f", "xxi", "where(z == index(e), x * y, 0)", "grouped", "e"),
    "not a matrix": Row("t d, e d, t -> t", "xxi", "where(z == index(e), x * y, 0)", "lookup", "e"),
    # What is not decided by keys, or could not be found there, is joined.
    "not mixed radix": Row("t, a c d -> t d", "ix", "where(x == index(a) * 2 + index(c), y, 0)", "join", ""),
    "not equal": Row("t, v d -> t d", "ix", "where(x <= index(v), y, 0)", "join", ""),
    "not zero": Row("t, v d -> t d", "ix", "where(x == index(v), y, 1)", "join", ""),
    "the largest": Row("t, v d -> t d", "ix", "where(x == index(v), y, 0)", "join", "", "max"),
    "an index asked for twice": Row("t, v -> t", "ix", "where(x == index(v), y * index(v), 0)", "join", ""),
    "a key of real numbers computed": Row("t, v -> t", "xx", "where(x * 2 == index(v), y, 0)", "join", ""),
    "a key of its own label": Row("v, v d -> d", "ix", "where(x == index(v), y, 0)", "join", ""),
    "nothing summed": Row("t, v -> t v", "ix", "where(x == index(v), y, 0)", "join", ""),
}


def case_of(row: Row, random: Random) -> Case:
    builder = Builder()
    generator = np.random.default_rng(random.randrange(1 << 30))
    terms = [term.split() for term in row.text.split("->")[0].split(",")]
    values, feeds = [], {}
    for k, (labels, kind) in enumerate(zip(terms, row.kinds, strict=True)):
        shape = [SIZES[label] for label in labels]
        name = f"operand{k}"
        value = builder.input(name, shape, {"i": "int64", "x": "float64", "b": "bool"}[kind])
        one = f"{' '.join(labels)} -> {' '.join(labels)}"
        values.append(einsplit.einsum(one, value, join="x + 1") if kind == "x" else value)  # padding is not 0
        drawn = generator.integers(-2, 8, shape)  # some keys are no index
        feeds[name] = drawn if kind == "i" else drawn > 2 if kind == "b" else drawn.astype("float64")
    known = {label for labels in terms for label in labels}
    sizes = {label: size for label, size in SIZES.items() if label in row.text.split("->")[1].split()}
    missing = {label: size for label, size in sizes.items() if label not in known}
    found = einsplit.einsum(row.text, *values, join=row.join, agg=row.agg, **missing)
    return Case(builder.build({"found": found}), feeds)


def found_form(graph: Graph) -> Form:
    node = graph.nodes[dict(graph.outputs)["found"]]
    return form(node, [graph.nodes[o.node].dtype for o in node.operands], graph.sizes)


@pytest.mark.parametrize("name", ROWS)
def test_a_form_is_recognised_and_its_keys(name: str) -> None:
    graph = case_of(ROWS[name], Random(0)).graph
    found = found_form(graph)
    assert found.kind == ROWS[name].kind
    assert sorted(size_of(graph, label) for label in found.chosen) == sorted(map(SIZES.get, ROWS[name].chosen.split()))


def size_of(graph: Graph, label: str) -> int:
    return graph.sizes[label]


@pytest.mark.parametrize("mesh", MESHES, ids=str)
@pytest.mark.parametrize("name", ROWS)
def test_any_cutting_gives_the_meaning_at_the_price(name: str, mesh: tuple[int, ...]) -> None:
    random = Random(f"{name} {mesh}")
    for _ in range(3):
        case = case_of(ROWS[name], random)
        machine = random_machine(random, mesh)
        cutting = random_cutting(random, prepare(case.graph), machine)
        price, program = cutting.problem.price(cutting.shardings), cutting.program
        assert price.seconds == pytest.approx(program_seconds(program, machine), rel=1e-9, abs=0.0), cutting
        assert price.bytes_sent == program_bytes(program), cutting
        agree(case, run_local(program, case.feeds), exact=True)
