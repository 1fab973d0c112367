"""Gradients of random programs, planned and run: any cutting gives what the Graph means."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from einsplit.autodiff import grad, gradient_name
from einsplit.evaluate import evaluate
from einsplit.solver.prepare import prepare
from tests.autodiff.einsums import Case, with_loss
from tests.autodiff.test_kernels import MEANINGS
from tests.autodiff.torch_meaning import torch_gradients
from tests.support.cuttings import MESHES, random_cutting, random_machine, run_local
from tests.support.graphs import random_case


def differentiable(seed: int) -> Case:
    """A random program whose last value, made one number, depends on an input of real numbers."""
    random = Random(seed)
    while True:
        program = random_case(random, exact=False, num_nodes=5, sizes=(1, 2, 3, 4, 6), max_elements=300)
        at = dict(program.graph.outputs)["last"]
        case = Case(program.graph, program.feeds)
        if program.graph.nodes[at].dtype == "float64" and case.wrt:
            return Case(with_loss(program.graph, at), {name: program.feeds[name] for name in program.graph.inputs})


def close(found: np.ndarray, wanted: np.ndarray, name: str) -> None:
    scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1.0)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * scale, err_msg=name)


@pytest.mark.parametrize("seed", range(40))
def test_any_cutting_of_a_gradient_gives_the_same_numbers(seed: int) -> None:
    case = differentiable(seed)
    graph = grad(case.graph, "loss", case.wrt)
    wanted = evaluate(graph, case.feeds)
    for name, array in zip(case.wrt, torch_gradients(case.graph, case.feeds, "loss", case.wrt), strict=True):
        close(wanted[gradient_name("loss", name)], array, name)
    random = Random(seed)
    cutting = random_cutting(random, prepare(graph), random_machine(random, MESHES[seed % 4]))
    found = run_local(cutting.program, case.feeds)
    for name, _ in graph.outputs:
        close(found[name], wanted[name], name)


# No reading that a Builder makes shows a kernel a diagonal, and devices do not take one.
@pytest.mark.parametrize("name", [name for name in MEANINGS if "diagonal" not in name])
def test_kernels_of_gradients_run(name: str) -> None:
    """place, gather, scatter and what torch makes of its operators, on devices."""
    case = MEANINGS[name]
    graph = grad(case.graph, "loss", case.wrt)
    wanted = evaluate(graph, case.feeds)
    random = Random(name)
    found = run_local(random_cutting(random, prepare(graph), random_machine(random, (2, 2))).program, case.feeds)
    for output, _ in graph.outputs:
        close(found[output], wanted[output], output)
