"""`parallelize`: the same function and results, on devices; traced once a shape, parameters sent once a change."""

from __future__ import annotations

import copy
import functools
import gc
import threading
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from einsplit import parallelized
from einsplit.api import plan as make
from einsplit.api import trace
from einsplit.errors import CaptureError, EinsplitError, MachineError, PlanError, RunError
from einsplit.parallelized import MAX_SESSIONS, Parallelized, parallelize, wrapper
from einsplit.parallelized.versions import version_of
from einsplit.runtime.local import LocalSession
from einsplit.solver.machine import cpu


class Net(nn.Module):
    """Two layers, dropout, and attributes of its own."""

    def __init__(self, width=8):
        super().__init__()
        self.config = {"width": width}
        self.first = nn.Linear(width, 16)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(16, 4)

    def forward(self, x, scale=1.0):
        return self.last(self.drop(torch.relu(self.first(x)))) * scale


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def x():
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def counted(monkeypatch):
    """How often there was a trace, a plan and a `put`."""
    counts = {"traces": 0, "plans": 0, "puts": []}

    def counting(name, function):
        def call(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        return call

    put = LocalSession.put

    def counting_put(session, name, tensor):
        counts["puts"].append(name)
        put(session, name, tensor)

    monkeypatch.setattr(wrapper, "capture", counting("traces", wrapper.capture))
    monkeypatch.setattr(wrapper, "make_plan", counting("plans", wrapper.make_plan))
    monkeypatch.setattr(LocalSession, "put", counting_put)
    return counts


def device_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("einsplit-device-")]


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    yield
    gc.collect()
    assert not device_threads()


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------------------------------------ forms


def test_a_module_is_wrapped(net, x):
    with parallelize(net, devices=2) as fast:
        assert isinstance(fast, Parallelized)
        same(fast(x), net(x))


def test_a_function_is_decorated_and_keeps_its_name_and_words(x):
    @parallelize(devices=3, backend="local")
    def shifted(x, by: float = 1.0):
        """Adds."""
        return x + by

    same(shifted(x, by=2.0), x + 2)
    assert (shifted.__name__, shifted.__doc__) == ("shifted", "Adds.")
    assert shifted.__wrapped__(x) is not None and "shifted on cpu-3, local" in repr(shifted)
    shifted.close()


def test_a_method_is_decorated_and_bound(x):
    class Scaling(nn.Module):
        def __init__(self, by):
            super().__init__()
            self.by = nn.Parameter(torch.tensor(by))

        @parallelize(devices=2)
        def forward(self, x):
            return x * self.by

    for by in (2.0, 3.0):
        same(Scaling(by)(x), x * by)
    Scaling.forward.close()


def test_a_lambda_a_partial_and_a_bound_method_are_wrapped(net, x):
    for function in (lambda x: net(x) + 1, functools.partial(net, scale=2.0), net.forward):
        with parallelize(function, devices=2) as fast:
            same(fast(x), function(x))


def test_parallelize_without_a_device_count_asks_for_one(net):
    with pytest.raises(MachineError, match="say how many, such as devices=2"):
        parallelize(net)


def test_a_machine_of_its_own_size_needs_no_device_count(net, x):
    with parallelize(net, machine="cpu-3") as fast, parallelize(net, machine=cpu(4)) as other:
        same(fast(x), other(x))
        assert fast.session(x).program.num_devices == 3


# ------------------------------------------------------------------------------------------------- arguments, results

Pair = namedtuple("Pair", "left right")


@dataclass
class Box:
    inside: torch.Tensor
    label: str = "box"


def test_nested_arguments_and_results_keep_their_structure(x):
    def nested(pair, items, *, box, flag):
        total = pair.left + items["a"][0] + items["a"][1] + box.inside
        return {"pair": Pair(total, pair.right * 2), "list": [total, 3, "text", None], "box": Box(total), "flag": flag}

    arguments = (Pair(x, x + 1), {"a": [x, x * 2]})
    with parallelize(nested, devices=2) as fast:
        found, expected = (f(*arguments, box=Box(x), flag=True) for f in (fast, nested))
    assert type(found["pair"]) is Pair and type(found["box"]) is Box and found["box"].label == "box"
    assert found["list"][1:] == [3, "text", None] and found["flag"] is True
    same(found["pair"], expected["pair"])
    same(found["list"][0], expected["list"][0])
    same(found["box"].inside, expected["box"].inside)


def test_keywords_and_positions_are_the_same_to_it(net, x):
    with parallelize(net, devices=2) as fast:
        same(fast(x=x, scale=2.0), net(x, 2.0))
        same(fast(x, 2.0), net(x, 2.0))


def test_a_result_is_the_callers_own(net, x):
    with parallelize(net, devices=2) as fast, torch.no_grad():
        first = fast(x)
        kept = first.clone()
        fast(x + 1)
        same(first, kept)
        first.zero_()
        same(fast(x), kept)


# ---------------------------------------------------------------------------------------------------------- tracing


