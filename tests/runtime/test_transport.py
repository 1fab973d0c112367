"""Transports: every piece arrives, every byte is counted, and nobody waits for ever."""

import threading
import time
from collections.abc import Callable

import pytest
import torch

from einsplit.errors import RunError
from einsplit.runtime.transport import LinkError
from einsplit.runtime.transport.threads import ThreadHub, ThreadTransport
from tests.runtime.exchanges import check_every_piece_arrives, in_processes


def on_threads(hub: ThreadHub, work: Callable[[ThreadTransport], object]) -> list[object]:
    """What `work` returns or raises on each device."""
    answers: list[object] = [None] * len(hub.transports)

    def run(transport: ThreadTransport) -> None:
        try:
            answers[transport.device] = work(transport)
        except BaseException as error:
            hub.abort(transport.device, error)
            answers[transport.device] = error

    threads = [threading.Thread(target=run, args=(transport,), daemon=True) for transport in hub.transports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return answers


@pytest.mark.parametrize("num_devices", [1, 2, 3, 4, 6])
def test_threads_deliver_every_piece_and_count_every_byte(num_devices):
    answers = on_threads(ThreadHub(num_devices), lambda t: check_every_piece_arrives(t, num_devices))
    assert answers == [None] * num_devices


@pytest.mark.parametrize("num_devices, work", [(1, "deliver"), (3, "deliver"), (2, "deliver by tcp")])
def test_processes_deliver_every_piece_and_count_every_byte(num_devices, work):
    assert in_processes(num_devices, work) == ["delivered"] * num_devices


def test_an_owner_may_overwrite_its_pieces_as_soon_as_its_collective_returns():
    def work(transport):
        seen = []
        block = torch.empty(1000, dtype=torch.int64)
        for turn in range(200):
            block.fill_(10 * turn + transport.device)
            seen.append([piece.clone() for piece in transport.all_gather(block, (0, 1, 2))])
        return all(
            bool((piece == 10 * turn + sender).all())
            for turn, pieces in enumerate(seen)
            for sender, piece in enumerate(pieces)
        )

    assert on_threads(ThreadHub(3), work) == [True, True, True]


def test_when_one_thread_fails_the_others_wake_at_once_and_name_it():
    def work(transport):
        if transport.device == 2:
            time.sleep(0.1)
            raise ZeroDivisionError("nothing left")
        return transport.all_gather(torch.ones(1), (0, 1, 2))

    start = time.monotonic()
    answers = on_threads(ThreadHub(3), work)
    assert time.monotonic() - start < 5
    assert [type(answer) for answer in answers] == [LinkError, LinkError, ZeroDivisionError]
    assert str(answers[0]) == (
        "device 0 was stopped in a collective of devices (0, 1, 2): device 2 failed: nothing left"
    )


def test_a_thread_that_never_comes_is_named_after_the_timeout():
    hub = ThreadHub(3, timeout_seconds=0.3)
    answers = on_threads(hub, lambda t: t.device != 1 and t.all_gather(torch.ones(1), (2, 1, 0)))
    assert hub.failure is not None
    assert str(hub.failure.error) == (
        f"device {hub.failure.device} waited 0.3 s in a collective of devices (2, 1, 0); missing: [1]."
    )
    assert [isinstance(answer, LinkError) for answer in answers] == [True, False, True]


def test_after_a_failure_no_collective_starts_any_more():
    hub = ThreadHub(2)
    hub.abort(1, ValueError("broken"))
    with pytest.raises(LinkError, match="device 1 failed: broken"):
        hub.transports[0].all_gather(torch.ones(1), (0, 1))


def test_pieces_of_different_shape_or_dtype_are_refused():
    dtypes = (torch.float32, torch.float64)
    answers = on_threads(ThreadHub(2), lambda t: t.all_gather(torch.ones(2, dtype=dtypes[t.device]), (0, 1)))
    assert all(isinstance(answer, LinkError) for answer in answers)
    assert any("torch.float32" in str(answer) and "torch.float64" in str(answer) for answer in answers)


@pytest.mark.parametrize("group, num_pieces", [((1, 2), 2), ((0, 1), 3), ((0, 1), 1)])
def test_a_collective_needs_membership_and_one_piece_per_member(group, num_pieces):
    with pytest.raises(RunError, match="one piece per member"):
        ThreadHub(3).transports[0].all_to_all([torch.ones(1)] * num_pieces, group)


def test_a_process_that_leaves_is_noticed_by_the_others():
    *others, last = in_processes(3, "desert")
    assert last == "left"
    assert all("LinkError" in said and "lost an exchange with devices (0, 1, 2)" in said for said in others)


def test_processes_do_not_wait_for_ever_for_one_that_never_comes():
    assert all("LinkError" in said and "could not join 3 devices" in said for said in in_processes(2, "wait in vain"))


def test_processes_on_one_machine_listen_on_the_loopback_only():
    assert in_processes(2, "listen") == ["127.0.0.1"] * 2
