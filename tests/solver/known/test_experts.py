"""Experts on devices of their own, tokens sent to them and back by all-to-alls (Lepikhin et al. 2020)."""

from __future__ import annotations

from einsplit.graph import Graph
from tests.solver.known.cases import Net, acted, expert_seconds, machine, planned, squares
from tests.support.spelled import spelled

# No mesh axis of 4 can cut a width of 7.
BATCH, SEQUENCE, EXPERTS, PLACES, WIDTH, HIDDEN = 4, 64, 4, 8, 7, 64
GIVEN = 96  # features of a token before the first layer
SENT = (BATCH, EXPERTS, PLACES, WIDTH)


def experts() -> Graph:
    """A train step: a layer for every token, then experts, which tokens reach by given shares of each place."""
    net = Net()
    raw, share = net.data("x", BATCH, SEQUENCE, GIVEN), net.data("share", BATCH, SEQUENCE, EXPERTS, PLACES)
    x = acted("b s a", spelled("b s d, d a -> b s a", raw, net.weight("first", GIVEN, WIDTH), name="first.out"))
    sent = spelled("b s a, b s e c -> b e c a", x, share, name="sent")
    up = spelled("b e c a, e a f -> b e c f", sent, net.weight("up", EXPERTS, WIDTH, HIDDEN), name="up.out")
    made = acted("b e c f", up)
    back = spelled("b e c f, e f a -> b e c a", made, net.weight("down", EXPERTS, HIDDEN, WIDTH), name="down.out")
    y = spelled("b s e c, b e c a -> b s a", share, back, name="y")
    return net.step(squares("b s a", y))


def test_experts_are_cut_and_tokens_go_to_them_and_back_by_all_to_alls() -> None:
    graph, on = experts(), machine(4)
    found = planned(graph, on)
    assert found.is_optimal
    assert found.cut("first.out") == found.cut("sent") == found.cut("y") == found.cut("x")  # by the batch
    (expert,) = set(found.cut("up.out"))
    assert expert is not None and found.cut("down.out") == (expert,) != found.cut("x")
    assert found.rests("up") == found.rests("down") == WIDTH * HIDDEN  # one expert on each device
    assert found.kinds(*SENT) == {"all_to_all": 4}  # there and back, and likewise their gradients
    piece = BATCH * EXPERTS * PLACES * WIDTH // 16 * 4
    assert found.nbytes(*SENT) == 4 * 3 * piece
    assert not found.kinds(EXPERTS, WIDTH, HIDDEN) and not found.kinds(EXPERTS, HIDDEN, WIDTH)


def test_expert_parallel_by_hand_is_no_cheaper() -> None:
    graph, on = experts(), machine(4)
    seconds = planned(graph, on).plan.seconds
    assert seconds <= expert_seconds("expert-parallel", graph, on) * (1 + 1e-9)
    assert seconds < 0.95 * expert_seconds("data-parallel", graph, on)
