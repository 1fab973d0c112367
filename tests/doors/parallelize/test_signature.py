"""Which calls share a trace: those that torch.export could not tell apart, whichever tensors are one tensor."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from einsplit.errors import CaptureError
from einsplit.parallelized import parallelize
from tests.doors.parallelize.nets import same

pytestmark = pytest.mark.usefixtures("no_device_threads")

A, B, C = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([5.0, 7.0, 9.0]), torch.tensor([11.0, 13.0, 17.0])
SQUARE = torch.arange(4.0).reshape(2, 2)

# ------------------------------------------------------------------------------------------------ tensors that are one


def test_a_call_with_one_tensor_twice_is_traced_as_with_two(counted):
    with parallelize(lambda q, k: q - 2 * k, devices=2) as fast:
        for q, k in [(A, A), (A, B), (B, B), (A, A.view(3)), (B, A)]:
            same(fast(q, k), q - 2 * k)
    assert counted["traces"] == 1


def test_one_tensor_at_two_places_of_a_container_is_traced_as_two(counted):
    with parallelize(lambda pair, *, other: pair[0] + 2 * pair[1] + 4 * other["x"], devices=2) as fast:
        for first, second, third in [(A, A, A), (A, B, A), (A, B, C)]:
            same(fast([first, second], other={"x": third}), first + 2 * second + 4 * third)
    assert counted["traces"] == 1


def test_an_argument_that_is_a_parameter_is_traced_as_another_tensor():
    layer = nn.Linear(4, 4)
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    with parallelize(layer, devices=2) as fast:
        for given in (layer.weight, nn.Parameter(x), layer.weight):
            same(fast(given), layer(given))


def test_an_argument_that_the_function_closes_over_is_traced_as_another_tensor(counted):
    with parallelize(lambda x: x * C, devices=2) as fast:
        for x in (C, A):
            same(fast(x), x * C)
    assert counted["traces"] == 1


def test_one_tensor_twice_among_attributes_of_a_module_is_read_once():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    with parallelize(net, devices=2) as fast:
        for x in (A[None], net[0].weight.detach()):
            same(fast(x), net(x))


# -------------------------------------------------------------------------------------------------- what export sees


def test_other_strides_are_traced_anew():
    def columns(x):
        return x.flatten() * 2 if x.is_contiguous() else x.t().flatten() * 3

    with parallelize(columns, devices=2) as fast:
        for x in (SQUARE, SQUARE.t(), SQUARE, SQUARE[:1].expand(2, 2)):
            same(fast(x), columns(x))


@pytest.mark.parametrize("first", [True, False])
def test_memory_behind_a_view_is_read_of_whole_tensors_only_whichever_came_first(first):
    longer = torch.arange(6.0)
    with parallelize(lambda x: x.as_strided((2, 2), (1, 2)) + 0, devices=2) as fast:
        for x in (SQUARE, SQUARE.t(), longer[2:].view(2, 2))[:: 1 if first else -1]:
            if x is SQUARE:
                same(fast(x), SQUARE.t())
            else:
                with pytest.raises(CaptureError, match="reads memory behind a view"):
                    fast(x)


def test_whether_an_argument_requires_gradients_is_traced_anew():
    def by_flag(x):
        return x * 2 if x.requires_grad else x * 3

    with parallelize(by_flag, devices=2) as fast:
        for x in (A, A.clone().requires_grad_(), A):
            same(fast(x).detach(), by_flag(x).detach())


def test_a_function_is_traced_with_gradients_enabled_and_one_session_serves_both_modes():
    with parallelize(lambda x: x * 2 if torch.is_grad_enabled() else x * 3, devices=2) as fast:
        same(fast(A), A * 2)
        session = fast.session(A)
        with torch.no_grad():
            same(fast(A), A * 2)
            assert fast.session(A) is session


def test_whether_a_parameter_requires_gradients_is_traced_anew():
    layer = nn.Linear(3, 3)
    with parallelize(lambda x: layer(x) * (2 if layer.weight.requires_grad else 3), devices=2) as fast:
        for flag, by in ((True, 2), (False, 3)):
            layer.requires_grad_(flag)
            same(fast(A), layer(A) * by)


@pytest.mark.parametrize("lazy", [lambda z: z.conj(), lambda z: z.conj().imag], ids=["conjugate", "negative"])
def test_a_conjugate_is_refused_whatever_was_called_before(lazy):
    z = torch.tensor([1 + 2j, 3j])
    with parallelize(lambda z: z * 2, devices=2) as fast:
        same(fast(z), z * 2)
        same(fast(lazy(z).resolve_conj().resolve_neg()), lazy(z) * 2)
        with pytest.raises(CaptureError, match=r"Pass z.resolve_conj\(\).resolve_neg\(\)"):
            fast(lazy(z))


def test_batches_that_are_parts_of_one_tensor_are_one_trace(counted):
    rows = torch.arange(24.0).reshape(8, 3)
    with parallelize(lambda x: x * 2, devices=2) as fast:
        for batch in rows.split(2):
            same(fast(batch), batch * 2)
    assert counted["traces"] == 1


def test_a_parameter_that_is_laid_out_anew_is_noticed(x):
    layer = nn.Linear(8, 8)
    with parallelize(layer, devices=2) as fast:
        same(fast(x), layer(x))
        layer.weight.data = layer.weight.data.t()
        same(fast(x), layer(x))