def test_a_second_call_of_the_same_shape_is_neither_traced_nor_planned_again(net, x, counted):
    with parallelize(net, devices=2) as fast:
        for k in range(4):
            same(fast(x + k), net(x + k))
    assert (counted["traces"], counted["plans"]) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x: ((x[:4],), {}), id="shape"),
        pytest.param(lambda x: ((x[None],), {}), id="rank"),
        pytest.param(lambda x: ((x, 2.0), {}), id="number"),
        pytest.param(lambda x: ((x, 1), {}), id="whole number for a float"),
        pytest.param(lambda x: ((x, True), {}), id="bool for a float"),
        pytest.param(lambda x: ((x, -0.0), {}), id="negative zero"),
        pytest.param(lambda x: ((x, torch.tensor(2.0)), {}), id="tensor for a number"),
    ],
)
def test_other_arguments_are_traced_anew(change, net, x, counted):
    with parallelize(net, devices=2) as fast:
        fast(x, 1.0)
        args, kwargs = change(x)
        same(fast(*args, **kwargs), net(*args, **kwargs))
        fast(x, 1.0)
    assert counted["traces"] == 2


def test_another_dtype_is_traced_anew(x):
    with parallelize(lambda x: x @ x.T, devices=2) as fast:
        for dtype in (torch.float32, torch.float64, torch.int64):
            found = fast(x.to(dtype))
            same(found, x.to(dtype) @ x.to(dtype).T)
            assert found.dtype == dtype


def test_what_the_original_refuses_is_refused(net, x):
    with parallelize(net, devices=2) as fast:
        with pytest.raises(CaptureError):
            fast(x[:, :5])
        with pytest.raises(CaptureError):
            fast()
        same(fast(x), net(x))


def test_the_training_flag_of_any_part_is_traced_anew(net, x, counted):
    with parallelize(net, devices=2) as fast:
        fast(x)
        net.drop.training = True  # the root's own flag stays
        with pytest.raises(CaptureError):  # random numbers
            fast(x)
        net.eval()
        same(fast(x), net(x))
    assert counted["traces"] == 2


def test_two_modules_given_to_one_function_are_told_apart(x):
    torch.manual_seed(0)
    one, two = nn.Linear(8, 4), nn.Linear(8, 4)
    with parallelize(lambda layer, x: layer(x), devices=2) as fast:
        for layer in (one, two, one):
            same(fast(layer, x), layer(x))


def test_objects_are_told_apart_by_what_they_hold(x, counted):
    class Setting:
        def __init__(self, by):
            self.by = by

    with parallelize(lambda setting, x: x * setting.by, devices=2) as fast:
        for by in (2.0, 3.0, 2.0):
            same(fast(Setting(by), x), x * by)
    assert counted["traces"] == 2


def test_a_tensor_that_a_function_closes_over_is_read_anew(x):
    weight = torch.ones(8, 3)
    with parallelize(lambda x: x @ weight, devices=2) as fast:
        same(fast(x), x @ weight)
        weight.mul_(2)
        same(fast(x), x @ weight)
        weight = torch.full((8, 3), -1.0)
        same(fast(x), x @ weight)


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


def test_an_optimizers_step_is_noticed(net, x, counted):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    with parallelize(net, devices=2) as fast:
        fast(x)
        counted["puts"].clear()
        net(x).sum().backward()
        optimizer.step()
        same(fast(x), net(x))
    assert sorted(counted["puts"]) == sorted(NAMES)


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
    ]
    for change in changes:
        before = version_of(tensor)
        assert version_of(tensor) == before, "reading alone moves it"
        change()
        assert version_of(tensor) != before


# --------------------------------------------------------------------------------------------------------- attributes


def test_attributes_are_those_of_the_module(net, x):
    with parallelize(net, devices=2) as fast:
        assert fast.config == {"width": 8} and fast.first is net.first
        assert list(fast.parameters()) == list(net.parameters()) and fast.state_dict().keys() == net.state_dict().keys()
        assert fast.training is False and fast.eval() is fast and fast.train() is fast and net.training is True
        fast.config = {"width": 9}
        assert net.config == {"width": 9}
        with pytest.raises(AttributeError, match="no attribute 'colour'"):
            fast.colour  # noqa: B018
        assert repr(fast) == "<parallelized Net on cpu-2, local>"


def test_it_can_be_copied_and_asked_for_what_it_has_not(net):
    fast = parallelize(net, devices=2)
    assert copy.copy(fast).first is net.first
    assert not hasattr(Parallelized.__new__(Parallelized), "anything")


# --------------------------------------------------------------------------------------------------------- gradients


def test_going_backward_is_an_error_and_not_a_silent_zero(net, x):
    with parallelize(net, devices=2) as fast:
        found = fast(x)
        assert found.requires_grad and net(x).requires_grad
        with pytest.raises(RunError) as caught:
            (found.sum() + net(x).sum()).backward()
    assert str(caught.value) == (
        "what parallelize makes runs forward only: its results have no gradients.\n"
        "  To train, call the original. Where no gradient is meant to flow, call under torch.no_grad() or detach the "
        "result."
    )


