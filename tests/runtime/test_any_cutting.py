"""Any cutting gives the same tensor, and moves the bytes that were predicted.

Random programs under random plans, run on threads, against an oracle that enumerates every index. Plans are not chosen
for sense: any axis cuts any label it may, in digit tables with axes in any order, of sizes that no axis divides or that
have fewer elements than devices.
"""

from __future__ import annotations

import math
from itertools import product
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from einsplit.builder import Builder, Origin, variable_index
from einsplit.runtime import blocks
from einsplit.runtime.local import LocalSession
from einsplit.scalar import call, cast, const, operand
from einsplit.solver.prepare import prepare
from einsplit.solver.problem.problem import Problem
from einsplit.solver.program import Compute, Program, limits
from einsplit.solver.sharding import make_tables
from einsplit.torch_dtypes import torch_dtype
from tests.support.cuttings import MESHES, Cutting, random_cutting, random_machine, run_local
from tests.support.graphs import SIZES, Case, random_case
from tests.support.meaning import Meant, meaning
from tests.support.spelled import spelled

EXACT = 2.0**50  # scales below it: every sum of addends is a whole number that a float holds


def agree(case: Case, found: dict[str, np.ndarray], exact: bool) -> None:
    wanted = meaning(case.graph, case.feeds)
    assert found.keys() == wanted.keys()
    for name, meant in wanted.items():
        value = found[name]
        assert (value.shape, value.dtype) == (meant.value.shape, meant.value.dtype), name
        if exact or value.dtype != np.float64:
            np.testing.assert_array_equal(value, meant.value, err_msg=name)
        else:
            assert (np.abs(value - meant.value) <= 1e-12 * meant.scale).all(), name


def is_exact(wanted: dict[str, Meant]) -> bool:
    return all((meant.scale < EXACT).all() for meant in wanted.values())


def run_any(
    random: Random, mesh: tuple[int, ...], exact: bool, num_nodes: int = 4, sizes: tuple[int, ...] = SIZES
) -> None:
    case = random_case(random, exact=exact, num_nodes=num_nodes, sizes=sizes)
    cutting = random_cutting(random, prepare(case.graph), random_machine(random, mesh))
    program = cutting.program
    assert Program.from_bytes(program.to_bytes()) == program
    found = run_local(program, case.feeds)
    if not exact or is_exact(meaning(case.graph, case.feeds)):
        agree(case, found, exact)


@pytest.fixture(autouse=True)
def padding_is_garbage(monkeypatch):
    """Padding that comes in holds what ruins any result that it reaches."""
    plain = blocks._padded

    def poisoned(tensor, extents):
        padded = plain(tensor, extents)
        if padded is tensor:
            return tensor
        worst = math.nan if tensor.is_floating_point() else True if tensor.dtype == torch.bool else 99
        whole = torch.full_like(padded, worst)
        whole[tuple(slice(extent.size) for extent in extents)] = tensor
        return whole

    monkeypatch.setattr(blocks, "_padded", poisoned)


programs = {"seed": st.integers(0, 2**32 - 1), "num_nodes": st.integers(1, 6)}
many = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("mesh", MESHES, ids=str)
@given(**programs)
@many
def test_any_cutting_of_whole_numbers_is_exact(mesh, seed, num_nodes):
    run_any(Random(seed), mesh, exact=True, num_nodes=num_nodes)


@pytest.mark.parametrize("mesh", MESHES, ids=str)
@given(**programs)
@many
def test_any_cutting_of_a_smooth_program_is_right_to_rounding(mesh, seed, num_nodes):
    run_any(Random(seed), mesh, exact=False, num_nodes=num_nodes)


@pytest.mark.parametrize("seed", range(60))
def test_joins_in_chunks_are_joins(monkeypatch, seed):
    """What bounds the memory of a large join, on small ones."""
    monkeypatch.setattr(limits, "MAX_JOINED", 4)
    run_any(Random(seed), (2,), exact=True)


@pytest.mark.parametrize("seed", range(80))
def test_tensors_without_elements_are_cut_too(seed):
    run_any(Random(seed), MESHES[seed % 4], exact=True, sizes=(0, 1, 2, 3))


DTYPES = ("float32", "float16", "bfloat16", "int8", "uint8", "int32")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_survives_any_cutting(dtype):
    """Small whole numbers, which all these dtypes hold exactly: products summed, rows looked up, the largest taken."""
    builder = Builder()
    x, y = (builder.input(name, shape, dtype) for name, shape in (("x", (6, 5)), ("y", (5, 4))))
    ids = builder.input("ids", (3,), "uint8")
    product_ = spelled("i k, k j -> i j", x, y)
    largest = spelled("i k -> k", x, join=operand(0), agg="max")
    v, s, d = (builder.variable(n) for n in (6, 3, 5))
    join = call("where", call("eq", operand(0), variable_index(v)), operand(1), cast(const(0), dtype))
    rows = builder.einsum([(ids, ((s,),)), (x, ((v,), (d,)))], ((s,), (d,)), join, "sum", Origin("rows"))
    graph = prepare(builder.build({"product": product_, "largest": largest, "rows": rows}))
    kind = torch_dtype(dtype)
    feeds = {"x": torch.arange(30).reshape(6, 5) % 3, "y": torch.arange(20).reshape(5, 4) % 2}
    wanted = {"product": feeds["x"] @ feeds["y"], "largest": feeds["x"].amax(0), "rows": feeds["x"][[5, 0, 2]]}
    tensors = {name: tensor.to(kind) for name, tensor in feeds.items()} | {
        "ids": torch.tensor([5, 0, 2]).to(torch.uint8)
    }
    random = Random(dtype)
    for mesh in (*MESHES, *MESHES):
        program = random_cutting(random, graph, random_machine(random, mesh)).program
        with LocalSession(program) as session:
            found = session.step(tensors)
        assert found["largest"].dtype == kind
        assert all(torch.equal(found[name].to(torch.int64), wanted[name]) for name in wanted)


