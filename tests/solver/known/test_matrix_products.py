"""A product of matrices over a mesh: the more copies memory allows, the fewer bytes move (Solomonik, Demmel 2011).

With m, n << k on P devices and c copies of the operands, k is cut by P / c devices, whose m x n / c addends each are
reduced: (P / c - 1) / (P / c) * m n / c elements are sent by each device, none where every device has a whole k.
"""

from __future__ import annotations

import pytest

from einsplit.errors import PlanError
from einsplit.graph import Graph
from tests.solver.known.cases import ITEMSIZE, Found, Net, acted, machine, planned
from tests.support.spelled import spelled

ROWS, DEPTH, COLUMNS = 64, 1024, 64
RESULT = (ROWS, COLUMNS)


def long_product() -> Graph:
    net = Net()
    left, right = net.weight("left", ROWS, DEPTH), net.weight("right", DEPTH, COLUMNS)
    return net.inference(spelled("m k, k n -> m n", left, right, name="product"))


def numbers_of_pieces(found: Found) -> dict[str, int]:
    """Into how many pieces m, k and n are cut at the product."""
    labels = [found.solution.problem.graph.nodes[found.graph.inputs[name]].dims for name in ("left", "right")]
    named = {"m": labels[0][0][0], "k": labels[0][1][0], "n": labels[1][1][0]}
    sizes, cut = found.plan.machine.sizes, found.cut("product")
    found_pieces = dict.fromkeys(named, 1)
    for name, label in named.items():
        for size, choice in zip(sizes, cut, strict=True):
            found_pieces[name] *= size if choice == label else 1
    return found_pieces


@pytest.mark.parametrize("mesh", [(2, 4), (2, 2, 2)], ids=str)
def test_the_less_memory_the_fewer_copies_and_the_more_bytes(mesh: tuple[int, ...]) -> None:
    graph, on = long_product(), machine(*mesh)
    found, steps = planned(graph, on), []
    while True:
        pieces = numbers_of_pieces(found)
        copies = 8 // pieces["k"]
        sent = (pieces["k"] - 1) * (ROWS * COLUMNS // copies // pieces["k"]) * ITEMSIZE
        assert found.plan.bytes == found.nbytes(*RESULT) == sent
        assert found.rests("left") == ROWS * DEPTH // (pieces["m"] * pieces["k"])
        assert found.rests("right") == DEPTH * COLUMNS // (pieces["n"] * pieces["k"])
        steps.append((found.plan.seconds, pieces["k"]))
        try:
            found = planned(graph, on, memory_bytes=found.plan.peak_bytes - 1)
        except PlanError:
            break
    assert steps == sorted(steps)
    assert [depth for _, depth in steps if depth > 1] == [2, 4, 8]  # 4, 2 and 1 copies of what the product reads
    assert found.rests("left") + found.rests("right") == (ROWS + COLUMNS) * DEPTH // 8


SIZE = 64


def square_product() -> Graph:
    """Of matrices that are themselves made, so that a copy has its price, and whose product is read."""
    net = Net()
    left, right = (
        spelled("i r, r j -> i j", net.weight(f"{name}0", SIZE, 3), net.weight(f"{name}1", 3, SIZE), name=name)
        for name in ("left", "right")
    )
    return net.inference(acted("m n", spelled("m k, k n -> m n", left, right, name="product")))


def test_a_square_product_over_a_cube_of_devices_cuts_all_three_labels() -> None:
    """Agarwal et al. 1995: each device is given two blocks of a quarter, of which it has an eighth, and gives one."""
    found = planned(square_product(), machine(2, 2, 2, flops_per_second=1e9))
    assert len({*found.cut("product"), None}) == 4
    assert sorted(found.kinds(SIZE, SIZE).items()) == [("all_gather", 2), ("reduce_scatter", 1)]
    assert found.plan.bytes == 3 * SIZE * SIZE // 8 * ITEMSIZE
