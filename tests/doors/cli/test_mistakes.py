"""The command line: what a user's mistakes are told."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from einsplit.solver.machine import cpu, load_machine
from tests.doors.cli.lines import TARGETS
from tests.doors.graphs import machine

# --------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    "words, told",
    [
        (["pln", "x"], "No such command 'pln'. Did you mean 'plan'?"),
        (["qqq"], "No such command 'qqq'. The verbs are calibrate, "),
        (["plan"], "Missing argument 'FILE.py:NAME'."),
        (["plan", "{t}:graph"], "say over how many devices to cut, such as --devices 2, or name a --machine"),
        (["plan", "{t}:graph", "--devces", "2"], "No such option"),
        (["plan", "{t}:graph", "--devices", "abc"], "'abc' is not a valid integer"),
        (["plan", "{t}:graph", "--devices", "0"], "devices=0: at least one device is needed"),
        (["plan", "{t}:graph", "--devices", "-1"], "devices=-1: at least one device is needed"),
        (["plan", "{t}:graph", "--devices", "1000000007"], "devices=1000000007: einsplit plans for at most 65,536"),
        (["plan", "{t}:graph", "--devices", "8", "--machine", "cpu-4"], "devices=8: machine 'cpu-4' has 4 (2 x 2)"),
        (["plan", "{t}:graph", "--machine", "gpu-4"], "machine 'gpu-4' is neither a preset nor a file."),
        (
            ["plan", "{t}:graph", "--devices", "2", "--method", "swep"],
            "'swep' is not one of 'search', 'sweep'",
        ),
        (["plan", "{t}:graph", "--devices", "2", "-o", "/nowhere/plan.json"], "there is no folder /nowhere"),
        (["plan", "{t}:graph", "--devices", "2", "-o", "{f}"], "is a directory"),
        (["plan", "model.py", "--devices", "2"], "'model.py' is not FILE.py:NAME."),
        (["plan", "{f}/none.py:x", "--devices", "2"], "there is no file"),
        (["plan", "{t}:mpl", "--devices", "2"], "has no 'mpl'. Did you mean 'mlp'?"),
        (["plan", "{t}:NUMBER", "--devices", "2"], "NUMBER is int, not a function.\n  NAME is a function of no arg"),
        (["plan", "{t}:Settings", "--devices", "2"], "Settings is the class Settings, not a function."),
        (["plan", "{t}:takes", "--devices", "2"], "takes cannot be called without arguments: missing a required"),
        (["plan", "{t}:nothing", "--devices", "2"], "returns NoneType.\n  NAME is a function of no arguments that"),
        (["plan", "{t}:number", "--devices", "2"], "returns int.\n"),
        (["plan", "{t}:bare", "--devices", "2"], "returns Linear.\n"),
        (["plan", "{t}:three", "--devices", "2"], "returns a tuple of 3.\n"),
        (["plan", "{t}:tensor", "--devices", "2"], "args is Tensor; write a tuple, as in (model, (x,))"),
        (["plan", "{t}:uncalled", "--devices", "2"], "returns a tuple whose first is the class Linear.\n"),
        (["plan", "{t}:leaves", "--devices", "2"], "fails when it is called: SystemExit: 0\n  at {t}:"),
        (["plan", "{t}:branch", "--devices", "2"], "CaptureError: "),
        (["explain", "{f}/none.json"], "cannot be read: No such file or directory"),
        (["explain", "{t}"], "PlanError: plan file {t} is damaged: Expected `object`, got `str`"),
        (["run", "{t}:mlp", "--plan", "{p}"], "PlanError: this plan was made for another graph: it is for '"),
        (["run", "{t}:graph", "--plan", "{p}", "--devices", "2"], "--plan says which machine and how many devices"),
        (["run", "{t}:graph", "--devices", "0"], "devices=0: at least one device is needed"),
        (["run", "{t}:graph", "--steps", "0"], "0 is not in the range x>=1"),
        (["run", "{t}:graph", "--backend", "mpi"], "'mpi' is not one of 'local', 'ray'"),
    ],
)
def test_a_mistake_is_told_on_the_error_output_with_exit_code_2(words, told, call, targets, plan_path):
    known = {"t": targets, "p": plan_path, "f": str(Path(targets).parent)}
    code, out, err = call(*(word.format(**known) for word in words))
    assert code == 2 and out == "", err
    assert told.format(**known) in err and "Traceback" not in err


def test_a_function_that_fails_is_told_with_the_users_own_line(call, targets):
    _, _, err = call("run", f"{targets}:fails")
    line = 1 + TARGETS.splitlines().index("""    raise ZeroDivisionError("of the user's own")""")
    assert err == (
        f"TargetError: {targets}:fails fails when it is called: ZeroDivisionError: of the user's own\n"
        f"""  at {targets}:{line}: raise ZeroDivisionError("of the user's own")\n"""
    )


@pytest.mark.parametrize(
    "text, told",
    [
        ("x = 1\ny = x / 0\n", "fails when it is run: ZeroDivisionError: division by zero\n  at {t}:2: y = x / 0"),
        ("def f(:\n", "fails when it is run: SyntaxError: invalid syntax\n  at {t}:1: def f(:"),
        (
            "import nobody_has_this\n",
            "ModuleNotFoundError: No module named 'nobody_has_this'\n  at {t}:1: import nobody",
        ),
        ("import sys\nsys.exit(3)\n", "fails when it is run: SystemExit: 3\n  at {t}:2: sys.exit(3)"),
        ("\0", "fails when it is run: "),
    ],
)
def test_a_file_that_fails_is_told_with_the_users_own_line(text, told, call, tmp_path):
    (tmp_path / "broken.py").write_text(text)
    code, out, err = call("plan", f"{tmp_path}/broken.py:x", "--devices", "2")
    assert code == 2 and out == ""
    assert told.format(t=tmp_path / "broken.py") in err


def test_what_the_users_code_prints_does_not_mix_with_the_results(call, tmp_path):
    lines = ["import torch", "print('loaded')", "def f(x):", "    print('called')", "    return x + 1"]
    (tmp_path / "loud.py").write_text("\n".join([*lines, "def x():", "    return f, (torch.ones(2),)"]))
    code, out, err = call("run", f"{tmp_path}/loud.py:x", "--check", "--json")
    assert code == 0 and json.loads(out)["difference"] == 0
    assert err.startswith("loaded\ncalled\n")


def test_a_file_finds_its_neighbours_and_leaves_no_compiled_file_of_itself(call, tmp_path):
    (tmp_path / "neighbour.py").write_text("from tests.doors.graphs import mlp_graph")
    (tmp_path / "mine.py").write_text("from neighbour import mlp_graph as graph\nassert __name__ != '__main__'")
    assert call("plan", f"{tmp_path}/mine.py:graph", "--devices", "2")[0] == 0
    assert not list(tmp_path.glob("__pycache__/mine*"))


# --------------------------------------------------------------------------------------------------------- machines

GOOD = msgspec.to_builtins(machine(2, 3))


def test_a_machine_file_says_how_many_devices_there_are(call, targets, tmp_path):
    (tmp_path / "machine.json").write_text(json.dumps(GOOD))
    code, out, _ = call("plan", f"{targets}:graph", "--machine", tmp_path / "machine.json", "--json")
    assert code == 0 and json.loads(out)["devices"] == 6
    assert load_machine(str(tmp_path / "machine.json")) == machine(2, 3)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"flops_per_second": -1.0}, "flops_per_second is -1.0, and must be positive and finite"),
        ({"flops_per_second": 0}, "flops_per_second is 0.0, and must be positive and finite"),
        ({"memory_bytes_per_second": -1e9}, "memory_bytes_per_second is -1000000000.0, and must be positive"),
        ({"memory_bytes": 0}, "memory_bytes is 0.0, and must be positive"),
        ({"launch_seconds": -1e-6}, "launch_seconds is -1e-06, and must be finite and not negative"),
        ({"axes": [{**GOOD["axes"][0], "size": 0}]}, "axis 'axis0': size is 0, and an axis has at least 2 devices"),
        ({"axes": [{**GOOD["axes"][0], "size": 2.5}]}, "Expected `int`, got `float` - at `$.axes[0].size`"),
        ({"axes": [{**GOOD["axes"][0], "bytes_per_second": -1.0}]}, "axis 'axis0': bytes_per_second is -1.0, and must"),
        ({"axes": [{**GOOD["axes"][0], "latency_seconds": -1.0}]}, "axis 'axis0': latency_seconds is -1.0, and must"),
        ({"axes": [GOOD["axes"][0]] * 2}, "two mesh axes have one name: axis0, axis0"),
        (
            {"axes": [{**GOOD["axes"][0], "size": 10**7}]},
            "has 10,000,000 devices, and einsplit plans for at most 65,536",
        ),
        ({"axes": "two"}, "Expected `array`, got `str` - at `$.axes`"),
        ({"name": None}, "Expected `str`, got `null` - at `$.name`"),
        ({"colour": "red"}, "Object contains unknown field `colour`"),
        ({"name": ...}, "Object missing required field `name`"),
        ({"axes": ...}, "Object missing required field `axes`"),
    ],
)
def test_a_machine_that_cannot_be_is_told_with_its_place(change, told, call, targets, tmp_path):
    fields = {key: value for key, value in {**GOOD, **change}.items() if value is not ...}
    (tmp_path / "machine.json").write_text(json.dumps(fields))
    code, out, err = call("plan", f"{targets}:graph", "--machine", tmp_path / "machine.json")
    assert code == 2 and out == ""
    assert err.startswith(f"MachineError: machine file {tmp_path}/machine.json: ") and told in err


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\x00", b"[" * 100_000, b"[]", b"7", b'{"axes": NaN}'])
def test_a_damaged_machine_file_is_a_machine_error(data, call, targets, tmp_path):
    (tmp_path / "machine.json").write_bytes(data)
    code, out, err = call("plan", f"{targets}:graph", "--machine", tmp_path / "machine.json")
    assert code == 2 and out == "" and err.startswith(f"MachineError: machine file {tmp_path}/machine.json: ")


def test_a_machine_prints_as_a_table():
    assert str(cpu(6)) == (
        "machine cpu-6: 6 devices, each 60 GFLOP/s, 8 GB at 8 GB/s, launch 10 us\n"
        "  cpu0     3  1.3 GB/s, 100 us latency\n"
        "  cpu1     2  1.3 GB/s, 100 us latency"
    )
    assert str(cpu(1)) == "machine cpu-1: 1 device, each 60 GFLOP/s, 8 GB at 8 GB/s, launch 10 us"
    assert repr(cpu(2)).startswith("Machine(name='cpu-2', axes=(MeshAxis(name='cpu', size=2, bytes_per_second=")
