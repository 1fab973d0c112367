"""A session on threads, and what every session does at its door."""

import gc
import threading
import time

import pytest
import torch

from einsplit.errors import RunError
from einsplit.runtime import local, session
from tests.runtime.fakes import FakeExecutor, FakeProgram, fake_assemble, fake_cut

FEEDS = {"x": torch.arange(6.0)}
DOUBLED = [0, 2, 4, 6, 8, 10]


@pytest.fixture
def open_session(monkeypatch):
    monkeypatch.setattr(session, "cut", fake_cut)
    monkeypatch.setattr(session, "assemble", fake_assemble)
    monkeypatch.setattr(local, "Executor", FakeExecutor)

    def open_session(num_devices, trouble="none", *, put=True, **options):
        opened = local.LocalSession(FakeProgram(num_devices, trouble, at_step=2, seconds=1.5), **options)
        if put:
            opened.put("w", torch.tensor(2.0))
        return opened

    return open_session


def device_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("einsplit-device-")]


@pytest.mark.parametrize("num_devices", [1, 2, 3, 6])
def test_feeds_are_cut_and_fetches_are_whole(open_session, num_devices):
    with open_session(num_devices) as opened:
        assert [opened.step(FEEDS)["y"].tolist() for _ in range(3)] == [DOUBLED] * 3
        sent_to_each = FEEDS["x"].nbytes // num_devices
        assert [one.bytes_sent for one in opened.traffic] == [sent_to_each * (num_devices - 1)] * num_devices


def test_parameters_are_kept_between_steps_and_may_be_put_again(open_session):
    with open_session(2) as opened:
        opened.step(FEEDS)
        opened.put("w", torch.tensor(3.0))
        assert opened.step(FEEDS)["y"].tolist() == [0, 3, 6, 9, 12, 15]
        assert opened.state()["w"].item() == 3


def test_a_session_shares_no_storage_with_what_it_was_given_or_returns(open_session):
    weight = torch.tensor([2.0])
    with open_session(1, put=False) as opened:
        opened.put("w", weight)
        weight.zero_()
        opened.state()["w"].zero_()
        assert opened.step(FEEDS)["y"].tolist() == DOUBLED


def test_a_parameter_that_requires_gradients_is_taken_as_it_is(open_session):
    with open_session(2, put=False) as opened:
        opened.put("w", torch.nn.Parameter(torch.tensor(2.0)))
        y = opened.step({"x": FEEDS["x"].clone().requires_grad_()})["y"]
        assert y.tolist() == DOUBLED and not y.requires_grad


def test_each_device_has_one_thread_and_the_callers_number_is_unharmed(open_session):
    def number_of_a_new_thread():
        found = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return found[0]

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with open_session(2) as opened:
            torch.ones(300, 300) @ torch.ones(300, 300)  # torch settles a thread's number when it first computes
            opened.step(FEEDS)  # the fake executor refuses to run on more than one
            assert (torch.get_num_threads(), number_of_a_new_thread()) == (3, 3)
        assert (torch.get_num_threads(), number_of_a_new_thread()) == (3, 3)
    finally:
        torch.set_num_threads(before)


def test_a_failing_device_is_named_with_step_and_message_and_ends_the_session(open_session):
    opened = open_session(3, "raise")
    opened.step(FEEDS)
    start = time.monotonic()
    with pytest.raises(RunError) as caught:
        opened.step(FEEDS)
    assert time.monotonic() - start < 5
    assert str(caught.value) == "device 1 failed in step 2: ZeroDivisionError: nothing left"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    for use in (lambda: opened.step(FEEDS), lambda: opened.put("w", torch.ones(())), opened.state):
        with pytest.raises(RunError) as again:
            use()
        assert str(again.value) == (
            "this session can run no more: it ended in step 2 "
            "(device 1 failed in step 2: ZeroDivisionError: nothing left). Start a new one."
        )
    assert device_threads() == []


def test_a_program_that_cannot_be_loaded_is_told_at_once(open_session):
    with pytest.raises(RunError, match="device 1 failed in loading the program: ValueError: no such kernel"):
        open_session(2, "raise in init")


def test_a_device_that_hangs_is_missed_after_the_timeout(open_session):
    opened = open_session(2, "sleep", timeout_seconds=0.5)
    opened.step(FEEDS)
    with pytest.raises(RunError, match="step 2"):
        opened.step(FEEDS)


def test_a_closed_session_says_so(open_session):
    with open_session(2) as opened:
        pass
    opened.close()
    assert device_threads() == []
    with pytest.raises(RunError, match=r"^this session can run no more: it was closed\. Start a new one\.$"):
        opened.step(FEEDS)


def test_a_forgotten_session_ends_its_threads(open_session):
    opened = open_session(2)
    del opened
    gc.collect()
    assert device_threads() == []


@pytest.mark.parametrize(
    "feeds, message",
    [
        ({}, "missing feeds: x; give every feed in every step."),
        (
            {"x": torch.ones(6), "xs": torch.ones(6)},
            "the program has no feed 'xs'. Did you mean 'x'?\n  its feeds: x",
        ),
        ({"x": torch.ones(6), "q": torch.ones(6)}, "the program has no feed 'q'.\n  its feeds: x"),
    ],
)
def test_wrong_feeds_are_refused_and_the_session_lives(open_session, feeds, message):
    with open_session(2) as opened:
        with pytest.raises(RunError) as caught:
            opened.step(feeds)
        assert str(caught.value) == message
        assert opened.step(FEEDS)["y"].tolist() == DOUBLED


def test_parameters_must_be_known_and_all_be_put(open_session):
    with open_session(2, put=False) as opened:
        with pytest.raises(RunError, match=r"^missing parameters: w; put them before the first step\.$"):
            opened.step(FEEDS)
        with pytest.raises(RunError, match=r"^the program has no parameter 'x'\.\n  its parameters: w$"):
            opened.put("x", torch.ones(()))
