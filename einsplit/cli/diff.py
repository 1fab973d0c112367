"""`einsplit diff`: what changed between two plans, and what that is worth."""

from __future__ import annotations

import click

from einsplit.cli.common import as_json, print_json
from einsplit.cli.plan import summary
from einsplit.solver.plan import Plan
from einsplit.solver.plan.diff import Difference, Side, diff_rows, diff_text, remarks


@click.command(epilog="Example: einsplit diff before.json after.json")
@click.argument("first", metavar="A.json", type=click.Path(dir_okay=False))
@click.argument("second", metavar="B.json", type=click.Path(dir_okay=False))
@click.option("--full", is_flag=True, help="A row for every node, those that did not change too.")
@as_json
def diff(first: str, second: str, full: bool, as_json: bool) -> None:
    """Print what changed from one plan file to another: cuts, seconds, and bytes sent by each device.

    The greatest difference in seconds comes first; repeated layers are one row. Plans for different graphs are
    compared by the names of their nodes. The exit code is 0 whether or not there are differences.
    """
    a, b = Plan.load(first), Plan.load(second)
    if not as_json:
        click.echo(diff_text(a, b, full))
        return
    rows = diff_rows(a, b, full)
    print_json(
        {
            "a": summary(a),
            "b": summary(b),
            "seconds": b.seconds - a.seconds,
            "bytes": b.bytes - a.bytes,
            "peak_bytes": b.peak_bytes - a.peak_bytes if a.peak_bytes and b.peak_bytes else None,
            "same": a == b,
            "remarks": remarks(a, b),
            "rows": [_fields(row) for row in rows],
        }
    )


def _fields(row: Difference) -> dict[str, object]:
    return {
        "node": row.name,
        "count": row.count,
        "a": _side(row.a),
        "b": _side(row.b),
        "seconds": row.seconds,
        "bytes": row.bytes,
    }


def _side(side: Side | None) -> dict[str, object] | None:
    return None if side is None else {"cut": side.cut, "seconds": side.seconds, "bytes": side.bytes}
