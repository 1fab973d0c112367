"""Machine files: JSON, decoded by a typed schema within size limits, never executed.

A fault is told with its place, `$.axes[1].bytes_per_second`, and with what to write there. Numbers carry their unit in
the name of their field: 900 GB/s is `"bytes_per_second": 9e11`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from einsplit.errors import MachineError, did_you_mean
from einsplit.solver.machine.machine import Machine, MachineFields, faults
from einsplit.solver.machine.mesh import MeshAxis
from einsplit.solver.repeated import repeated_key
from einsplit.solver.shown import shown

MAX_FILE_BYTES = 2**20
EXAMPLE = "`einsplit machines h100x8 --json` prints a whole one, under `machine`."
WANTED = {  # what stands in a field
    "size": "A whole number of devices, such as 8.",
    "bytes_per_second": "A plain number of bytes per second and direction: 900 GB/s is 9e11.",
    "memory_bytes_per_second": "A plain number of bytes per second: 3.35 TB/s is 3.35e12.",
    "memory_bytes": "A plain number of bytes: 80 GB is 8e10.",
    "flops_per_second": "A plain number of scalar operations per second: 67 TFLOP/s is 6.7e13.",
    "matmul_flops_per_second": 'Operations per second by dtype: {"bfloat16": 7.9e14, "float32": 6.7e13}.',
    "latency_seconds": "A plain number of seconds: 3 us is 3e-6.",
    "launch_seconds": "A plain number of seconds: 5 us is 5e-6.",
    "half_size": "The size at which a matrix multiplication gets half of its rate, such as 64; 0 where it always does.",
    "axes": "A list of mesh axes from the slowest link to the fastest.",
    "name": "A text.",
}
# Made here, not in `decode_machine`: msgspec compiles the annotations of its types when a decoder is made.
_FIELDS = msgspec.json.Decoder(MachineFields)
_KNOWN = (*MachineFields.__struct_fields__, *MeshAxis.__struct_fields__)


def read_machine(path: str) -> Machine:
    """The machine of a file. Raises MachineError; FileNotFoundError where there is no such file."""
    try:
        size = Path(path).stat().st_size
        if size > MAX_FILE_BYTES:
            raise MachineError(f"machine file {path} has {size:,} bytes; a machine has at most {MAX_FILE_BYTES:,}")
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise MachineError(f"machine file {path} cannot be read: {reason}") from error
    return decode_machine(data, path)


def decode_machine(data: bytes, place: str) -> Machine:
    """A Machine from JSON bytes. Raises MachineError with the place of the first fault."""
    try:
        fields = _FIELDS.decode(data)
        repeated = repeated_key(data)
    except msgspec.ValidationError as error:
        text = str(error)
        where = "" if " - at `" in text else " - at `$`"
        raise MachineError(f"machine file {place}: {shown(text)}{where}", shown(_remark(text))) from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise MachineError(f"machine file {place}: {shown(str(error))}", EXAMPLE) from error
    if repeated:
        raise MachineError(f"machine file {place}: {shown(repeated)} stands twice", "Keep one of the two.")
    fault = next(faults(fields), None)
    if fault is not None:
        owner = f"{fault.owner.removeprefix(', ')}: " if fault.owner else ""
        raise MachineError(
            f"machine file {place}: {shown(f'{fault.path}: {owner}{fault.mistake}')}",
            fault.remark or _wanted(fault.path),
        )
    return msgspec.convert(fields, Machine, from_attributes=True)


def save_machine(machine: Machine, path: str | Path) -> None:
    """Write a machine file; the old one, if any, is replaced in one step. Raises MachineError if that fails."""
    try:
        target = Path(os.path.realpath(path))  # a link stays one
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(machine), indent=2) + b"\n")
            partial.replace(target)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MachineError(f"machine file {path} cannot be written: {reason}") from error


def _remark(text: str) -> str:
    """Advice on what msgspec says: on the field at fault, or on a field that is not known or not there."""
    said, _, path = text.partition(" - at `")
    if "unknown field" in said:
        return did_you_mean(said.split("`")[1], _KNOWN) or f"The fields are {', '.join(dict.fromkeys(_KNOWN))}."
    if "missing required field" in said:
        return f"{said.split('`')[1]}: {WANTED[said.split('`')[1]]} {EXAMPLE}"
    return _wanted(path.rstrip("`"))


def _wanted(path: str) -> str:
    """What stands at a place of a machine file: in its last field that has a name."""
    fields = path.replace("[", ".").split(".")
    return next((WANTED[field] for field in reversed(fields) if field in WANTED), EXAMPLE)
