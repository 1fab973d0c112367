"""Fixtures of the doors: a model and its input, counters, a command line run in this process."""

from __future__ import annotations

import gc
import sys

import pytest
import torch

from einsplit.api import plan as make
from einsplit.cli import main
from einsplit.parallelized import wrapper
from einsplit.runtime.local import LocalSession
from tests.doors.cli.lines import TARGETS
from tests.doors.graphs import machine, mlp_graph
from tests.doors.parallelize.nets import Net, device_threads


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


@pytest.fixture
def no_device_threads():
    yield
    gc.collect()
    assert not device_threads()


@pytest.fixture
def targets(tmp_path):
    (tmp_path / "model.py").write_text(TARGETS)
    return str(tmp_path / "model.py")


@pytest.fixture
def plan_path(tmp_path):
    make(mlp_graph(), machine(2, 2)).save(tmp_path / "plan.json")
    return str(tmp_path / "plan.json")


@pytest.fixture
def call(monkeypatch, capsys):
    """A command line, run in this process: exit code, output, error output."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["einsplit", *map(str, words)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        code = 0
        try:
            main()
        except SystemExit as exit:
            code = exit.code
        return (code, *capsys.readouterr())

    return run
