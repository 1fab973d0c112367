"""`einsplit explain`: what a plan file says, and why; what can be cut of a program, and why not the rest."""

from __future__ import annotations

import os

import click

from einsplit.cli.common import as_json, print_json, progress, users_code
from einsplit.cli.plan import summary
from einsplit.cli.target import load_target
from einsplit.report import Understood, understood, understood_text
from einsplit.report.page import write_page
from einsplit.solver.plan import Plan, Words
from einsplit.solver.plan.explain import headline, plan_rows, plan_table


@click.command(
    epilog="Example: einsplit explain plan.json --full\n\nExample: einsplit explain plan.json --html plan.html\n\n"
    "Example: einsplit explain --capture model.py:example"
)
@click.argument("file", metavar="PLAN.json|FILE.py:NAME", type=click.Path(dir_okay=False))
@click.option("--capture", is_flag=True, help="What can be cut of the program FILE.py:NAME, and why not the rest.")
@click.option("--full", is_flag=True, help="A row for every node, those that cost nothing too; every kind; --words.")
@click.option("--words", is_flag=True, help="Words moved, against the communication lower bound and the best grid.")
@click.option("--html", type=click.Path(dir_okay=False), help="Write the plan to this file, as a page for a browser.")
@as_json
def explain(file: str, capture: bool, full: bool, words: bool, html: str | None, as_json: bool) -> None:
    """Print a plan file: what each kind of node is cut by, what that moves and costs, and the runner-up.

    The runner-up is the next best choice of a node on one mesh axis, all else as it is, and what it would cost more.

    With --words each row says too how many scalars a device sends, how many times that is the least that some device
    must send for such an operation on its own, and how many times what the best grid of whole parts would send.

    With --capture print instead of what FILE.py:NAME returns, for each kind of operator, its share of the operations
    and bytes and the labels that can cut it; and what runs whole, why, and where in the code it stands.

    With --html write one page instead, which needs no network: the graph, coloured by cut, a table to sort, and where
    seconds, bytes and memory go.
    """
    if html is not None and (capture or as_json or full or words):
        raise click.UsageError("--html writes the page of a plan file: leave out --capture, --json, --full and --words")
    if capture and words:
        raise click.UsageError("--words is of a plan file: leave out --capture")
    if capture:
        with progress(f"tracing {file}"), users_code():
            graph = load_target(file).traced()[0]
        found = understood(graph)
        if as_json:
            print_json(_fields(found))
        else:
            click.echo(understood_text(found, full))
        return
    if ".py:" in file and not os.path.exists(file):
        raise click.UsageError(f"{file} is a program, not a plan file: einsplit explain --capture {file}")
    plan = Plan.load(file)
    if html is not None:
        write_page(plan, html)
        click.echo(f"{headline(plan)}\nwritten to {html}")
        return
    if not as_json:
        click.echo(plan_table(plan, full, words or full))
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
            "words": _words_fields(row.words),
        }
        for row in plan_rows(plan, full)
    ]
    print_json(summary(plan) | {"rows": rows})


def _words_fields(words: Words | None) -> dict[str, object] | None:
    """Words moved by each device, their lower bound, and those of the best integer grid."""
    return None if words is None else {"moved": words.moved, "bound": words.bound, "grid": words.grid}


def _fields(found: Understood) -> dict[str, object]:
    """The report for --json: counts, of every kind; labels with their sizes."""
    rows = [
        {
            "kind": row.kind,
            "nodes": row.nodes,
            "operations": row.operations,
            "bytes": row.bytes,
            "parameter_bytes": row.parameter_bytes,
            "labels": dict(row.labels),
            "whole": dict(row.whole),
            "why": row.why,
            "source": row.source,
        }
        for row in found.rows
    ]
    return {
        "nodes": found.num_nodes,
        "operations": found.operations,
        "bytes": found.bytes,
        "parameter_bytes": found.parameter_bytes,
        "rows": rows,
    }
