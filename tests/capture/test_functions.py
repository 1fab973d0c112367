"""Whatever can be called is captured: closures, partials, methods, modules in lists, users' own operators."""

from __future__ import annotations

import functools
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import einsplit
from einsplit.capture import capture
from einsplit.capture.export import export
from einsplit.graph import Einsum, Kernel
from tests.capture.driver import check, kernels
from tests.capture.tensors import real

X = real(4, 6)
Pair = namedtuple("Pair", "left right")


@pytest.fixture(scope="module")
def linear() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(6, 6)


class Model:
    """No module, but it has one."""

    def __init__(self, layer: torch.nn.Module) -> None:
        self.layer = layer

    def __call__(self, x: Tensor) -> Tensor:
        return self.layer(x) * 2

    def half(self, x: Tensor) -> Tensor:
        return self.layer(x) / 2


@dataclass(frozen=True)
class Result:
    value: Tensor
    name: str
    parts: tuple[Tensor, ...]


class Slotted:
    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def apply(layer: torch.nn.Module, x: Tensor) -> Tensor:
    return layer(x)


def add_scaled(x: Tensor, y: Tensor, *, scale: float = 1.0) -> Tensor:
    return x + y * scale


def test_parameters_are_inputs_by_their_own_names_however_the_module_is_reached(linear: torch.nn.Linear) -> None:
    owner = Model(linear)
    for function, args in (
        (linear, (X,)),
        (lambda x: linear(x), (X,)),
        (functools.partial(apply, linear), (X,)),
        (owner.half, (X,)),
        (owner, (X,)),
        (linear.forward, (X,)),
        (apply, (linear, X)),
    ):
        captured = check(function, *args, meshes=((2,),), random_seeds=())
        assert captured.tensors == {"weight": linear.weight, "bias": linear.bias}


def test_several_modules_are_told_apart(linear: torch.nn.Linear) -> None:
    other = torch.nn.ModuleDict({"inner": linear, "outer": torch.nn.Linear(6, 3)})
    captured = check(lambda x: other["outer"](other["inner"](x)), X, meshes=((2,),), random_seeds=())
    assert set(captured.tensors) == {"inner.weight", "inner.bias", "outer.weight", "outer.bias"}
    single = torch.nn.Linear(6, 6)
    captured = check(lambda x: single(linear(x)), X, meshes=((2,),), random_seeds=())
    assert set(captured.tensors) == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_an_argument_may_have_the_name_of_a_parameter(linear: torch.nn.Linear) -> None:
    def function(weight: Tensor, constant_0: Tensor) -> Tensor:
        return linear(weight) + constant_0 + torch.tensor([1.0, 5.0, 2.0, 0.0, 3.0, 9.0])

    captured = check(function, X, real(6), meshes=((2,),), random_seeds=())
    assert captured.feeds == ("weight", "constant_0")
    assert set(captured.tensors) == {"weight_2", "bias", "constant_1"}


def test_arguments_are_named_by_parameter_and_place() -> None:
    def function(x: Tensor, *rest: Tensor, scale: Tensor, more: dict[str, list[Tensor]]) -> Tensor:
        return x + rest[0] + rest[1] * scale + more["bias"][0]

    kwargs = {"scale": real(1), "more": {"bias": [real(6)]}}
    captured = check(function, X, X, X, kwargs=kwargs, meshes=((2,),), random_seeds=())
    assert captured.feeds == ("x", "arg1", "arg2", "scale", "more.bias.0")


def test_keywords_and_defaults_are_bound_as_python_binds_them() -> None:
    check(functools.partial(add_scaled, scale=0.5), X, kwargs={"y": X}, meshes=((2,),), random_seeds=())
    check(add_scaled, kwargs={"x": X, "y": X, "scale": 3.0}, meshes=((2,),), random_seeds=())
    with pytest.raises(Exception, match="missing 1 required positional argument: 'y'"):
        capture(add_scaled, (X,), {})


def test_results_come_back_in_the_types_they_were_returned_in() -> None:
    def function(x: Tensor) -> object:
        return {
            "a": x + 1,
            "b": (x, None, 3, "text", [x.sum(), 2.5]),
            "c": Pair(x * 2, 7),
            "d": OrderedDict(z=x, y=True),
            "e": Result(x * 3, "name", (x, x)),
            4: x.shape,
        }

    check(function, X, meshes=((2,),), random_seeds=())


def test_objects_go_in_and_come_out_as_copies() -> None:
    slotted = Slotted(X)

    def function(box: Slotted) -> Slotted:
        box.tensor = box.tensor * 2
        return box

    captured = capture(function, (slotted,), {})
    found = captured.rebuild({"output": X + 1})
    assert isinstance(found, Slotted) and torch.equal(found.tensor, X + 1)
    assert found is not slotted and slotted.tensor is X


def test_an_object_that_stands_twice_in_a_result_comes_back_once() -> None:
    def function(x: Tensor) -> list[object]:
        parts = [x * 2]
        return [parts, parts]

    first, second = capture(function, (X,), {}).rebuild({"output": X})  # type: ignore[misc]
    assert first is second


