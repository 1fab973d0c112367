"""Run a function captured, cut over devices, and hold what comes out against what torch gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

import torch

from einsplit.api import compile_plan
from einsplit.capture import Captured, capture
from einsplit.capture.structure import split_structure
from einsplit.graph import Kernel
from einsplit.runtime.local import LocalSession
from einsplit.solver.machine import Machine, MeshAxis
from einsplit.solver.planner import make_plan
from einsplit.solver.prepare import prepare
from einsplit.solver.program import Program
from tests.support.cuttings import random_cutting

# Largest difference, relative to the largest number of the result and 1.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
TOLERANCE |= {torch.complex64: 2e-5, torch.complex128: 1e-12}


def keen(*mesh: int) -> Machine:
    """A machine whose devices are slow and whose links are free: every plan for it cuts what can be cut."""
    return Machine(
        name="keen",
        axes=tuple(MeshAxis(f"axis{k}", size, 1e15, 0.0) for k, size in enumerate(mesh)),
        flops_per_second=1e3,
        memory_bytes_per_second=1e3,
        memory_bytes=1e9,
        launch_seconds=0.0,
    )


def programs(captured: Captured, meshes: Sequence[tuple[int, ...]], random_seeds: Sequence[int]) -> list[Program]:
    """The whole on one device, the plan of each mesh, and random cuttings that pad and cut whatever can be."""
    graph = captured.graph
    found = [compile_plan(make_plan(graph, keen(), "whole"), graph)]
    found += [compile_plan(make_plan(graph, keen(*mesh)), graph) for mesh in meshes]
    for seed in random_seeds:
        random = Random(seed)
        found.append(random_cutting(random, prepare(graph), keen(*random.choice([(2,), (3,), (2, 2)]))).program)
    return found


def run(captured: Captured, program: Program, tensors: Sequence[torch.Tensor]) -> object:
    """The function's result, computed by the program on threads."""
    with LocalSession(program, timeout_seconds=60) as session:
        for name in program.parameters:
            session.put(name, captured.tensors[name])
        fetches = session.step(dict(zip(captured.feeds, tensors, strict=True)))
    return captured.rebuild(fetches)


def check(
    function: Callable[..., object],
    *args: object,
    kwargs: Mapping[str, object] | None = None,
    meshes: Sequence[tuple[int, ...]] = ((2,), (2, 2)),
    random_seeds: Sequence[int] = (0, 1),
    tolerance: float | None = None,
) -> Captured:
    """Assert that the function gives the same captured, and cut over devices in several ways, as in torch."""
    with torch.no_grad():
        expected = function(*args, **(kwargs or {}))
    captured = capture(function, args, kwargs or {})
    tensors = [tensor for _, tensor in split_structure((args, kwargs or {}))[1]]
    for program in programs(captured, meshes, random_seeds):
        same(run(captured, program, tensors), expected, tolerance)
    return captured


def same(found: object, expected: object, tolerance: float | None = None) -> None:
    """Assert equal structure, dtypes and shapes; integers equal, floats nearly, NaN and infinities in their places."""
    left, right = split_structure(found), split_structure(expected)
    assert type(found) is type(expected)
    assert repr(left[0]) == repr(right[0])
    for (path, x), (_, y) in zip(left[1], right[1], strict=True):
        assert (path, x.dtype, x.shape) == (path, y.dtype, y.shape)
        if not (y.is_floating_point() or y.is_complex()):
            assert torch.equal(x, y), (path, x, y)
            continue
        wide = torch.complex128 if y.is_complex() else torch.float64
        limit = (TOLERANCE[y.dtype] if tolerance is None else tolerance) * _largest(y)
        torch.testing.assert_close(
            x.to(wide), y.to(wide), rtol=0, atol=limit, equal_nan=True, msg=lambda text, path=path: f"{path}: {text}"
        )


def _largest(tensor: torch.Tensor) -> float:
    finite = tensor[tensor.isfinite()].abs().double()
    return max(1.0, float(finite.max()) if finite.numel() else 0.0)


def kernels(captured: Captured) -> list[str]:
    """The names of the captured kernels: what is no einsum."""
    return [node.kernel for node in captured.graph.nodes if isinstance(node, Kernel)]
