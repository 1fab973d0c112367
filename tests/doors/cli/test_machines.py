"""`einsplit machines` and `einsplit calibrate`: tables, JSON, files, pictures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from einsplit.solver.machine import decode_machine, load_machine
from einsplit.solver.machine.presets import NODES, preset
from tests.doors.cli.lines import ROOT


def test_machines_lists_the_presets(call):
    code, out, err = call("machines")
    lines = out.splitlines()
    assert (code, err) == (0, "") and lines[0].split()[:5] == ["name", "devices", "mesh", "joins", "float32"]
    names = [line.split()[0] for line in lines if line]
    assert set(NODES) <= set(names) and "cpu-2" in names
    (row,) = [line for line in lines if line.startswith("h100x8x2048")]
    assert "16,384" in row and "8 x 8 x 8 x 4 x 8" in row and "47 GB/s, 370 GB/s" in row


def test_machines_as_json_holds_machines_that_a_file_can_hold(call):
    code, out, _ = call("machines", "--json")
    rows = json.loads(out)["machines"]
    assert code == 0 and {row["machine"]["name"] for row in rows} >= set(NODES)
    for row in rows:
        machine = decode_machine(json.dumps(row["machine"]).encode(), "out")
        assert machine == load_machine(machine.name) and row["devices"] == machine.num_devices
        assert row["mesh"] == list(machine.sizes) and set(row["sources"]) == set(preset(machine.name).figures)


@pytest.mark.parametrize("name", ["cpu-4", "h100x8", "b200x72", "a100x8x4"])
def test_a_machine_is_shown_with_the_source_of_every_figure(name, call, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    code, out, err = call("machines", name)
    assert (code, err) == (0, "") and str(load_machine(name)) in out
    for field, figure in preset(name).figures.items():
        (line,) = [line for line in out.splitlines() if line.startswith(f"{field} ")]
        assert line.endswith(figure.source)


def test_a_machine_file_is_shown_too(call, tmp_path):
    (tmp_path / "m.json").write_text(json.dumps(json.loads(call("machines", "h100x2", "--json")[1])["machine"]))
    code, out, _ = call("machines", tmp_path / "m.json")
    assert code == 0 and out.startswith("h100x2: machine file ") and "370 GB/s" in out


def test_an_unknown_machine_is_told(call):
    code, out, err = call("machines", "h1000x8")
    assert (code, out) == (2, "") and err.startswith("MachineError: machine 'h1000x8' is neither a preset nor a file.")
    assert "Did you mean 'h100x8'?" in err


# --------------------------------------------------------------------------------------------------------- calibrate


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """Text and folder of one quick calibration of two devices."""
    folder = tmp_path_factory.mktemp("calibrated")
    words = ["calibrate", "--quick", "-o", "machine.json", "--plot", "fit.svg"]
    done = subprocess.run(
        [sys.executable, "-m", "einsplit", *words], cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, folder


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_calibrate_prints_measured_against_fitted(calibrated):
    lines = calibrated[0].splitlines()
    assert lines[0].split() == ["what", "size", "measured", "fitted", "error"]
    for kind in ("matmul float32", "matmul bfloat16", "pass", "join", "exchange"):
        rows = [line for line in lines if line.startswith(f"{kind} ")]
        assert len(rows) == 3 and all(row.endswith(" %") for row in rows)
        assert any(line.startswith(f"{kind}: 3 samples, half of them within ") for line in lines)


def test_calibrate_writes_a_machine_that_plans_are_made_for(calibrated, call, targets):
    machine = load_machine(str(calibrated[1] / "machine.json"))
    assert machine.sizes == (2,) and set(machine.matmul_flops_per_second) == {"float32", "bfloat16"}
    assert str(machine) in calibrated[0]
    code, out, _ = call("plan", f"{targets}:graph", "--machine", calibrated[1] / "machine.json", "--json")
    assert code == 0 and json.loads(out)["machine"] == "measured-threads-2"


def test_calibrate_draws_a_picture_and_leaves_nothing_else(calibrated):
    assert sorted(path.name for path in calibrated[1].iterdir()) == ["fit.svg", "machine.json"]
    assert (calibrated[1] / "fit.svg").read_text().startswith("<?xml") and b"\0" not in (
        calibrated[1] / "machine.json"
    ).read_bytes()


def test_calibrate_as_json_holds_the_machine_and_the_samples(call):
    code, out, err = call("calibrate", "--quick", "--json", "--devices", 1)
    fields = json.loads(out)
    assert (code, err) == (0, "")
    assert decode_machine(json.dumps(fields["machine"]).encode(), "out").num_devices == 1
    for row in fields["samples"]:
        assert row["error"] == pytest.approx(row["fitted"] / row["measured"] - 1)


@pytest.mark.parametrize(
    "words, told",
    [
        (["--plot", "fit.gif"], "plot fit.gif: a plot is a file whose name ends in .svg or .png"),
        (["-o", "/nowhere/m.json"], "/nowhere/m.json cannot be written: there is no folder /nowhere"),
        (["--devices", 0], "devices=0: at least one device is needed"),
        (["--backend", "mpi"], "'mpi' is not one of 'threads', 'ray'"),
    ],
)
def test_what_cannot_be_calibrated_is_told_before_anything_is_measured(words, told, call):
    started = time.process_time()
    code, out, err = call("calibrate", *words)
    assert (code, out) == (2, "") and told in err and time.process_time() - started < 2


def test_an_interrupt_leaves_no_half_file(tmp_path):
    words = [sys.executable, "-u", "-c", INTERRUPTED, "calibrate", "-o", "machine.json", "--plot", "fit.png"]
    running = subprocess.Popen(words, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None and running.stdout.readline() == "measuring\n"
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=60) == 130
    assert not list(tmp_path.iterdir())


# A progress line is for terminals only: this tells when the measuring has begun.
INTERRUPTED = """
from einsplit.calibrate import devices
from einsplit.cli import main
measure = devices.measure_device
devices.measure_device = lambda *row: (print("measuring", flush=True) if row[0].device == 0 else None, measure(*row))[1]
main()
"""


@pytest.mark.slow
def test_ray_workers_are_measured_and_gone_afterwards(tmp_path):
    words = ["calibrate", "--quick", "--backend", "ray", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "einsplit", *words], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["machine"]["name"] == "measured-ray-2"
