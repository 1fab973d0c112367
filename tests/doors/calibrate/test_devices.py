"""What devices measure together: groups along axes, and the slowest of them."""

from __future__ import annotations

import threading
from itertools import product
from math import prod

import pytest

from einsplit.calibrate import Matmul, Pass, Samples, calibrate
from einsplit.calibrate.device import exchanged_axes, group_of
from einsplit.calibrate.devices import on_threads, slowest
from einsplit.calibrate.samples import Sizes
from einsplit.errors import MachineError, RunError

TINY = Sizes((("float32", (4, 5, 6)),), (64,), (8,), (4, 1024), seconds=0.0, repeats=2)


@pytest.mark.parametrize("mesh", [(2,), (3, 2), (2, 2, 2)])
def test_groups_along_axes_are_those_of_the_mesh(mesh: tuple[int, ...]) -> None:
    places = list(product(*map(range, mesh)))  # by device: the last axis counts fastest
    for axes in exchanged_axes(mesh):
        for device, place in enumerate(places):
            alike = [
                d for d, p in enumerate(places) if all(p[k] == place[k] for k in range(len(mesh)) if k not in axes)
            ]
            assert group_of(device, mesh, axes) == tuple(alike)


def test_every_axis_is_exchanged_over_and_all_of_them_together() -> None:
    samples = on_threads((2, 2), TINY, lambda what: None)
    assert [(row.axes, row.sent) for row in samples.exchanges] == [
        ((0,), 4), ((0,), 1024), ((1,), 4), ((1,), 1024), ((0, 1), 12), ((0, 1), 3072),
    ]  # fmt: skip
    assert [(row.m, row.n, row.k) for row in samples.matmuls] == [(4, 5, 6)]
    assert [row.nbytes for row in samples.passes] == [128]
    assert [(row.operations, row.nbytes) for row in samples.pointwise] == [(8 * 6, 8 * 12)]
    rows = (*samples.matmuls, *samples.passes, *samples.pointwise, *samples.exchanges)
    assert all(0 < row.seconds < 60 for row in rows)


def test_the_slowest_device_counts_for_each_sample() -> None:
    one = Samples((Matmul("float32", 1, 1, 1, 2.0),), (Pass(4, 1.0),))
    other = Samples((Matmul("float32", 1, 1, 1, 1.0),), (Pass(4, 3.0),))
    assert slowest([one, other]) == Samples((Matmul("float32", 1, 1, 1, 2.0),), (Pass(4, 3.0),))


@pytest.mark.parametrize("stopping", [KeyboardInterrupt, OSError])
def test_what_stops_one_device_ends_all(stopping: type[BaseException]) -> None:
    def say(what: str) -> None:
        if "exchanging" in what:
            raise stopping("stop")

    with pytest.raises(RunError, match=f"calibrating failed: {stopping.__name__}: stop"):
        on_threads((3,), TINY, say)
    assert threading.active_count() == 1 or not [t for t in threading.enumerate() if "serve" in t.name]


def test_what_cannot_be_measured_is_told() -> None:
    for arguments, told in (
        ({"backend": "mpi"}, "unknown backend 'mpi'.\n  Known: threads ray."),
        ({"devices": 0}, "devices=0: at least one device is needed, such as devices=2"),
        ({"devices": 1000}, "devices=1000: one machine is measured with at most 256 devices"),
    ):
        with pytest.raises(MachineError) as caught:
            calibrate(**arguments)
        assert str(caught.value) == told


def test_one_device_is_measured_alone() -> None:
    found = calibrate(1, quick=True)
    assert found.machine.axes == () and found.machine.num_devices == prod(found.machine.sizes) == 1
