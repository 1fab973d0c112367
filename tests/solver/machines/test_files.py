"""Machine files: every mistake is one error with its place and with what to write there."""

from __future__ import annotations

import json
import sys
import time

import msgspec
import pytest

from einsplit.errors import MachineError
from einsplit.solver.machine import Machine, MeshAxis, decode_machine, load_machine, save_machine

GOOD = {
    "name": "desk",
    "axes": [
        {"name": "lan", "size": 2, "bytes_per_second": 1e8, "latency_seconds": 1e-3},
        {"name": "cpu", "size": 4, "bytes_per_second": 1e9, "latency_seconds": 1e-5},
    ],
    "flops_per_second": 2e9,
    "matmul_flops_per_second": {"float32": 6e10},
    "half_size": 6.0,
    "memory_bytes_per_second": 8e9,
    "memory_bytes": 8e9,
    "launch_seconds": 1e-5,
}
WHOLE = "`einsplit machines h100x8 --json` prints a whole one, under `machine`."
BANDWIDTH = "A plain number of bytes per second and direction: 900 GB/s is 9e11."
FLOPS = "A plain number of scalar operations per second: 67 TFLOP/s is 6.7e13."
HALF = "The size at which a matrix multiplication gets half of its rate, such as 64; 0 where it always does."


def changed(path: list[str | int], value: object) -> bytes:
    """The good file with another value at a place; `...` takes the place away."""
    found = json.loads(json.dumps(GOOD))
    at = found
    for key in path[:-1]:
        at = at[key]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return json.dumps(found).encode()


MISTAKES = [
    # A value that no machine has.
    (
        ["axes", 1, "bytes_per_second"],
        -1.0,
        "$.axes[1].bytes_per_second: axis 'cpu': bytes_per_second is -1.0, and must be positive and finite\n  "
        + BANDWIDTH,
    ),
    (
        ["axes", 0, "latency_seconds"],
        -1,
        "$.axes[0].latency_seconds: axis 'lan': latency_seconds is -1.0, and must be finite and not negative\n"
        "  A plain number of seconds: 3 us is 3e-6.",
    ),
    (
        ["axes", 1, "size"],
        0,
        "$.axes[1].size: axis 'cpu': size is 0, and an axis has at least 2 devices: leave it out\n"
        "  A whole number of devices, such as 8.",
    ),
    (
        ["flops_per_second"],
        0,
        f"$.flops_per_second: flops_per_second is 0.0, and must be positive and finite\n  {FLOPS}",
    ),
    (["half_size"], -2, f"$.half_size: half_size is -2.0, and must be finite and not negative\n  {HALF}"),
    (
        ["matmul_flops_per_second", "bfloat17"],
        1e12,
        "$.matmul_flops_per_second.bfloat17: matmul_flops_per_second has a rate for 'bfloat17', which is no dtype\n"
        "  Did you mean 'bfloat16'?",
    ),
    (
        ["matmul_flops_per_second", "float64"],
        0,
        "$.matmul_flops_per_second.float64: matmul_flops_per_second of float64 is 0.0, and must be positive and "
        'finite\n  Operations per second by dtype: {"bfloat16": 7.9e14, "float32": 6.7e13}.',
    ),
    (
        ["axes", 0, "size"],
        10**6,
        "$.axes: has 4,000,000 devices, and einsplit plans for at most 65,536\n"
        "  A list of mesh axes from the slowest link to the fastest.",
    ),
    (
        ["axes", 0, "name"],
        "cpu",
        "$.axes: two mesh axes have one name: cpu, cpu\n  A list of mesh axes from the slowest link to the fastest.",
    ),
    # A value of another type: units belong to the name.
    (
        ["axes", 1, "bytes_per_second"],
        "900 GB/s",
        f"Expected `float`, got `str` - at `$.axes[1].bytes_per_second`\n  {BANDWIDTH}",
    ),
    (["flops_per_second"], "67 TFLOP/s", f"Expected `float`, got `str` - at `$.flops_per_second`\n  {FLOPS}"),
    (
        ["axes", 1, "size"],
        2.5,
        "Expected `int`, got `float` - at `$.axes[1].size`\n  A whole number of devices, such as 8.",
    ),
    (
        ["matmul_flops_per_second", "float32"],
        "fast",
        "Expected `float`, got `str` - at `$.matmul_flops_per_second[...]`\n"
        '  Operations per second by dtype: {"bfloat16": 7.9e14, "float32": 6.7e13}.',
    ),
    # Fields that are not there, or not known.
    (["axes", 0, "link"], 1, "Object contains unknown field `link` - at `$.axes[0]`\n  The fields are "),
    (
        ["flop_per_second"],
        1,
        "Object contains unknown field `flop_per_second` - at `$`\n  Did you mean 'flops_per_second'?",
    ),
    (
        ["memory_bytes"],
        ...,
        "Object missing required field `memory_bytes` - at `$`\n"
        f"  memory_bytes: A plain number of bytes: 80 GB is 8e10. {WHOLE}",
    ),
    (
        ["axes", 1, "bytes_per_second"],
        ...,
        f"Object missing required field `bytes_per_second` - at `$.axes[1]`\n  bytes_per_second: {BANDWIDTH} {WHOLE}",
    ),
]


