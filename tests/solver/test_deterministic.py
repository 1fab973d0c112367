"""The same inputs give the same plan file, byte for byte, in every process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from einsplit.optim import AdamW
from einsplit.solver.planner import make_plan
from tests.doors.graphs import machine, mlp_graph
from tests.solver.published.nets import Net, decoder

ROOT = Path(__file__).parents[2]
SEEDS = 20
LAYERS = 5  # so many that they fold


def a_perceptron_over_three_axes() -> bytes:
    return make_plan(mlp_graph(), machine(2, 2, 2)).to_json()


def a_train_step_of_folded_layers() -> bytes:
    net = Net()
    return make_plan(net.training(decoder(net, LAYERS), AdamW(lr=0.1)), machine(4)).to_json()


def a_perceptron_where_memory_is_short() -> bytes:
    free = make_plan(mlp_graph(), machine(2, 2))
    found = make_plan(mlp_graph(), machine(2, 2), memory_bytes=free.peak_bytes - 1)
    assert found.peak_bytes < free.peak_bytes and found != free
    return found.to_json()


PLANS = (a_perceptron_over_three_axes, a_train_step_of_folded_layers, a_perceptron_where_memory_is_short)
CODE = "from tests.solver.test_deterministic import digests\nprint(*digests())"


def digests() -> list[str]:
    """One for each of the plans."""
    return [hashlib.sha256(plan()).hexdigest() for plan in PLANS]


def digests_at(seed: int) -> list[str]:
    """Likewise, of a process in which texts hash by that seed."""
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CODE]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


def test_a_plan_file_does_not_depend_on_the_hash_seed() -> None:
    assert {tuple(digests_at(seed)) for seed in range(3)} == {tuple(digests())}


def test_a_plan_file_does_not_depend_on_what_was_planned_before() -> None:
    assert [plan() for plan in PLANS] == [plan() for plan in reversed(PLANS)][::-1]


@pytest.mark.slow
def test_a_plan_file_is_the_same_in_20_processes() -> None:
    assert len({tuple(digests_at(seed)) for seed in range(SEEDS)}) == 1
