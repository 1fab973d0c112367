"""The demo's claims, by the demo's own functions: PyTorch's logits, the bytes that were predicted, the work divided."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import demo.case
from demo.__main__ import CASES, main
from demo.case import Compared, Planned, compare, make_planned, next_byte_loss, parallel
from demo.setting import library_bytes, llama, token_ids
from demo.show import kinds_table
from einsplit.solver.machine import Machine, MeshAxis, prime_factors

ROOT = Path(__file__).resolve().parents[2]
# A batch, one long sequence, one short: they want different plans, so between them they exchange in different ways.
LOADS = ((4, 24), (1, 64), (1, 4))


QUICK = ["--layers", "1", "--backend", "local", "--steps", "1"]


def fast_links(devices: int) -> Machine:
    """Links so good that it pays to cut even a small model."""
    axes = tuple(
        MeshAxis(f"link{k}", size, bytes_per_second=1e12, latency_seconds=0.0)
        for k, size in enumerate(prime_factors(devices))
    )
    return Machine(
        name="fast links",
        axes=axes,
        flops_per_second=1e9,
        memory_bytes_per_second=1e12,
        memory_bytes=8e9,
        launch_seconds=0.0,
    )


@pytest.fixture(scope="module")
def small():
    return llama(num_layers=2, hidden=64, mlp_hidden=96)


def run(model, ids: torch.Tensor, planned: Planned, backend: str) -> Compared:
    with parallel(model, planned, backend) as fast:
        return compare(model, fast, ids, planned)


def test_the_text_is_this_pythons_own_library_and_fills_every_sequence():
    ids = token_ids(3, 50)
    assert ids.shape == (3, 50) and ids.dtype == torch.int64
    assert torch.equal(ids, token_ids(3, 50))
    text = library_bytes()
    assert all(bytes(row.tolist()) in text for row in ids)
    assert len({tuple(row.tolist()) for row in ids}) == 3, "three different places of the text"


def test_the_random_weights_are_the_same_at_every_call():
    one, other = (llama(num_layers=1, hidden=32, mlp_hidden=16).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_loss_is_the_mean_over_every_next_byte():
    ids = torch.tensor([[3, 1, 2]])
    logits = torch.zeros(1, 3, 4)
    logits[0, 0, 1] = logits[0, 1, 2] = 50.0  # sure of what comes next, and right; the last position predicts nothing
    assert next_byte_loss(logits, ids) == pytest.approx(0.0)
    assert next_byte_loss(torch.zeros(1, 3, 4), ids) == pytest.approx(1.3862944)


@pytest.mark.parametrize("load", LOADS, ids=str)
@pytest.mark.parametrize("devices", [2, 3, 4])
def test_threads_give_pytorchs_logits_and_move_the_predicted_bytes(small, load, devices):
    ids = token_ids(*load)
    planned = make_planned(small, ids, fast_links(devices))
    compared = run(small, ids, planned, "local")
    assert compared.max_difference <= 1e-4
    assert compared.loss == pytest.approx(compared.torch_loss, abs=1e-5)
    assert len(compared.traffic) == devices
    for device in compared.traffic:
        assert tuple(count.bytes_sent for count in device.counters) == compared.predicted
        assert device.bytes_sent == sum(compared.predicted) == planned.plan.bytes


@pytest.mark.parametrize("devices", [2, 3, 4])
def test_ray_workers_give_pytorchs_logits_and_those_of_threads_bit_for_bit(small, devices):
    ids = token_ids(*LOADS[1])
    planned = make_planned(small, ids, fast_links(devices))
    on_ray, on_threads = (run(small, ids, planned, backend) for backend in ("ray", "local"))
    assert on_ray.max_difference <= 1e-4
    assert torch.equal(on_ray.logits, on_threads.logits)
    assert sum(on_ray.predicted) > 0, "a plan that moves nothing would show little"
    assert on_ray.bytes_agree and on_threads.bytes_agree
    assert [device.bytes_sent for device in on_ray.traffic] == [planned.plan.bytes] * devices


@pytest.fixture(scope="module")
def full() -> list[Planned]:
    """The demo's own model and machine, planned for each of its loads; nothing is run."""
    return [make_planned(llama(), token_ids(*load), 2) for load in CASES]


def cells(planned: Planned) -> tuple[list[str], list[str]]:
    """The kinds of layer, and what each is cut by."""
    kinds, cuts = kinds_table(planned).columns[:2]
    return [str(cell) for cell in kinds.cells], [str(cell) for cell in cuts.cells]


def test_at_two_devices_none_does_more_than_60_percent_of_the_operations(full):
    for planned in full:
        assert 0.5 <= planned.share <= 0.6


def test_no_plan_of_the_demo_is_dearer_than_what_people_would_write(full):
    for planned in full:
        assert planned.plan.seconds <= planned.data_parallel.seconds <= planned.whole.seconds
        assert planned.plan.seconds < 0.9 * planned.whole.seconds


def test_three_loads_of_one_model_get_three_plans(full):
    assert len({tuple(cells(planned)[1]) for planned in full}) == len(CASES)
    assert full[0].plan.bytes == 0, "whole sequences need nothing of each other"
    assert all(planned.plan.bytes > 0 for planned in full[1:])


def test_every_kind_of_layer_has_a_row_and_cuts_have_plain_words(full):
    for planned in full:
        kinds, cuts = cells(planned)
        assert len(kinds) == len(set(kinds)) == 9
        assert not any("_" in cut for cut in cuts), "a label that nobody has a word for"


def test_the_command_agrees_and_says_so():
    result = CliRunner().invoke(main, [*QUICK, "--batch", "2", "--seq", "16"])
    assert result.exit_code == 0, result.output
    for line in ("kind of layer", "price of a step: this plan", "data parallel", "all whole", "PyTorch, 2 threads"):
        assert line in result.output
    assert result.output.count(" ok") == 2 and "WRONG" not in result.output


def test_logits_that_differ_give_exit_code_1(monkeypatch):
    monkeypatch.setattr(demo.case, "MAX_DIFFERENCE", -1.0)
    result = CliRunner().invoke(main, [*QUICK, "--batch", "1", "--seq", "4"])
    assert result.exit_code == 1 and "WRONG" in result.output


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--devices 0", "0 is not in the range x>=1"),
        ("--seq 1", "1 is not in the range x>=2"),
        ("--backend gpu", "'gpu' is not one of 'local', 'ray'"),
        ("--batch 1000000 --seq 1000 --layers 1", "1000000 x 1000 tokens are 1,000,000,000: take a smaller batch"),
    ],
)
def test_bad_input_gets_exit_code_2_and_a_word(arguments, message):
    result = CliRunner().invoke(main, arguments.split())
    assert result.exit_code == 2 and message in result.output


@pytest.mark.slow
def test_the_whole_demo_agrees_within_five_minutes():
    done = subprocess.run(
        [sys.executable, "-m", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok") == 2 * len(CASES)
