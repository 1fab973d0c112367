"""Labels of one element and of none, processes that fork, and tensors that cannot be run on: a value or an error."""

from __future__ import annotations

import os
import signal
import warnings

import pytest
import torch

from einsplit import einsum
from einsplit.errors import CaptureError, RunError
from einsplit.parallelized import parallelize
from tests.doors.parallelize.nets import same

pytestmark = pytest.mark.usefixtures("no_device_threads")

# ---------------------------------------------------------------------------------------------- labels of one element


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize("agg", ["sum", "prod", "max"])
@pytest.mark.parametrize("size", [1, 2])
def test_integers_aggregated_over_one_element_have_the_dtype_of_those_over_two(dtype, agg, size):
    x = torch.full((size, 3), 77).to(dtype)

    def squared(x):
        return einsum(
            "k, k -> k", *[einsum("b k -> k", x, join="x", agg=agg)] * 2, join="cast(x, int64) * cast(y, int64)"
        )

    reduce = {"sum": torch.sum, "prod": torch.prod, "max": torch.amax}[agg]
    total = reduce(x, 0)
    with parallelize(lambda x: (einsum("b k -> k", x, join="x", agg=agg), squared(x)), devices=2) as fast:
        found, square = fast(x)
    for each in (found, einsum("b k -> k", x, join="x", agg=agg)):
        assert each.dtype == total.dtype and torch.equal(each, total)
    assert torch.equal(square, total.long() * total)


def test_a_product_of_sums_over_one_element_does_not_overflow():
    x = torch.full((1, 3), 77, dtype=torch.int8)

    def product(x):
        return einsum("k, k -> k", einsum("b k -> k", x), einsum("b k -> k", x))

    with parallelize(product, devices=2) as fast:
        for found in (fast(x), product(x)):
            assert torch.equal(found, torch.full((3,), 5929))


# ----------------------------------------------------------------------------------------------- labels of no element


@pytest.mark.parametrize(
    "spec, shape, sizes, result",
    [
        ("(i j) -> j i", (0,), {"j": 3}, (3, 0)),
        ("(i j) -> j i", (0,), {"i": 3}, (0, 3)),
        ("(i j) k -> k j i", (0, 2), {"j": 3}, (2, 3, 0)),
        ("(i j k) -> k j i", (0,), {"j": 3, "k": 2}, (2, 3, 0)),
        ("(i j) -> j", (0,), {"j": 3}, (3,)),
    ],
)
def test_a_dimension_without_elements_is_opened_into_labels(spec, shape, sizes, result):
    x = torch.zeros(shape)
    with parallelize(lambda x: einsum(spec, x, **sizes), devices=2) as fast:
        for found in (fast(x), einsum(spec, x, **sizes)):
            assert torch.equal(found, torch.zeros(result))


# ----------------------------------------------------------------------------------------------------------- complex


@pytest.mark.parametrize("join", ["x ** 2", "x ** 0", "x ** 0.5", "x ** y"])
def test_complex_numbers_are_raised_to_powers(join):
    x, y = torch.tensor([1 + 2j, 3j, -2.0]), torch.tensor([2.0, -1j, 0.5])
    expected = x ** (y if join.endswith("y") else float(join.split()[-1]))
    operands = (x, y) if join.endswith("y") else (x,)
    spec = ", ".join("a" for _ in operands) + " -> a"
    with parallelize(lambda *tensors: einsum(spec, *tensors, join=join), devices=2) as fast:
        for found in (fast(*operands), einsum(spec, *operands, join=join)):
            same(found, expected)


# --------------------------------------------------------------------------------------------- tensors without values


def told(kind, function, *args):
    with parallelize(function, devices=2) as fast, pytest.raises(kind) as caught:
        fast(*args)
    return str(caught.value)


def test_tensors_on_the_meta_device_are_planned_and_not_run():
    with parallelize(lambda x: x * 2, devices=2) as fast:
        assert fast.plan(torch.ones(3, device="meta")).machine.num_devices == 2
    text = "'x' is on the meta device: it has a shape and no values.\n  Give it values to run on."
    assert told(RunError, lambda x: x * 2, torch.ones(3, device="meta")) == text
    weight = torch.ones(3, device="meta")
    assert told(RunError, lambda x: x * weight, torch.ones(3, device="meta")) == text.replace("x", "weight", 1)


def test_tensors_that_are_not_dense_are_refused_by_name():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls some of them prototypes
        refused = {
            "a nested tensor, and": (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "to_padded_tensor(0)"),
            "a sparse_coo tensor, and": (torch.eye(3).to_sparse(), "to_dense()"),
            "a sparse_csr tensor, and": (torch.eye(3).to_sparse_csr(), "to_dense()"),
        }
        for kind, (tensor, way_out) in refused.items():
            for _ in range(2):
                assert told(CaptureError, lambda x: x * 2, tensor) == (
                    f"argument 'x' is {kind} only dense ones are cut over devices.\n  Pass x.{way_out}."
                )


@pytest.mark.parametrize(
    "multiply",
    [
        lambda x: x @ x,
        lambda x: x @ x[0],
        lambda x: x[0] @ x[0],
        lambda x: x[None] @ x[None],
        lambda x: torch.nn.functional.linear(x, x),
        lambda x: torch.tensordot(x, x, 1),
        lambda x: torch.inner(x, x),
        lambda x: torch.addmm(x, x, x),
    ],
)
def test_products_of_matrices_of_bool_are_refused_as_torch_refuses_them(multiply):
    x = torch.ones(2, 2, dtype=torch.bool)
    with pytest.raises(RuntimeError, match="not implemented for 'Bool'"):
        multiply(x)
    first, place, advice = told(CaptureError, multiply, x).splitlines()
    assert first.endswith("of bool is traced by torch, which then refuses to compute it")
    assert "test_edges.py" in place
    assert advice == "  Cast first: x.float() @ y.float(), or (x.long() @ y.long()) > 0."


# -------------------------------------------------------------------------------------------------- forked processes


def in_a_fork(act):
    """What `act` returns in a forked child, as text; its error where it raises."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a process with threads is forked: that is the test
        pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # a child that hangs says nothing
        try:
            said = str(act())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(pid, 0)
    return said


def test_a_forked_child_starts_devices_of_its_own_and_the_parent_keeps_its_own(x):
    weight = torch.ones(8)
    with parallelize(lambda x: x * weight, devices=2) as fast:
        fast(x)
        session = fast.session(x)

        def act():
            right = torch.equal(fast(x + 1), (x + 1) * weight)
            weight.mul_(2)
            right = right and torch.equal(fast(x), x * weight) and fast.session(x) is not session
            fast.close()
            return right

        assert in_a_fork(act) == "True"
        same(fast(x), x * weight)
        assert fast.session(x) is session


def test_a_forked_child_does_not_talk_to_its_parents_workers(x):
    with parallelize(lambda x: x * 2, devices=2) as fast:
        fast(x)
        fast._backend = "ray"  # workers are not needed to see that they are left alone
        for act in (lambda: fast(x), fast.close, lambda: fast.plan(x)):
            assert in_a_fork(act) == (
                f"RunError: <parallelized <lambda> on cpu-2, ray> has its workers in process {os.getpid()}, of which "
                "this one is a fork.\n"
                "  Start processes by multiprocessing's method 'spawn', or fork before the first call."
            ).replace("<lambda>", fast.__qualname__)
        fast._backend = "local"
