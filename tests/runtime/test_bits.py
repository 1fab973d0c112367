"""One Program, the same bits: from run to run, and on threads as on Ray."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import pytest
import torch

from einsplit.capture import capture
from einsplit.runtime.local import LocalSession
from einsplit.runtime.session import Session
from einsplit.solver.machine import cpu
from einsplit.solver.prepare import prepare
from einsplit.solver.program import Program
from tests.support import decoders
from tests.support.cuttings import MESHES, random_cutting, random_machine, run_local
from tests.support.graphs import random_case

NUM_STEPS = 3

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def llama() -> tuple[torch.nn.Module, torch.Tensor]:
    model = decoders.llama(vocabulary=200, hidden=64, inner=172, heads=8, kv_heads=4, use_cache=False)
    return model.eval(), torch.randint(0, 200, (4, 24))


def planned(llama: tuple[torch.nn.Module, torch.Tensor], devices: int) -> tuple[Program, Tensors]:
    """Under a plan of no sense, so that every kind of collective stands in it, often."""
    model, ids = llama
    captured = capture(model, (ids,), {})
    program = random_cutting(Random(devices), prepare(captured.graph), cpu(devices)).program
    assert {c.kind for c in program.collectives} == {"reduce_scatter", "all_to_all", "all_reduce", "all_gather"}
    return program, {**captured.tensors, captured.feeds[0]: ids}


def steps(session: Session, tensors: Mapping[str, torch.Tensor]) -> list[Tensors]:
    """The fetches of a few steps; none may change anything for the next."""
    with session:
        for name in session.program.parameters:
            session.put(name, tensors[name])
        feeds = {name: tensors[name] for name in session.program.feeds}
        return [session.step(feeds) for _ in range(NUM_STEPS)]


def same_bits(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].numpy().tobytes() == right[name].numpy().tobytes() for name in left
    )


@pytest.mark.parametrize("devices", [2, 3, 4])
def test_a_model_gives_the_same_bits_in_every_run(llama, devices):
    program, tensors = planned(llama, devices)
    first, *others = steps(LocalSession(program), tensors) + steps(LocalSession(program), tensors)
    assert all(same_bits(first, other) for other in others)
    with torch.no_grad():
        logits = llama[0](tensors[program.feeds[0]]).logits
    torch.testing.assert_close(first["output"], logits, atol=1e-5, rtol=0.0)


def test_random_programs_give_the_same_bits_in_every_run():
    for seed in range(60):
        random = Random(seed)
        case = random_case(random, exact=False, num_nodes=6)
        cutting = random_cutting(random, prepare(case.graph), random_machine(random, random.choice(MESHES)))
        first, again = (run_local(cutting.program, case.feeds) for _ in range(2))
        assert all(first[name].tobytes() == again[name].tobytes() for name in first)


@pytest.mark.parametrize("devices", [2, 4])
def test_threads_and_ray_give_the_same_bits(llama, devices):
    from einsplit.runtime.cluster import RaySession

    program, tensors = planned(llama, devices)
    local, ray = steps(LocalSession(program), tensors), steps(RaySession(program), tensors)
    assert all(same_bits(local[0], other) for other in (*local, *ray))
