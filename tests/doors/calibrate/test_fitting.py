"""The fit finds the figures that the samples were made of, noise and outliers or not."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from einsplit.calibrate import Exchange, Matmul, Pass, Pointwise, Samples, fit
from einsplit.errors import MachineError

LAUNCH, MEMORY, FLOPS, HALF, LATENCY, BANDWIDTH = 2e-5, 1.2e10, 3e9, 24.0, 4e-5, 2e9
RATES = {"float32": 9e10, "bfloat16": 2.5e11}
ITEMSIZE = {"float32": 4, "bfloat16": 2}
SHAPES = [(n, n, n) for n in (16, 64, 256, 1024)] + [(s, 1024, 1024) for s in (1, 4, 16, 64, 256)] + [(512, 512, 8)]


def samples_of(noise: float, seed: int = 0) -> Samples:
    """What a machine of the figures above would measure, each time off by up to the noise."""
    random = Random(seed)

    def near(seconds: float) -> float:
        return seconds * (1.0 + random.uniform(-noise, noise))

    matmuls = []
    for dtype, rate in RATES.items():
        for m, n, k in SHAPES:
            thin = min(m, n, k)
            moved = ITEMSIZE[dtype] * (m * k + k * n + m * n)
            seconds = LAUNCH + max(2 * m * n * k * (thin + HALF) / (rate * thin), moved / MEMORY)
            matmuls.append(Matmul(dtype, m, n, k, near(seconds)))
    passes = [Pass(nbytes, near(LAUNCH + nbytes / MEMORY)) for nbytes in (64, 10**4, 10**6, 10**7, 10**8)]
    joins = [Pointwise(6 * n, 12 * n, near(LAUNCH + 6 * n / FLOPS)) for n in (64, 10**4, 10**5, 10**6, 10**7)]
    sizes = (8, 10**4, 10**5, 10**6, 10**7)
    exchanges = [Exchange(axes, n, near(LATENCY + n / BANDWIDTH)) for axes in ((0,), (1,), (0, 1)) for n in sizes]
    return Samples(tuple(matmuls), tuple(passes), tuple(joins), tuple(exchanges))


def check(samples: Samples, within: float) -> None:
    machine = fit(samples, "made-up", (3, 2), 1e9).machine
    axis = machine.axes[0]
    found = [machine.launch_seconds, machine.memory_bytes_per_second, machine.flops_per_second, machine.half_size]
    found += [machine.matmul_flops_per_second[dtype] for dtype in RATES] + [axis.latency_seconds, axis.bytes_per_second]
    assert found == pytest.approx([LAUNCH, MEMORY, FLOPS, HALF, *RATES.values(), LATENCY, BANDWIDTH], rel=within)
    assert machine.sizes == (3, 2) and len(machine.tiers) == 1 and machine.name == "made-up"


def test_without_noise_the_figures_are_found() -> None:
    check(samples_of(0.0), 1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_noise_of_a_twentieth_moves_them_by_little_more(seed: int) -> None:
    check(samples_of(0.05, seed), 0.12)


def test_a_few_disturbed_samples_do_not_decide() -> None:
    samples = samples_of(0.02)
    matmuls = tuple(replace(r, seconds=r.seconds * (30 if k in (3, 12) else 1)) for k, r in enumerate(samples.matmuls))
    exchanges = tuple(replace(r, seconds=r.seconds * (30 if k == 7 else 1)) for k, r in enumerate(samples.exchanges))
    check(replace(samples, matmuls=matmuls, exchanges=exchanges), 0.25)


def test_every_sample_has_a_row_with_its_error() -> None:
    samples = samples_of(0.0)
    worse = replace(samples.passes[-1], seconds=samples.passes[-1].seconds / 2)
    rows = fit(replace(samples, passes=(*samples.passes[:-1], worse)), "made-up", (3, 2), 1e9).rows
    assert len(rows) == len(samples.matmuls) + 5 + 5 + 15
    far = [row for row in rows if abs(row.error) > 0.5]
    assert [(row.kind, row.what) for row in far] == [("pass", "100 MB")] and far[0].error > 0
    assert rows[-1].what == "10 MB over device0 x device1"


def test_one_device_has_no_axes_and_needs_no_exchanges() -> None:
    machine = fit(replace(samples_of(0.0), exchanges=()), "alone", (), 1e9).machine
    assert machine.axes == () and machine.num_devices == 1


def test_square_matrices_alone_do_not_make_the_half_size_run_away() -> None:
    samples = samples_of(0.0)
    squares = tuple(row for row in samples.matmuls if row.m == row.n == row.k)
    assert 1.0 <= fit(replace(samples, matmuls=squares), "squares", (3, 2), 1e9).machine.half_size <= 4096.0


@pytest.mark.parametrize("missing", ["matmuls", "passes", "pointwise", "exchanges"])
def test_too_little_to_fit_is_told(missing: str) -> None:
    with pytest.raises(MachineError, match="one of them is missing"):
        fit(replace(samples_of(0.0), **{missing: ()}), "half", (3, 2), 1e9)
