"""The command line: each verb as text and as JSON, its exit codes, and what a user's mistakes are told."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from einsplit.api import plan as make
from einsplit.cli import main
from einsplit.solver.machine import Machine, cpu, load_machine
from einsplit.solver.plan import Plan
from tests.doors.graphs import machine, mlp_graph
from tests.runtime.processes import descendants, running

ROOT = Path(__file__).parents[2]

TARGETS = '''
"""What a user has in a file."""
from __future__ import annotations
from dataclasses import dataclass

import torch

from tests.doors.graphs import mlp_graph


@dataclass
class Settings:
    hidden: int = 16


SETTINGS = Settings()
NUMBER = 7
GRAPH = mlp_graph()


def mlp():
    torch.manual_seed(0)
    hidden = SETTINGS.hidden
    layers = [torch.nn.Linear(8, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 4)]
    return torch.nn.Sequential(*layers), (torch.ones(6, 8),)


def keywords():
    return (lambda x, scale: {"scaled": x * scale}), {"x": torch.ones(4, 2), "scale": torch.tensor(3.0)}


def graph():
    return mlp_graph()


def branch():
    return (lambda x: x if x.sum() > 0 else -x), (torch.ones(4),)


def fails():
    raise ZeroDivisionError("of the user's own")


def leaves():
    raise SystemExit(0)


def takes(x):
    return mlp()


def nothing():
    return None


def number():
    return 5


def bare():
    return torch.nn.Linear(2, 2)


def three():
    return torch.nn.Linear(2, 2), (torch.ones(2, 2),), {}


def tensor():
    return torch.nn.Linear(2, 2), torch.ones(2, 2)


def uncalled():
    return torch.nn.Linear, (2, 2)
'''


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


def start(words, **options):
    """A command line as a process of its own, in a process group of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "200"}
    command = [sys.executable, "-m", "einsplit", *map(str, words)]
    return subprocess.Popen(command, env=environment, start_new_session=True, **options)


# ------------------------------------------------------------------------------------------------------------ verbs


def test_plan_prints_a_table_and_what_it_is_compared_with(call, targets):
    code, out, err = call("plan", f"{targets}:graph", "--devices", 4)
    assert code == 0 and err == ""
    assert out.startswith("plan for cpu-4 (cpu0:2 x cpu1:2), by sweep\n")
    assert "\nnode " in out and "\ndata-parallel: " in out and "\nwhole: " in out and "\ntraced in " in out


def test_plan_as_json_holds_the_figures_of_the_plan_it_writes(call, targets, tmp_path):
    code, out, err = call("plan", f"{targets}:mlp", "--devices", 4, "-o", tmp_path / "out.json", "--json")
    fields, plan = json.loads(out), Plan.load(tmp_path / "out.json")
    assert (code, err) == (0, "")
    assert fields["seconds"] == plan.seconds and fields["bytes"] == plan.bytes
    assert fields["nodes"] == len(plan.nodes) and fields["devices"] == 4 and fields["machine"] == "cpu-4"
    assert fields["seconds"] <= min(rival["seconds"] for rival in fields["rivals"].values())


def test_explain_prints_what_plan_prints(call, targets, tmp_path):
    _, planned, _ = call("plan", f"{targets}:mlp", "--devices", 4, "-o", tmp_path / "out.json")
    code, out, err = call("explain", tmp_path / "out.json")
    assert (code, err) == (0, "") and planned.startswith(out)


def test_explain_full_has_a_row_for_every_node(call, plan_path):
    rows = json.loads(call("explain", plan_path, "--full", "--json")[1])["rows"]
    assert [row["count"] for row in rows] == [1] * len(Plan.load(plan_path).nodes)
    text = call("explain", plan_path, "--full")[1]
    assert len(text.splitlines()) == 4 + len(rows)


@pytest.mark.parametrize("name", ["mlp", "keywords", "graph", "GRAPH"])
def test_run_computes_what_the_original_does(name, call, targets):
    code, out, err = call("run", f"{targets}:{name}", "--check", "--json", "--devices", 2)
    fields = json.loads(out)
    assert (code, err) == (0, "")
    assert fields["difference"] < 1e-5 and len(fields["step_seconds"]) == 3 and fields["outputs"]
    assert fields["bytes_moved"] == [fields["bytes_predicted"]] * 2


def test_run_takes_a_plan_file_and_prints_what_was_predicted_and_moved(call, targets, plan_path):
    code, out, err = call("run", f"{targets}:graph", "--plan", plan_path, "--steps", 1, "--check")
    sent = Plan.load(plan_path).bytes
    assert (code, err) == (0, "")
    assert f"bytes sent by each device: {sent} B predicted, {sent} B moved" in out
    assert "1 steps on 4 local devices" in out and "largest difference from the original: " in out


@pytest.mark.parametrize("verb", [(), ("plan",), ("explain",), ("run",)])
def test_help_shows_an_example(verb, call):
    code, out, err = call(*verb, "--help")
    assert (code, err) == (0, "")
    assert f"einsplit {' '.join(verb)}".rstrip() in out
    assert "Example: einsplit " in out or not verb


