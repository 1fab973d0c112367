"""Predicted bytes are moved bytes: per device, per collective, and in all as the transport counted them."""

from __future__ import annotations

from collections import Counter
from random import Random

from einsplit.solver.prepare import prepare
from einsplit.solver.program import Program
from tests.support.cuttings import MESHES, random_cutting, random_machine, run_local
from tests.support.graphs import Case, random_case
from tests.support.prices import program_bytes, sent


def communicating(num_programs: int) -> list[tuple[Case, Program]]:
    found: list[tuple[Case, Program]] = []
    random = Random(0)
    while len(found) < num_programs:
        case = random_case(random, exact=False, num_nodes=5)
        machine = random_machine(random, MESHES[len(found) % len(MESHES)])
        program = random_cutting(random, prepare(case.graph), machine).program
        if len(program.collectives) > 1:
            found.append((case, program))
    return found


def test_predicted_bytes_are_moved_bytes_in_fifty_random_programs():
    met: Counter[str] = Counter()
    for case, program in communicating(50):
        run_local(program, case.feeds)  # holds every device's counters against the prediction
        assert sum(program.predicted_bytes(c) for c in program.collectives) == program_bytes(program)
        assert all(program.predicted_bytes(c) == sent(program, c)[0] for c in program.collectives)
        met.update(c.kind for c in program.collectives if program.predicted_bytes(c) > 0)
    assert set(met) == {"reduce_scatter", "all_to_all", "all_reduce", "all_gather"}, met
