"""`parallelize` keeps its devices between calls, and sends them a parameter once for each change."""

from __future__ import annotations

import gc
import threading

import pytest
import torch
from torch import nn

from einsplit import parallelized
from einsplit.errors import CaptureError
from einsplit.parallelized import MAX_SESSIONS, parallelize
from einsplit.parallelized.versions import version_of
from einsplit.runtime.local import LocalSession
from tests.doors.parallelize.nets import device_threads, same

pytestmark = pytest.mark.usefixtures("no_device_threads")

# ---------------------------------------------------------------------------------------------------------- sessions


def test_at_most_so_many_sessions_are_alive_and_the_oldest_goes_first(net, counted):
    with parallelize(net, devices=2) as fast:
        for size in range(1, MAX_SESSIONS + 3):
            fast(torch.ones(size, 8))
            assert len(device_threads()) == 2 * min(size, MAX_SESSIONS)
        traces = counted["traces"]
        same(fast(torch.ones(1, 8)), net(torch.ones(1, 8)))  # its session has gone, its program has not
        assert counted["traces"] == traces and len(device_threads()) == 2 * MAX_SESSIONS


def test_close_stops_the_devices_and_a_later_call_starts_them_again(net, x, counted):
    fast = parallelize(net, devices=2)
    with fast:
        fast(x)
        assert len(device_threads()) == 2
    assert not device_threads()
    fast.close()
    same(fast(x), net(x))
    assert counted["traces"] == 1 and len(device_threads()) == 2
    fast.close()


def test_one_that_is_forgotten_stops_its_devices(net, x):
    parallelize(net, devices=2)(x)
    gc.collect()
    assert not device_threads()


def test_a_failed_step_ends_its_session_and_the_next_call_starts_another(net, x, monkeypatch):
    with parallelize(net, devices=2) as fast:
        fast(x), fast(x[:3])
        dying = fast.session(x)
        with monkeypatch.context() as patch:
            patch.setattr(LocalSession, "_step_blocks", lambda *rest: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                fast(x)
        same(fast(x), net(x))
        assert fast.session(x) is not dying and len(device_threads()) == 4


# -------------------------------------------------------------------------------------------------------- parameters

NAMES = ["first.weight", "first.bias", "last.weight", "last.bias"]


def test_parameters_are_sent_once_and_again_only_when_they_have_changed(net, x, counted):
    puts = counted["puts"]
    with parallelize(net, devices=2) as fast, torch.no_grad():
        fast(x), fast(x)
        assert sorted(puts) == sorted(NAMES)
        puts.clear()
        net.first.weight.mul_(2)
        same(fast(x), net(x))
        assert puts == ["first.weight"]
        puts.clear()
        net.load_state_dict({name: torch.randn_like(tensor) for name, tensor in net.state_dict().items()})
        same(fast(x), net(x))
        assert sorted(puts) == sorted(NAMES)
    assert counted["traces"] == 1


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad])
@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}], ids=["plain", "foreach", "fused"])
def test_an_optimizers_step_is_noticed(kind, options, net, x, counted):
    optimizer = kind(net.parameters(), lr=0.1, **options)
    with parallelize(net, devices=2) as fast:
        fast(x)
        counted["puts"].clear()
        net(x).sum().backward()
        optimizer.step()
        same(fast(x), net(x))
    assert sorted(counted["puts"]) == sorted(NAMES)


def test_a_step_of_a_fused_optimizer_sends_what_has_gradients(net, x, counted):
    net.first.requires_grad_(False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, fused=True)
    with parallelize(net, devices=2) as fast:
        fast(x)
        counted["puts"].clear()
        net(x).sum().backward()
        optimizer.step()
        same(fast(x), net(x))
        same(fast(x), net(x))
    assert sorted(counted["puts"]) == ["last.bias", "last.weight"]


def test_parameters_of_inference_mode_count_no_writes_and_are_sent_every_time(x, counted):
    with torch.inference_mode():
        layer = nn.Linear(8, 4).requires_grad_(False)
    with parallelize(layer, devices=2) as fast:
        same(fast(x), layer(x))
        with torch.inference_mode():
            layer.weight.mul_(2)
        same(fast(x), layer(x))
    assert sorted(counted["puts"]) == ["bias", "bias", "weight", "weight"]


def test_parameters_of_inference_mode_that_require_gradients_are_read_inside_it_only(x):
    with torch.inference_mode():
        layer = nn.Linear(8, 4)
    with parallelize(layer, devices=2) as fast:
        with torch.inference_mode():
            same(fast(x), layer(x))
        with torch.no_grad(), pytest.raises(CaptureError) as caught:
            fast(x)
    assert str(caught.value) == (
        "the function reads a parameter that was made under torch.inference_mode, and requires gradients\n"
        "  Make the module outside torch.inference_mode, or call it there."
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda net: setattr(net, "last", nn.Linear(16, 4)), id="module"),
        pytest.param(lambda net: setattr(net.last, "weight", nn.Parameter(torch.randn(4, 16))), id="parameter"),
        pytest.param(lambda net: setattr(net.last.weight, "data", torch.randn(4, 16)), id="data"),
        pytest.param(lambda net: setattr(net, "last", nn.Linear(16, 5)), id="module of another size"),
        pytest.param(
            lambda net: net.load_state_dict({k: torch.randn_like(v) for k, v in net.state_dict().items()}, assign=True),
            id="assigned state",
        ),
    ],
)
def test_exchanged_parameters_are_noticed(change, net, x):
    with parallelize(net, devices=2) as fast:
        fast(x)
        change(net)
        same(fast(x), net(x))


def test_a_change_of_dtype_is_noticed(net, x):
    with parallelize(net, devices=2) as fast:
        fast(x)
        same(fast.double()(x.double()), net(x.double()))
        assert net.first.weight.dtype == torch.float64


def test_versions_move_with_every_kind_of_change_that_torch_counts():
    tensor = torch.zeros(4)
    changes = [
        lambda: tensor.add_(1),
        lambda: tensor.copy_(torch.ones(4)),
        lambda: tensor.__setitem__(0, 5.0),
        lambda: tensor[1:].zero_(),
        lambda: torch.add(tensor, 1, out=tensor),
        lambda: nn.init.normal_(tensor),
        lambda: tensor.resize_(2),
        lambda: setattr(tensor, "data", torch.ones(2)),
        lambda: setattr(tensor, "data", torch.ones(2, 2)),
        lambda: setattr(tensor, "data", tensor.data.t()),
    ]
    for change in changes:
        before = version_of(tensor)
        assert version_of(tensor) == before, "reading alone moves it"
        change()
        assert version_of(tensor) != before


# ------------------------------------------------------------------------------------------------------------ threads


def test_calls_from_several_threads_run_one_after_the_other(net, x, counted):
    found = {}
    with parallelize(net, devices=2) as fast, torch.no_grad():

        def work(number):
            found[number] = [fast(x[: 2 + (number + step) % 3] + number) for step in range(6)]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number, results in found.items():
            for step, result in enumerate(results):
                same(result, net(x[: 2 + (number + step) % 3] + number))
    assert len(found) == 4 and counted["traces"] == 3


def test_the_package_offers_what_the_doors_need():
    assert parallelized.__all__ == ["MAX_SESSIONS", "Parallelized", "parallelize"]
