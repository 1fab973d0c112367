"""`parallelize`: the same function and the same results, on devices; traced once for each kind of call."""

from __future__ import annotations

import copy
import functools
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from einsplit.errors import CaptureError, MachineError
from einsplit.parallelized import Parallelized, parallelize
from einsplit.solver.machine import cpu
from tests.doors.parallelize.nets import same

pytestmark = pytest.mark.usefixtures("no_device_threads")

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
    net.drop.p = 1.0
    with parallelize(net, devices=2) as fast:
        same(fast(x), net(x))
        net.drop.training = True  # the root's own flag stays
        same(fast(x), net(x))
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