def test_an_argument_that_requires_gradients_makes_the_result_require_them(x):
    with parallelize(lambda x: (x * 2, x.argmax()), devices=2) as fast:
        doubled, place = fast(x.requires_grad_())
        assert doubled.requires_grad and not place.requires_grad
        with pytest.raises(RunError, match="forward only"):
            doubled.sum().backward()
        doubled += 1  # as one may write to the original's
        same(doubled.detach(), x.detach() * 2 + 1)


def test_without_grad_mode_or_anything_that_requires_it_results_are_plain(net, x):
    with parallelize(net, devices=2) as fast:
        with torch.no_grad():
            assert not fast(x).requires_grad
        with torch.inference_mode():
            same(fast(x), net(x))
        net.requires_grad_(False)
        assert not fast(x).requires_grad and fast(x).grad_fn is None


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "options, kind, told",
    [
        ({"devices": 0}, MachineError, "devices=0: at least one device is needed, such as devices=2"),
        ({"devices": -1}, MachineError, "devices=-1: at least one device is needed, such as devices=2"),
        ({"devices": 2.5}, MachineError, "devices=2.5: the number of devices is a whole number, such as devices=2"),
        ({"devices": True}, MachineError, "devices=True: the number of devices is a whole number, such as devices=2"),
        ({"devices": "2"}, MachineError, "devices='2': the number of devices is a whole number, such as devices=2"),
        (
            {"devices": 8, "machine": "cpu-4"},
            MachineError,
            "devices=8: machine 'cpu-4' has 4 (2 x 2); leave the number out to use them all",
        ),
        ({"devices": 8, "machine": cpu(4)}, MachineError, "devices=8: machine 'cpu-4' has 4"),
        ({"machine": "tpu"}, MachineError, "machine 'tpu' is neither a preset (cpu, cpu-N) nor a file"),
        (
            {"machine": ["cpu"]},
            MachineError,
            "a machine is a Machine, a name (cpu-4), a file or a device count, not list",
        ),
        (
            {"devices": 2, "backend": "rai"},
            RunError,
            "unknown backend 'rai': it is one of local, ray. Did you mean 'ray'?",
        ),
        ({"devices": 2, "backend": None}, RunError, "unknown backend None: it is one of local, ray."),
        ({"plan": "none.json"}, PlanError, "plan file none.json cannot be read: No such file or directory"),
        ({"plan": 7}, PlanError, "plan is a Plan or the name of a plan file, not int"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_traced(options, kind, told, net):
    for wrong in (lambda: parallelize(net, **options), lambda: parallelize(**options)):
        with pytest.raises(kind) as caught:
            wrong()
        assert str(caught.value) == told


def test_what_cannot_be_called_is_refused(net):
    def told(thing):
        with pytest.raises(EinsplitError) as caught:
            parallelize(thing, devices=2)
        return str(caught.value)

    assert told(Net) == "parallelize takes a module, not the class Net: parallelize(Net(...), devices=2)"
    assert told("net") == "parallelize takes a function or a module, not str"
    assert told(4) == "parallelize(4): name the device count, parallelize(devices=4)"
    assert told(parallelize(net, devices=2)) == "<parallelized Net on cpu-2, local> is parallelized already"


# -------------------------------------------------------------------------------------------------------------- plans


def test_a_given_plan_or_plan_file_is_used(net, x, counted, tmp_path):
    plan = make(trace(net, x), 3, method="data-parallel")
    plan.save(tmp_path / "plan.json")
    for given in (plan, tmp_path / "plan.json", str(tmp_path / "plan.json")):
        with parallelize(net, plan=given) as fast:
            same(fast(x), net(x))
            assert fast.plan(x) == plan and fast.session(x).program.num_devices == 3
    assert counted["plans"] == 0


def test_a_plan_for_another_shape_says_so_and_what_the_call_has(net, x):
    with parallelize(net, plan=make(trace(net, x), 2)) as fast:
        with pytest.raises(PlanError) as caught:
            fast(x[:3])
        same(fast(x), net(x))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("this plan was made for another graph: it is for '")
    assert lines[1:] == [
        "  The model, its shapes or its dtypes have changed: plan again.",
        "  This call has x float32 [3, 8].",
    ]


def test_a_plan_says_for_which_machine(net, x):
    plan = make(trace(net, x), 2)
    for options, told in [
        ({"devices": 4}, "devices=4: the plan is for 2; leave devices out"),
        ({"machine": "cpu-3"}, "the plan is for machine 'cpu-2', which is not the machine given: leave machine out"),
    ]:
        with pytest.raises(EinsplitError) as caught:
            parallelize(net, plan=plan, **options)
        assert str(caught.value) == told
    parallelize(net, plan=plan, devices=2, machine=cpu(2))


def test_plan_shows_the_plan_of_a_call_and_runs_nothing(net, x):
    fast = parallelize(net, devices=2)
    assert str(fast.plan(x)).startswith("plan for cpu-2 (cpu:2), by sweep\n")
    assert not device_threads()


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