def test_without_arguments_there_is_help():
    finished = subprocess.run(
        [sys.executable, "-m", "einsplit"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert finished.stdout.startswith("Usage: einsplit [OPTIONS] [COMMAND] [ARGS]") and finished.stderr == ""
    assert "Exit codes: 0 done" in finished.stdout


# --------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    "words, told",
    [
        (["pln", "x"], "No such command 'pln'. Did you mean 'plan'?"),
        (["qqq"], "No such command 'qqq'. The verbs are explain, plan, run."),
        (["plan"], "Missing argument 'FILE.py:NAME'."),
        (["plan", "{t}:graph"], "say over how many devices to cut, such as --devices 2, or name a --machine"),
        (["plan", "{t}:graph", "--devces", "2"], "No such option"),
        (["plan", "{t}:graph", "--devices", "abc"], "'abc' is not a valid integer"),
        (["plan", "{t}:graph", "--devices", "0"], "devices=0: at least one device is needed"),
        (["plan", "{t}:graph", "--devices", "-1"], "devices=-1: at least one device is needed"),
        (["plan", "{t}:graph", "--devices", "1000000007"], "devices=1000000007: einsplit plans for at most 65,536"),
        (["plan", "{t}:graph", "--devices", "8", "--machine", "cpu-4"], "devices=8: machine 'cpu-4' has 4 (2 x 2)"),
        (["plan", "{t}:graph", "--machine", "gpu-4"], "machine 'gpu-4' is neither a preset (cpu, cpu-N) nor a file"),
        (["plan", "{t}:graph", "--devices", "2", "--method", "swep"], "'swep' is not one of 'sweep', 'joint'"),
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
    assert eval(repr(cpu(2)), vars(sys.modules[Machine.__module__])) == cpu(2)


# ---------------------------------------------------------------------------------------------- terminals and signals


def test_a_reader_that_goes_away_is_no_fault(plan_path):
    plan = Plan.load(plan_path)
    msgspec.structs.replace(plan, nodes=plan.nodes * 500).save(plan_path)
    process = start(["explain", plan_path, "--full"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline().startswith(b"plan for test")
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(60) == 0


class Terminal:
    """A process whose error output is a terminal."""

    def __init__(self, words):
        self.end, theirs = pty.openpty()
        self.process = start(words, stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        self.seen = b""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        os.close(self.end)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait_for(self, text, seconds=90):
        """Read until `text` has been shown."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen[-1000:]
            self.read()

    def read(self, seconds=60):
        assert select.select([self.end], [], [], seconds)[0], f"nothing more is shown after {self.seen[-1000:]!r}"
        try:
            data = os.read(self.end, 4096)
        except OSError:  # the other end is closed
            data = b""
        self.seen += data
        return data

    def finish(self, seconds=60):
        """The exit code, after all that was shown has been read."""
        deadline = time.monotonic() + seconds
        while self.read():
            assert time.monotonic() < deadline, self.seen[-1000:]
        return self.process.wait(seconds)


LONG_SEARCH = """
from einsplit.builder import Builder
from einsplit.einsum import einsum

def graph():
    builder = Builder()
    value = builder.input("x", (4096, 4096), "float32")
    for k in range(400):
        weight = builder.input(f"w{k}", (4096, 4096), "float32", role="parameter")
        value = einsum("i j -> i j", einsum("i j, j k -> i k", value, weight), join="max(x, 0)")
    return builder.build({"y": value})
"""


def test_a_search_shows_how_it_goes_on_a_terminal_and_an_interrupt_ends_it_with_130(tmp_path):
    (tmp_path / "long.py").write_text(LONG_SEARCH)
    with Terminal(["plan", f"{tmp_path}/long.py:graph", "--devices", 64]) as terminal:
        terminal.wait_for(b"planning 1201 nodes over 64 devices")
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.finish() == 130
        assert b"interrupted" in terminal.seen and b"Traceback" not in terminal.seen


def test_the_best_price_so_far_is_shown_on_a_terminal_only(targets):
    with Terminal(["plan", f"{targets}:graph", "--machine", "cpu-64"]) as terminal:
        terminal.wait_for(b" after ")
        assert terminal.finish() == 0 and b" sweeps" in terminal.seen
    quiet = start(["plan", f"{targets}:graph", "--machine", "cpu-4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert quiet.communicate(timeout=60)[1] == b"" and quiet.returncode == 0


@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize(
    "moment, send",
    [(b"starting 2 ray devices", os.kill), (b" of 100000 on 2 ray devices", os.killpg)],
    ids=["start", "step"],
)
def test_an_interrupted_run_on_ray_ends_with_130_and_leaves_no_process(moment, send, targets):
    with Terminal(["run", f"{targets}:graph", "--backend", "ray", "--steps", 100_000]) as terminal:
        terminal.wait_for(moment)
        deadline = time.monotonic() + 30
        while len(descendants(terminal.process.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        family = descendants(terminal.process.pid)
        send(terminal.process.pid, signal.SIGINT)
        assert terminal.finish() == 130
        assert b"interrupted" in terminal.seen and b"Traceback" not in terminal.seen
    deadline = time.monotonic() + 20
    while any(map(running, family)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(family) >= 3 and not any(map(running, family))
