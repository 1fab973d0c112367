"""`einsplit machines`: the machines that are known by name, and where each figure of one is from."""

from __future__ import annotations

import shutil
import sys

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from einsplit.cli.common import as_json, print_json
from einsplit.solver.machine import Machine, load_machine
from einsplit.solver.machine.presets import NODES, Preset, preset
from einsplit.solver.units import bytes_text, rate_text, seconds_text

LISTED = ("cpu-2", *NODES, "h100x8x8", "h100x8x2048")
MORE = (
    "cpu-N has N devices. h100x4 is half a node of h100x8, h100x8x16 sixteen nodes; likewise for the others.\n"
    "`einsplit machines NAME` shows one with the source of every figure, `einsplit calibrate` measures this machine."
)
UNITS = {  # by the last part of a field's name
    "bytes_per_second": lambda value: rate_text(value, "B"),
    "memory_bytes_per_second": lambda value: rate_text(value, "B"),
    "memory_bytes": bytes_text,
    "half_size": lambda value: f"{value:g}",
    "latency_seconds": seconds_text,
    "launch_seconds": seconds_text,
}

WIDE = 400  # columns where no terminal cuts a line


@click.command(epilog="Example: einsplit machines h100x8x8")
@click.argument("name", required=False, metavar="[NAME|FILE.json]")
@as_json
def machines(name: str | None, as_json: bool) -> None:
    """List the machines that plans can be made for, or show one: its mesh, its figures, and where they are from.

    With --json, `machine` is what a machine file holds: a start for one of your own.
    """
    if name is None:
        found = [made for made in map(preset, LISTED) if made is not None]
        if as_json:
            print_json({"machines": [_fields(made) for made in found]})
        else:
            click.echo(_list(found))
        return
    made = preset(name) or Preset(load_machine(name), f"machine file {name}", {})
    if as_json:
        print_json(_fields(made))
    else:
        click.echo(_shown(made))


def _fields(made: Preset) -> dict[str, object]:
    """A machine for --json."""
    return {
        "machine": msgspec.to_builtins(made.machine),
        "title": made.title,
        "devices": made.machine.num_devices,
        "mesh": list(made.machine.sizes),
        "sources": {field: figure.source for field, figure in made.figures.items()},
    }


def _list(found: list[Preset]) -> str:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in ("name", "devices", "mesh", "joins", "float32", "bfloat16", "memory", "at", "links, slowest first"):
        table.add_column(column, justify="right" if column == "devices" else "left", no_wrap=True)
    for made in found:
        machine = made.machine
        links = (rate_text(machine.axes[tier[0]].bytes_per_second, "B") for tier in machine.tiers)
        table.add_row(
            machine.name,
            f"{machine.num_devices:,}",
            mesh_text(machine),
            rate_text(machine.flops_per_second, "FLOP"),
            rate_text(machine.matmul_rate("float32"), "FLOP"),
            rate_text(machine.matmul_rate("bfloat16"), "FLOP"),
            bytes_text(machine.memory_bytes),
            rate_text(machine.memory_bytes_per_second, "B"),
            ", ".join(links),
        )
    return f"{_text(table)}\n\n{MORE}"


def mesh_text(machine: Machine) -> str:
    """`8 x 8`, slowest axis first; `1` where there is no axis."""
    return " x ".join(map(str, machine.sizes)) or "1"


def _shown(made: Preset) -> str:
    machine = made.machine
    lines = [f"{machine.name}: {made.title}", str(machine)]
    if made.figures:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for column in ("figure", "value", "source"):
            table.add_column(column, no_wrap=column != "source")
        for field, figure in made.figures.items():
            table.add_row(field, _value(field, figure.value), figure.source)
        lines += ["", _text(table)]
    return "\n".join(lines)


def _value(field: str, value: float) -> str:
    text = UNITS.get(field.split(".")[-1])
    return text(value) if text else rate_text(value, "FLOP")


def _text(table: Table) -> str:
    """The table as text, as wide as the terminal, or as it is: a pipe has no width."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(table, markup=False)
    return "\n".join(line.rstrip() for line in captured.get().strip("\n").splitlines())
