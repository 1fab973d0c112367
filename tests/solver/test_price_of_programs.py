"""The price of a plan is the price of its Program: of what is run, instruction by instruction."""

from __future__ import annotations

from random import Random

import pytest

from einsplit.solver.prepare import prepare
from einsplit.solver.problem.memo import Memo
from tests.support.cuttings import MESHES, random_cutting, random_machine
from tests.support.graphs import random_case
from tests.support.prices import program_bytes, program_seconds


@pytest.mark.parametrize("mesh", MESHES, ids=str)
def test_the_solver_and_an_independent_pass_over_the_program_agree(mesh):
    random = Random(sum(mesh))
    for _ in range(100):
        graph = prepare(random_case(random, exact=random.random() < 0.5, num_nodes=6).graph)
        machine = random_machine(random, mesh)
        memo = Memo(graph, machine)  # shared, as in a search: prices kept by content must not be taken for others
        for _ in range(3):
            cutting = random_cutting(random, graph, machine, memo)
            price, program = cutting.problem.price(cutting.shardings), cutting.program
            assert price.seconds == pytest.approx(program_seconds(program, machine), rel=1e-9, abs=0.0), cutting
            assert price.bytes_sent == program_bytes(program), cutting
