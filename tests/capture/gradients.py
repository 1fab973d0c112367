"""Gradients of captured functions, whole and cut, held against torch's."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch

from einsplit.autodiff import grad, gradient_name
from einsplit.capture import capture
from einsplit.capture.structure import split_structure
from einsplit.graph import Graph
from einsplit.passes import tidy
from einsplit.runtime.local import LocalSession
from einsplit.solver.prepare import prepare
from tests.capture.driver import keen
from tests.support.cuttings import random_cutting

MESHES = ((), (2,), (3,), (2, 2))


def weighted(result: object) -> torch.Tensor:
    """One number that depends on every real element of the result, on each in another way."""
    parts = [part for _, part in split_structure(result)[1] if part.is_floating_point()]
    return sum(
        (part * torch.cos(torch.arange(part.numel(), dtype=part.dtype)).view(part.shape)).sum() for part in parts
    )


def check_gradients(function: Callable[..., object], *args: torch.Tensor, tolerance: float = 1e-12) -> Graph:
    """Assert that the gradients by all real arguments are torch's on cuttings of all MESHES; the prepared Graph."""
    leaves = [x.clone().requires_grad_() if x.is_floating_point() else x for x in args]
    real = [k for k, x in enumerate(args) if x.is_floating_point()]
    weighted(function(*leaves)).backward()
    captured = capture(lambda *tensors: weighted(function(*tensors)), args, {})
    names = [captured.feeds[k] for k in real]
    graph = prepare(tidy(grad(tidy(captured.graph), "output", names)))
    for seed, mesh in enumerate(MESHES):
        program = random_cutting(Random(seed), graph, keen(*mesh)).program
        tensors = dict(zip(captured.feeds, args, strict=True))
        with LocalSession(program, timeout_seconds=60) as session:
            for name in program.parameters:
                session.put(name, captured.tensors[name])
            found = session.step({name: tensors[name] for name in program.feeds})
        for k, name in zip(real, names, strict=True):
            wanted = leaves[k].grad
            assert wanted is not None
            limit = tolerance * max(1.0, float(wanted.abs().max()))
            torch.testing.assert_close(found[gradient_name("output", name)], wanted, rtol=0, atol=limit)
    return graph
