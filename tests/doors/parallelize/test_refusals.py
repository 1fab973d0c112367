"""What `parallelize` refuses: options that mean nothing, plans that do not fit, gradients that it does not have."""

from __future__ import annotations

import pytest
import torch

from einsplit.api import plan as make
from einsplit.api import trace
from einsplit.errors import EinsplitError, MachineError, PlanError, RunError
from einsplit.parallelized import parallelize
from einsplit.solver.machine import cpu
from tests.doors.parallelize.nets import Net, device_threads, same

pytestmark = pytest.mark.usefixtures("no_device_threads")

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
        (
            {"machine": "tpu"},
            MachineError,
            "machine 'tpu' is neither a preset nor a file.\n"
            "  Did you mean 'cpu'?\n"
            "  Presets: cpu, cpu-N, a100x8, h100x8, h200x8, b200x72, fewer GPUs of a node (h100x4), several nodes "
            "(h100x8x16).",
        ),
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
    assert str(fast.plan(x)).startswith("plan for cpu-2 (cpu:2), by search\n")
    assert not device_threads()


# --------------------------------------------------------------------------------------------------------- gradients


def test_going_backward_is_an_error_and_not_a_silent_zero(net, x):
    with parallelize(net, devices=2) as fast:
        found = fast(x)
        assert found.requires_grad and net(x).requires_grad
        with pytest.raises(RunError) as caught:
            (found.sum() + net(x).sum()).backward()
    assert str(caught.value) == (
        "what parallelize makes runs forward only: its results have no gradients.\n"
        "  To train, use einsplit.train_step. Where no gradient is meant to flow, call under torch.no_grad() or "
        "detach the result."
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
