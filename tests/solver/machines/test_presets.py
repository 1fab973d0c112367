"""Presets: every figure has a source, meshes are those that can be certified, plans on them have a price."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsplit.errors import MachineError
from einsplit.solver.machine import load_machine, with_mesh
from einsplit.solver.machine.hardware import GPUS
from einsplit.solver.machine.mesh import coarse_factors, square_factors
from einsplit.solver.machine.presets import NODES, preset
from einsplit.solver.planner import make_plan
from tests.doors.graphs import mlp_graph

NAMES = ("cpu-1", "cpu-2", "cpu-6", *NODES, "a100x4", "h100x2", "h100x1", "h100x8x8", "h200x8x2", "b200x72x2")


@pytest.mark.parametrize(
    "name, mesh, tiers",
    [
        ("a100x8", (2, 4), 1),
        ("h100x8", (2, 4), 1),
        ("h200x8", (2, 4), 1),
        ("b200x72", (8, 9), 1),
        ("a100x4", (2, 2), 1),
        ("h100x2", (2,), 1),
        ("h100x7", (7,), 1),
        ("h100x1", (), 0),
        ("h100x8x8", (8, 8), 2),
        ("h100x8x2", (2, 8), 2),
        ("h100x4x3", (3, 4), 2),
        ("h100x8x1", (2, 4), 1),
        ("h100x1x4", (4,), 1),
        ("h100x8x2048", (8, 8, 8, 4, 8), 2),
        ("h100x8x22", (2, 11, 8), 2),
        ("b200x72x2", (2, 8, 9), 2),
        ("cpu-6", (3, 2), 1),
    ],
)
def test_the_mesh_of_a_preset_is_slowest_first(name, mesh, tiers):
    machine = load_machine(name)
    assert machine.sizes == mesh and len(machine.tiers) == tiers and machine.name == name
    rates = [axis.bytes_per_second for axis in machine.axes]
    assert rates == sorted(rates)


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_of_a_preset_has_a_source_and_is_the_machines(name):
    made = preset(name)
    machine, figures = made.machine, dict(made.figures)
    assert made.title and all(len(figure.source) > 15 for figure in figures.values())
    for field in ("flops_per_second", "memory_bytes_per_second", "memory_bytes", "launch_seconds"):
        assert figures.pop(field).value == getattr(machine, field)
    assert figures.pop("half_size").value == machine.half_size if machine.half_size else True
    for dtype, rate in machine.matmul_flops_per_second.items():
        assert figures.pop(f"matmul_flops_per_second.{dtype}").value == rate
    for axis in machine.axes:
        tier = axis.name.rstrip("0123456789")
        assert figures[f"{tier}.bytes_per_second"].value == axis.bytes_per_second
        assert figures[f"{tier}.latency_seconds"].value == axis.latency_seconds
    assert set(figures) == {f"{axis.name.rstrip('0123456789')}.{field}" for axis in machine.axes for field in LINK}


LINK = ("bytes_per_second", "latency_seconds")


@pytest.mark.parametrize("name", ("cpu-2", *NODES, "h100x2x2"))
def test_a_plan_on_a_preset_has_a_finite_price(name):
    plan = make_plan(mlp_graph(batch=144, hidden=144), load_machine(name), "data-parallel")
    assert 0 < plan.seconds < math.inf


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
def test_no_rate_is_above_the_peak_of_dense_multiplications(gpu):
    """Twice what FP32 does per bit of a smaller type, eightfold in the tensor cores: sparsity would be twice that."""
    rates = {dtype: figure.value for dtype, figure in gpu.matmul_flops_per_second.items()}
    assert rates["bfloat16"] == rates["float16"] > 8 * rates["float32"]
    assert rates["bfloat16"] < 32 * gpu.flops_per_second.value
    assert rates["float64"] <= rates["float32"] == gpu.flops_per_second.value
    assert gpu.between.bytes_per_second.value < gpu.inside.bytes_per_second.value < gpu.memory_bytes_per_second.value


@pytest.mark.parametrize(
    "name, told",
    [
        ("h100x9", "machine 'h100x9': a node of h100 has at most 8 GPUs.\n  2 nodes are h100x8x2."),
        ("h100x0", "machine 'h100x0': nodes and the GPUs of each count from 1, such as h100x8x2"),
        ("h100x8x0", "machine 'h100x8x0': nodes and the GPUs of each count from 1, such as h100x8x2"),
        ("h100x8x8193", "machine 'h100x8x8193' has 65,544 devices, and einsplit plans for at most 65,536"),
        ("cpu-0", "devices=0: at least one device is needed, such as devices=2"),
        (
            "h10x8",
            "machine 'h10x8' is neither a preset nor a file.\n  Did you mean 'h100x8'?\n"
            "  Presets: cpu, cpu-N, a100x8, h100x8, h200x8, b200x72, fewer GPUs of a node (h100x4), several nodes "
            "(h100x8x16).",
        ),
    ],
)
def test_a_machine_that_is_none_is_told_with_one_that_is(name, told):
    with pytest.raises(MachineError) as caught:
        load_machine(name)
    assert str(caught.value) == told


def test_devices_must_be_those_of_the_preset():
    assert load_machine("h100x8", 8).num_devices == 8
    with pytest.raises(MachineError, match=r"devices=4: machine 'h100x8' has 8 \(2 x 4\)"):
        load_machine("h100x8", 4)


# ------------------------------------------------------------------------------------------------------------ meshes


@given(st.integers(1, 4096))
def test_axes_multiply_to_the_devices_and_are_coarse_where_they_can_be(number):
    square, coarse = square_factors(number), coarse_factors(number)
    assert math.prod(square) == math.prod(coarse) == number
    assert len(square) <= 2 and all(factor > 1 for factor in (*square, *coarse))
    large = [factor for factor in coarse if factor > 8]
    assert all(all(factor % part for part in range(2, factor)) for factor in large)


@pytest.mark.parametrize(
    "name, mesh, sizes, names",
    [
        ("h100x8", "2x2x2", (2, 2, 2), ["gpu0", "gpu1", "gpu2"]),
        ("h100x8", "8", (8,), ["gpu"]),
        ("h100x8x8", "2x4x2x2x2", (2, 4, 2, 2, 2), ["node0", "node1", "gpu0", "gpu1", "gpu2"]),
        ("h100x8x8", [8, 8], (8, 8), ["node", "gpu"]),
        ("cpu-6", (2, 3), (2, 3), ["cpu0", "cpu1"]),
    ],
)
def test_a_mesh_splits_tiers_anew_and_keeps_their_links(name, mesh, sizes, names):
    machine = load_machine(name)
    split = with_mesh(machine, mesh)
    assert split.sizes == sizes and [axis.name for axis in split.axes] == names
    assert [axis.link for axis in split.axes if axis.name.startswith(names[-1][:3])] == [machine.axes[-1].link] * sum(
        other.startswith(names[-1][:3]) for other in names
    )
    assert len(split.tiers) == len(machine.tiers) and split.num_devices == machine.num_devices


@pytest.mark.parametrize(
    "mesh, told",
    [
        ("4x4", "mesh 4x4 does not fit machine 'h100x8x8', whose tiers are 8 x 8.\n  The sizes multiply"),
        ("16x4", "mesh 16x4 does not fit machine 'h100x8x8', whose tiers are 8 x 8.\n  The sizes multiply"),
        ("8x8x2", "mesh 8x8x2 does not fit machine 'h100x8x8', whose tiers are 8 x 8.\n  The sizes multiply"),
        ("8x8x1", "mesh 8x8x1: an axis has at least 2 devices: leave it out"),
        ("8 by 8", "mesh '8 by 8' is not a mesh.\n  A mesh is written as sizes from the slowest link"),
        ("", "mesh '' is not a mesh.\n  A mesh is written as sizes from the slowest link"),
        ([8, 8.0], "mesh [8, 8.0] is not a mesh.\n  A mesh is written as sizes from the slowest link"),
    ],
)
def test_a_mesh_that_does_not_fit_is_told_with_the_tiers(mesh, told):
    with pytest.raises(MachineError) as caught:
        with_mesh(load_machine("h100x8x8"), mesh)
    assert str(caught.value).startswith(told)