@torch.library.custom_op("einsplit_tests::thirds", mutates_args=())
def thirds(x: Tensor, count: int) -> list[Tensor]:
    return [part.clone() for part in x.chunk(count, -1)]


@thirds.register_fake
def _(x: Tensor, count: int) -> list[Tensor]:
    return [torch.empty_like(part) for part in x.chunk(count, -1)]


class Cubed(torch.autograd.Function):
    """Its backward pass is no gradient; its forward pass counts here."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * x * x

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad * 0


def test_a_users_operator_runs_as_a_whole_kernel() -> None:
    captured = check(lambda x: thirds(x * 2, 3)[1] + 1, X, meshes=((2, 2),), random_seeds=(0, 1))
    (kernel,) = (node for node in captured.graph.nodes if isinstance(node, Kernel))
    assert kernel.kernel == "aten" and '"op":"einsplit_tests.thirds.default"' in kernel.attributes


def test_a_users_autograd_function_is_its_forward_pass() -> None:
    assert kernels(check(lambda x: Cubed.apply(x), X, meshes=((2,),), random_seeds=())) == []


def test_loops_recursion_and_comprehensions_unroll() -> None:
    def power(x: Tensor, n: int) -> Tensor:
        return x if n == 1 else x * power(x, n - 1)

    check(lambda x: sum(power(x, n) for n in range(1, 5)), X, meshes=((2,),), random_seeds=())


def test_numbers_that_are_arguments_choose_what_is_computed() -> None:
    def function(x: Tensor, deep: bool) -> Tensor:
        return x * 2 if deep else x + 1

    for deep in (True, False):
        check(function, X, deep, meshes=((2,),), random_seeds=())


def test_regions_without_gradients_and_with_autocast_are_what_they_compute() -> None:
    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            y = x.softmax(-1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = y @ x.t()
        with torch.inference_mode(False), torch.autocast("cpu", enabled=False):
            return y, z

    check(function, X, meshes=((2,),), random_seeds=())


def test_source_lines_and_names_tell_where_a_node_comes_from(linear: torch.nn.Linear) -> None:
    def function(x: Tensor) -> Tensor:
        return F.softmax(linear(x), -1)

    nodes = [node for node in capture(function, (X,), {}).graph.nodes if isinstance(node, Einsum)]
    assert [node.name for node in nodes] == [
        "linear.product", "linear", "softmax.max", "softmax.exp", "softmax.sum", "softmax.share"
    ]  # fmt: skip
    line = function.__code__.co_firstlineno + 1
    assert {node.source for node in nodes} == {f"{__file__}:{line}"}


def test_tied_parameters_are_one_input_however_they_are_tied() -> None:
    tied, shared = torch.nn.Linear(6, 6, bias=False), torch.nn.Linear(6, 6, bias=False)
    shared.weight = torch.nn.Parameter(tied.weight.detach())  # another parameter over the same storage
    captured = check(torch.nn.Sequential(tied, shared, tied), X, meshes=((2,),), random_seeds=())
    assert list(captured.tensors) == ["0.weight"]


def test_buffers_are_read_at_every_call() -> None:
    module = torch.nn.Module()
    module.register_buffer("mask", torch.ones(6, 6).tril())
    module.forward = lambda x: x @ module.mask
    captured = check(module, X, meshes=((2,),), random_seeds=())
    assert list(captured.tensors) == ["mask"] and captured.tensors["mask"] is module.mask


def test_no_argument_at_all() -> None:
    check(lambda: torch.arange(6).reshape(2, 3) * 2.5, meshes=((2,),), random_seeds=(0,))


def test_equal_programs_have_equal_hashes(linear: torch.nn.Linear) -> None:
    first, second, other = (capture(f, (X,), {}).graph for f in (linear, lambda input: linear(input), torch.exp))
    assert first.hash == second.hash != other.hash


def test_exporting_twice_leaves_the_module_as_it_was(linear: torch.nn.Linear) -> None:
    module = torch.nn.Sequential(linear, torch.nn.Dropout()).train()
    module[1].eval()
    before = {name: dict(vars(part)) for name, part in module.named_modules()}
    export(module, (X,), {})
    export(module, (X,), {})
    assert {name: dict(vars(part)) for name, part in module.named_modules()} == before
    assert module.training and not module[1].training


@dataclass(slots=True)
class Holder:
    """An object without a __dict__."""

    net: torch.nn.Module


def test_a_module_in_a_slotted_object_that_a_function_closes_over_is_found() -> None:
    holder = Holder(torch.nn.Linear(3, 2))
    graph = einsplit.trace(lambda x: holder.net(x), torch.zeros(4, 3))
    assert {name: graph.nodes[at].role for name, at in graph.inputs.items()} == {
        "weight": "parameter",
        "bias": "parameter",
        "x": "data",
    }


def test_where_no_line_is_the_users_none_is_shown() -> None:
    """Not that of who asked for the tracing, which is this one."""
    graph = einsplit.trace(torch.nn.LSTM(6, 8), torch.zeros(2, 5, 6))
    assert {node.source for node in graph.nodes if node.name.startswith("lstm")} == {""}
