"""`einsplit explain`: what a plan file says, and why."""

from __future__ import annotations

import click

from einsplit.cli.common import as_json, print_json
from einsplit.cli.plan import summary
from einsplit.solver.plan import Plan
from einsplit.solver.plan.explain import plan_rows, plan_table


@click.command(epilog="Example: einsplit explain plan.json --full")
@click.argument("file", metavar="PLAN.json", type=click.Path(dir_okay=False))
@click.option("--full", is_flag=True, help="A row for every node, those that cost nothing too.")
@as_json
def explain(file: str, full: bool, as_json: bool) -> None:
    """Print a plan file: what each kind of node is cut by, what that moves and costs, and the runner-up.

    The runner-up is the next best choice of a node on one mesh axis, all else as it is, and what it would cost more.
    """
    plan = Plan.load(file)
    if not as_json:
        click.echo(plan_table(plan, full))
        return
    rows = [
        {
            "node": row.name,
            "count": row.count,
            "cut": row.cut,
            "bytes": row.bytes,
            "seconds": row.seconds,
            "runner_up": row.runner_up,
            "runner_up_seconds": row.runner_up_seconds,
        }
        for row in plan_rows(plan, full)
    ]
    print_json(summary(plan) | {"rows": rows})