@pytest.mark.parametrize("path, value, told", MISTAKES, ids=[f"{path}={value!r}" for path, value, _ in MISTAKES])
def test_a_mistake_in_a_machine_file_is_told_with_its_path_and_with_what_to_write(path, value, told):
    with pytest.raises(MachineError) as caught:
        decode_machine(changed(path, value), "m.json")
    text = str(caught.value)
    assert (
        text.startswith(f"machine file m.json: {told}")
        if told.endswith(" ")
        else text == f"machine file m.json: {told}"
    )


TEXT = json.dumps(GOOD)
AXIS = '{"name": "a", "size": 2, "bytes_per_second": 1, "latency_seconds": 0},'
HOSTILE = [
    ("NaN", TEXT.replace("2000000000.0", "NaN", 1)),
    ("infinity", TEXT.replace("2000000000.0", "Infinity", 1)),
    ("a number beyond floats", TEXT.replace("2000000000.0", "1e999", 1)),
    ("a number of many digits", TEXT.replace('"size": 2', '"size": ' + "9" * 100_000, 1)),
    ("a size beyond reason", TEXT.replace('"size": 2', '"size": ' + "9" * 18, 1)),
    ("deep lists", TEXT.replace('"desk"', "[" * 100_000, 1)),
    ("deep objects", '{"name":' * 100_000),
    ("a key that stands twice", TEXT.replace('"half_size"', '"name": "again", "half_size"', 1)),
    ("a key of an axis that stands twice", TEXT.replace('"size": 4', '"size": 4, "size": 2', 1)),
    ("a dtype that stands twice", TEXT.replace('"float32"', '"float32": 1.0, "float32"', 1)),
    ("half a file", TEXT[: len(TEXT) // 2]),
    ("two values", TEXT + TEXT),
    ("many axes", TEXT.replace('"axes": [', '"axes": [' + AXIS * 5000, 1)),
    ("code", TEXT.replace('"desk"', "__import__('os').getpid()", 1)),
]  # fmt: skip


@pytest.mark.parametrize("text", [text for _, text in HOSTILE], ids=[name for name, _ in HOSTILE])
def test_a_hostile_machine_file_is_a_machine_error_within_a_second(text):
    started = time.process_time()
    with pytest.raises(MachineError) as caught:
        decode_machine(text.encode(), "m.json")
    assert time.process_time() - started < 1.0 and len(str(caught.value)) < 1000
    assert str(caught.value).startswith("machine file m.json: ")


def test_the_place_of_a_key_that_stands_twice_is_told():
    for text, place in (('"size": 4, "size": 2', "$.axes[1].size"), ('"size": 4, "name": "b"', "$.axes[1].name")):
        with pytest.raises(MachineError, match="stands twice") as caught:
            decode_machine(TEXT.replace('"size": 4', text, 1).encode(), "m.json")
        assert f"machine file m.json: {place} stands twice\n  Keep one of the two." == str(caught.value)


def test_reading_a_machine_executes_nothing_and_opens_only_its_file(tmp_path):
    path = tmp_path / "m.json"
    path.write_text(TEXT)
    load_machine(str(path))  # what is imported when first used is, now
    seen = []
    watching = [True]
    sys.addaudithook(lambda event, args: seen.append((event, args)) if watching[0] else None)
    load_machine(str(path))
    with pytest.raises(MachineError):
        decode_machine(changed(["name"], ["__import__('os')"]), "m.json")
    watching[0] = False
    assert [args[0] for event, args in seen if event == "open"] == [str(path)]
    assert not {event for event, _ in seen} & {
        "exec",
        "import",
        "compile",
        "os.system",
        "subprocess.Popen",
        "pickle.find_class",
    }


def test_a_machine_is_written_and_read_back(tmp_path):
    machine = decode_machine(TEXT.encode(), "m.json")
    save_machine(machine, tmp_path / "out.json")
    assert load_machine(str(tmp_path / "out.json")) == machine
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    with pytest.raises(MachineError, match=r"machine file .*/nowhere/m.json cannot be written: No such file"):
        save_machine(machine, tmp_path / "nowhere" / "m.json")


def test_a_machine_without_the_fields_of_multiplications_has_the_file_that_it_had():
    machine = Machine(
        name="m",
        axes=(MeshAxis("a", 2, 1e9, 0.0),),
        flops_per_second=1e9,
        memory_bytes_per_second=1e9,
        memory_bytes=1e9,
        launch_seconds=0.0,
    )
    assert set(msgspec.json.decode(msgspec.json.encode(machine))) == {
        "name", "axes", "flops_per_second", "memory_bytes_per_second", "memory_bytes", "launch_seconds",
    }  # fmt: skip
    assert decode_machine(msgspec.json.encode(machine), "m.json") == machine


def test_a_machine_made_in_python_is_told_of_its_mistake_by_name():
    with pytest.raises(MachineError) as caught:
        msgspec.structs.replace(decode_machine(TEXT.encode(), "m.json"), matmul_flops_per_second={"float": 1.0})
    assert str(caught.value) == (
        "machine 'desk': matmul_flops_per_second has a rate for 'float', which is no dtype\n  Did you mean 'float64'?"
    )