def test_what_is_drawn_does_not_depend_on_the_cutting():
    builder = Builder()
    seed = builder.input("seed", (), "int64")
    i, j = builder.variable(7), builder.variable(6)
    draw = call("random", operand(0), variable_index(i), variable_index(j))
    graph = prepare(builder.build({"drawn": builder.einsum([(seed, ())], ((i,), (j,)), draw, "sum", Origin("drawn"))}))
    drawn = []
    for mesh in MESHES:
        program = random_cutting(Random(3), graph, random_machine(Random(0), mesh)).program
        drawn.append(run_local(program, {"seed": np.array(5)})["drawn"])
    assert all(np.array_equal(drawn[0], other) for other in drawn)
    assert len(np.unique(drawn[0])) == 42


@pytest.mark.parametrize(
    "dtype, ids", [("int8", [-1, 7, 127]), ("float64", [1.5, 7.0, np.nan]), ("uint8", [255, 7, 0])]
)
def test_ids_that_are_no_row_find_nothing(dtype, ids):
    """In the meaning they equal no index; 300 rows are more than some dtypes of ids can count."""
    builder = Builder()
    x, table = builder.input("x", (3,), dtype), builder.input("table", (300, 2), "float64")
    s, v, d = (builder.variable(n) for n in (3, 300, 2))
    join = call("where", call("eq", operand(0), variable_index(v)), operand(1), const(0.0))
    rows = builder.einsum([(x, ((s,),)), (table, ((v,), (d,)))], ((s,), (d,)), join, "sum", Origin("rows"))
    case = Case(
        builder.build({"rows": rows}),
        {"x": np.array(ids, dtype), "table": np.arange(600.0).reshape(300, 2) + 1},
    )
    for mesh in MESHES:
        program = random_cutting(Random(1), prepare(case.graph), random_machine(Random(0), mesh)).program
        assert any(step.kind == "lookup" for step in program.instructions if isinstance(step, Compute))
        agree(case, run_local(program, case.feeds), exact=True)


def test_state_moves_on_from_step_to_step_under_any_cutting():
    random = Random(7)
    num_met = 0
    while num_met < 60:
        case = random_case(random, exact=False, num_nodes=5)
        cutting = random_cutting(random, prepare(case.graph), random_machine(random, random.choice(MESHES)))
        if not any(state != value for state, value in case.graph.updates):
            continue
        num_met += 1
        before = dict(case.feeds)
        for _ in range(2):
            after = meaning(case.graph, before)
            before |= {name: after[name].value for name in before if name in after}
        found = run_local(cutting.program, case.feeds, num_steps=3)
        agree(Case(case.graph, before), found, exact=False)


@pytest.mark.parametrize("mesh", [(2,), (3,), (2, 2)], ids=str)
@pytest.mark.parametrize("agg", ["sum", "max", "prod"])
def test_every_change_of_layout_keeps_the_value(agg, mesh):
    """All choices of a writer (partial ones too) with all choices of its reader (addends too)."""
    builder = Builder()
    x = builder.input("x", (5, 3, 4), "float64")
    i, j, k = (builder.variable(n) for n in x.shape)
    z = builder.einsum([(x, ((i,), (j,), (k,)))], ((i,), (j,)), operand(0), agg, Origin("z"))
    i, j = (builder.variable(n) for n in z.shape)
    w = builder.einsum([(z, ((i,), (j,)))], ((j,), (i,)), operand(0) * const(2.0), "sum", Origin("w"))
    case = Case(builder.build({"w": w}), {"x": np.random.default_rng(0).integers(-2, 3, x.shape).astype(np.float64)})
    graph = prepare(case.graph)
    machine = random_machine(Random(0), mesh)
    axes_of = {label: tuple(range(len(mesh))) for label in graph.sizes}
    problem = Problem(graph, machine, make_tables(graph, mesh, axes_of))
    assert [node.name for node in graph.nodes] == ["x", "z", "w", "w.out"]
    whole = (None,) * len(mesh)
    rows = [[problem.choices(node, axis) for axis in range(len(mesh))] for node in (1, 2)]
    for writer in product(*rows[0]):
        for reader in product(*rows[1]):
            found = run_local(Cutting(problem, (whole, writer, reader, whole)).program, case.feeds)
            agree(case, found, exact=True)
